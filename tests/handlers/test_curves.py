from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from matplotlib.figure import Figure
from monai.handlers import ValidationHandler
from toy_training import bright, make_evaluator, make_trainer

from bundle.handlers.curves import Curves, draw_curves
from bundle.handlers.log_terms import LogTerms
from bundle.handlers.metrics_log import MetricsLog
from bundle.handlers.named_metrics import NamedMetrics
from bundle.handlers.throughput import Throughput
from bundle.metrics.mask_overlap import MaskOverlap
from bundle.metrics.retrieval import RetrievalMetric


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, dict[str, list[tuple[float, float]]]]]:
    """The lines of every figure that is saved: points by label by axis."""
    seen = []
    save = Figure.savefig

    def look(self: Figure, *args: Any, **kwargs: Any) -> None:
        seen.append(
            {
                a.get_ylabel(): {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in a.lines}
                for a in self.axes
            }
        )
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", look)
    return seen


def test_what_is_drawn_where(tmp_path: Path, drawn: list) -> None:
    training = [
        {"iteration": 5, "epoch": 0.5, "loss": 3.0, "contrastive": 2.0, "learning_rate": 0.1, "pairs_per_s": 9.0},
        {"iteration": 10, "epoch": 1.0, "loss": 2.0, "contrastive": 1.0, "late": 0.5, "learning_rate": 0.2},
    ]
    validations = [
        {
            "iteration": 10,
            "epoch": 1,
            "retrieval_r5_image_to_text": 0.4,
            "retrieval_r5_image_to_text_over_chance": 8.0,
            "retrieval_median_rank_image_to_text": 3.0,
            "decoder_mask_dice": 0.7,
            "collapse_image": 0.2,
            "validation_loss": 2.5,
            "data_share": 0.1,
        }
    ]
    draw_curves(training, validations, tmp_path / "curves.png")
    assert drawn[0] == {
        "loss": {
            "loss": [(0.5, 3.0), (1.0, 2.0)],
            "contrastive": [(0.5, 2.0), (1.0, 1.0)],
            "late": [(1.0, 0.5)],
            "validation_loss": [(1, 2.5)],
        },
        "learning rate": {"learning_rate": [(0.5, 0.1), (1.0, 0.2)]},
        "gradient norm": {},
        "recall": {"retrieval_r5_image_to_text": [(1, 0.4)]},
        "masks": {"decoder_mask_dice": [(1, 0.7)]},
        "collapse": {"collapse_image": [(1, 0.2)]},
    }


def test_a_run_redraws_after_each_validation_with_that_validation(tmp_path: Path, drawn: list) -> None:
    metrics = {"retrieval": NamedMetrics(RetrievalMetric()), "masks": NamedMetrics(MaskOverlap(bright))}
    evaluator = make_evaluator(metrics=metrics)
    log = MetricsLog(tmp_path / "metrics.jsonl", evaluator)
    handlers = [Throughput(0), LogTerms(1, tmp_path), ValidationHandler(1, evaluator), log, Curves(tmp_path, evaluator)]
    make_trainer(handlers, epochs=3).run()
    # The second validation followed the first too quickly; the last drawing is that of the complete run.
    assert [len(figure["masks"]["decoder_mask_dice"]) for figure in drawn] == [1, 3]
    assert [len(figure["loss"]["contrastive"]) for figure in drawn] == [2, 6]
    assert set(drawn[-1]["loss"]) == {"loss", "contrastive", "pseudo_segmentation"}
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape == (700, 1500, 3)


def test_validations_far_apart_are_all_drawn(tmp_path: Path, drawn: list, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 1, 100, 101, 110, 200, 201])  # begun and done; at 110 a twentieth of the time is not yet over
    monkeypatch.setattr("bundle.handlers.curves.time", SimpleNamespace(monotonic=lambda: next(clock)))
    evaluator = make_evaluator(metrics={"retrieval": NamedMetrics(RetrievalMetric())})
    log = MetricsLog(tmp_path / "metrics.jsonl", evaluator)
    make_trainer([ValidationHandler(1, evaluator), log, Curves(tmp_path, evaluator)], epochs=4).run()
    assert len(drawn) == 4  # three of the validations and the end


def test_no_records_make_an_empty_picture(tmp_path: Path) -> None:
    draw_curves([], [], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_metrics_of_supervised_stages_are_drawn_by_the_first_word_of_their_names(tmp_path: Path, drawn: list) -> None:
    validations = [
        {
            "iteration": 10,
            "epoch": epoch,
            "validation_loss": 1.0,
            "dice_pos": 0.5,
            "dice_empty": 0.8,
            "iou": 0.4,
            "hd95_mm": 12.0,
            "auc_macro": 0.7,
            "auc_nodule": float("nan"),
            "pairs_per_s": 3.0,
        }
        for epoch in (1, 2)
    ]
    draw_curves([], validations, tmp_path / "curves.png")
    panels = {title: list(lines) for title, lines in drawn[0].items()}
    assert panels == {
        "loss": ["validation_loss"],
        "learning rate": [],
        "gradient norm": [],
        "dice": ["dice_pos", "dice_empty"],
        "iou": ["iou"],
        "hd95": ["hd95_mm"],
        "auc": ["auc_macro", "auc_nodule"],
    }
    assert drawn[0]["hd95"]["hd95_mm"] == [(1, 12.0), (2, 12.0)]
    assert cv2.imread(str(tmp_path / "curves.png")).shape == (1050, 1500, 3)


def test_lines_beyond_the_ten_colours_are_dashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[tuple[Any, Any]] = []
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, path, **_: (
            Path(path).touch(),
            looks.extend((line.get_color(), line.get_linestyle()) for axis in self.axes for line in axis.lines),
        ),
    )
    names = {f"auc_{number}": 0.5 for number in range(15)}
    draw_curves([], [{"iteration": 1, "epoch": 1, **names}], tmp_path / "curves.png")
    assert len(looks) == len(set(looks)) == 15
