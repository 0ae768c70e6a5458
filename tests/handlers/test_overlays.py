from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from monai.engines import SupervisedEvaluator
from torch import Tensor

from bundle.handlers.overlays import BoxPictures, MaskPictures, Masks, ScoredBoxes

SIZE = 48


class Fixed(torch.nn.Module):
    """Predicts what a test dictates for each image, which carries its own number."""

    def __init__(self, answers: list[Any], join: Any) -> None:
        super().__init__()
        self.answers, self.join = answers, join

    def forward(self, image: Tensor) -> Any:
        return self.join([self.answers[int(number)] for number in image[:, 0, 0, 0].tolist()])


def square(top: int, left: int, side: int = 12) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


EMPTY = np.zeros((SIZE, SIZE), dtype=bool)
TRUTHS = [[EMPTY, EMPTY], [square(4, 4), EMPTY], [EMPTY, EMPTY], [square(4, 4), square(24, 24)]]
PREDICTIONS = [[square(8, 8), EMPTY], [square(8, 8), EMPTY], [EMPTY, EMPTY], [square(4, 20), square(30, 8)]]


def images(numbers: list[int]) -> Tensor:
    image = torch.zeros(len(numbers), 1, SIZE, SIZE)
    image[:, 0, 0, 0] = torch.tensor(numbers, dtype=torch.float32)
    image[:, :, :, SIZE // 2 :] = -3.0
    return image


def prepare(batch: Any, device: Any, non_blocking: bool, **_: Any) -> tuple[Tensor, dict[str, Tensor]]:
    return batch["image"], batch["target"]


def evaluate(handler: Any, network: torch.nn.Module, batches: list[Any], epoch: int = 1) -> None:
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=batches,
        network=network,
        prepare_batch=prepare,
        val_handlers=[handler],
        decollate=False,
    ).run(epoch)


def mask_batches(groups: list[list[int]], index: bool = True) -> list[dict[str, Any]]:
    batches = []
    for numbers in groups:
        target = {"label": torch.tensor(np.array([TRUTHS[number] for number in numbers]))}
        batches.append(
            {"image": images(numbers), "target": target | ({"index": torch.tensor(numbers)} if index else {})}
        )
    return batches


def mask_network() -> Fixed:
    logits = [torch.where(torch.tensor(np.array(masks)), 4.0, -4.0) for masks in PREDICTIONS]
    return Fixed(logits, torch.stack)


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[int, Any], Path]]:
    """What would be drawn, instead of drawing it."""
    seen: list[tuple[dict[int, Any], Path]] = []
    for kind in (MaskPictures, BoxPictures):
        monkeypatch.setattr(kind, "draw", lambda self, pictures, path: seen.append((dict(pictures), path)))
    return seen


@pytest.mark.parametrize("groups", [[[0, 1, 2, 3]], [[3, 2], [1, 0]], [[2], [0], [3], [1]]])
def test_items_with_something_to_find_come_first_however_batches_are_sorted(sheets: list, groups: list) -> None:
    evaluate(MaskPictures("pictures", count=3), mask_network(), mask_batches(groups), epoch=7)
    pictures, path = sheets[0]
    assert path == Path("pictures/epoch_0007.png")
    assert list(pictures) == [1, 3, 0]
    for number, picture in pictures.items():
        assert np.array_equal(picture.truth, np.array(TRUTHS[number]))
        assert np.array_equal(picture.prediction, np.array(PREDICTIONS[number]))
        assert picture.radiograph.shape == (SIZE, SIZE)
        assert (picture.radiograph.min(), picture.radiograph.max()) == (0, 1)


def test_lists_that_do_not_number_their_items_are_counted(sheets: list) -> None:
    handler = MaskPictures("pictures", count=4)
    for _ in range(2):  # also when the same handler sees another run
        evaluate(handler, mask_network(), mask_batches([[0, 1], [2, 3]], index=False))
    assert [list(pictures) for pictures, _ in sheets] == [[1, 3, 0, 2]] * 2


BOXES = {0: [], 1: [([4.0, 4.0, 20.0, 24.0], 0)], 2: [([8.0, 8.0, 30.0, 30.0], 1), ([0.0, 0.0, 6.0, 6.0], 0)]}
FOUND = {
    "boxes": torch.tensor([[5.0, 5.0, 21.0, 25.0], [30.0, 30.0, 40.0, 40.0], [1.0, 1.0, 9.0, 9.0]]),
    "scores": torch.tensor([0.2, 0.9, 0.5]),
    "labels": torch.tensor([0, 1, 0]),
}


def box_batches() -> list[dict[str, Any]]:
    boxes, labels = torch.zeros(3, 2, 4), torch.full((3, 2), -1)
    for number, there in BOXES.items():
        for place, (box, label) in enumerate(there):
            boxes[number, place], labels[number, place] = torch.tensor(box), label
    target = {"boxes": boxes, "box_label": labels, "index": torch.arange(3)}
    return [{"image": images([0, 1, 2]), "target": target}]


@pytest.mark.parametrize("raw", [False, True])
def test_boxes_are_taken_from_mappings_or_through_a_callable(sheets: list, raw: bool) -> None:
    if raw:
        network, detect = Fixed([FOUND] * 3, lambda found: {"raw": found}), lambda prediction: prediction["raw"]
    else:
        network, detect = Fixed([FOUND] * 3, list), None
    evaluate(BoxPictures("pictures", count=2, detect=detect, shown=2), network, box_batches())
    pictures, _ = sheets[0]
    assert list(pictures) == [1, 2]
    assert pictures[2].truth.tolist() == [[8, 8, 30, 30], [0, 0, 6, 6]]
    assert pictures[2].truth_labels.tolist() == [1, 0]
    np.testing.assert_allclose(pictures[1].scores, [0.9, 0.5])
    assert pictures[1].prediction.tolist() == [[30, 30, 40, 40], [1, 1, 9, 9]]
    assert pictures[1].labels.tolist() == [1, 0]


def colours(path: Path) -> dict[str, int]:
    """Number of pixels of a sheet that have each colour."""
    blue, green, red = np.moveaxis(cv2.imread(str(path)).astype(int), -1, 0)
    return {
        "lawngreen": int(((green > 200) & (red < 160) & (blue < 90)).sum()),
        "red": int(((red > 200) & (green < 90) & (blue < 90)).sum()),
        "cyan": int(((green > 200) & (blue > 200) & (red < 90)).sum()),
        "orange": int(((red > 200) & (green > 120) & (green < 200) & (blue < 90)).sum()),
    }


GREY = np.full((SIZE, SIZE), 0.5)


def test_truth_and_prediction_of_each_class_have_a_colour_of_their_own(tmp_path: Path) -> None:
    counts = {}
    cases = {
        "nothing": ([EMPTY, EMPTY], [EMPTY, EMPTY]),
        "truth": ([square(4, 4, 30), EMPTY], [EMPTY, EMPTY]),
        "prediction": ([EMPTY, EMPTY], [square(4, 4, 30), EMPTY]),
        "everything": ([EMPTY, EMPTY], [~EMPTY, EMPTY]),
        "second class": ([EMPTY, square(4, 4, 30)], [EMPTY, square(10, 10, 30)]),
    }
    for name, (truth, prediction) in cases.items():
        path = tmp_path / f"{name}.png"
        MaskPictures(tmp_path).draw({0: Masks(GREY, np.array(truth), np.array(prediction))}, path)
        counts[name] = colours(path)
    more = {name: {c for c in seen if seen[c] > counts["nothing"][c] + 100} for name, seen in counts.items()}
    assert more == {
        "nothing": set(),
        "truth": {"lawngreen"},
        "prediction": {"red"},
        "everything": {"red"},
        "second class": {"cyan", "orange"},
    }


def caption(monkeypatch: pytest.MonkeyPatch, draw: Any) -> list[str]:
    seen: list[str] = []
    save = Figure.savefig

    def look(self: Figure, *args: Any, **kwargs: Any) -> None:
        seen.extend(text.get_text() for legend in self.legends for text in legend.get_texts())
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", look)
    draw()
    return seen


def test_the_caption_names_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Masks(GREY, np.array([EMPTY, EMPTY]), np.array([EMPTY, EMPTY]))
    handler = MaskPictures(tmp_path, classes=["lung"])
    said = caption(monkeypatch, lambda: handler.draw({0: picture}, tmp_path / "sheet.png"))
    assert said == ["lung: truth", "lung: prediction", "class 1: truth", "class 1: prediction"]


def test_boxes_are_drawn_at_their_pixels_with_their_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    save = Figure.savefig

    def look(self: Figure, *args: Any, **kwargs: Any) -> None:
        axis = self.axes[0]
        seen["boxes"] = [(patch.get_bbox().bounds, patch.get_linestyle()) for patch in axis.patches]
        seen["texts"] = [text.get_text() for text in axis.texts]
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", look)
    truth, found = np.array([[4.0, 6.0, 20.0, 30.0]]), np.array([[5.0, 5.0, 21.0, 25.0]])
    picture = ScoredBoxes(GREY, truth, np.array([0]), found, np.array([1.0]), np.array([0.875]))
    BoxPictures(tmp_path).draw({0: picture}, tmp_path / "sheet.png")
    assert seen["boxes"] == [((3.5, 5.5, 16, 24), "solid"), ((4.5, 4.5, 16, 20), "dashed")]
    assert seen["texts"] == ["0.88"]


def test_empty_flat_and_odd_numbers_of_pictures_are_drawn_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    flat = np.zeros((SIZE, SIZE))
    full = np.ones((1, SIZE, SIZE), dtype=bool)
    for count in (1, 5):
        masks = {number: Masks(flat, full, ~full) for number in range(count)}
        MaskPictures(tmp_path).draw(masks, tmp_path / f"masks{count}.png")
    none = np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4)), np.zeros(0), np.zeros(0)
    BoxPictures(tmp_path).draw({0: ScoredBoxes(flat, *none)}, tmp_path / "boxes.png")
    assert [str(warning.message) for warning in recwarn] == []
    assert len(list(tmp_path.iterdir())) == 3


def test_identifiers_are_not_drawn(tmp_path: Path) -> None:
    drawn = []
    for name in ("a", "Mrs Example"):
        batches = mask_batches([[0, 1], [2, 3]])
        for batch in batches:
            batch["id"] = [name] * 2
        evaluate(MaskPictures(tmp_path / name), mask_network(), batches)
        drawn.append((tmp_path / name / "epoch_0001.png").read_bytes())
    assert drawn[0] == drawn[1]
