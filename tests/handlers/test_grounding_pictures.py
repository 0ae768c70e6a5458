from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from monai.engines import SupervisedEvaluator
from torch import nn

from bundle.handlers.grounding_pictures import GroundingPictures, PhraseMap
from bundle.transforms.geometry import fit

# 32 x 64 px: in a square of 64 px it has 16 rows of padding above and below.
PIXELS = np.full((32, 64), 90, np.uint8)
TRUTH = np.zeros((32, 64), np.uint8)
TRUTH[4:12, 40:56] = 1
SQUARE, GEOMETRY = fit(PIXELS, 64)


def prepare(batch: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
    return batch["maps"], {key: value for key, value in batch.items() if key != "maps"}


def run(handler: GroundingPictures) -> None:
    """Two pairs, the later one first, then the normal image of one of them."""
    maps = torch.zeros(3, 1, 64, 64)
    maps[0, 0, 25, 50], maps[1, 0, 40, 7], maps[2, 0, 20, 20], maps[:, 0, 2, 2] = 1, 1, 1, 5  # (2, 2) is padding
    batch = {
        "maps": maps,
        "truth": [TRUTH] * 3,
        "geometry": [GEOMETRY] * 3,
        "title": ["There is a left nodule.", "There is a right nodule.", "There is a left nodule."],
        "kind": torch.tensor([0, 0, 1]),
        "index": torch.tensor([1, 0, 1]),
    }
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[batch],
        network=nn.Identity(),
        prepare_batch=prepare,
        val_handlers=[handler],
        decollate=False,
    ).run()


def test_own_images_are_drawn_in_the_order_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[int, PhraseMap]] = []
    monkeypatch.setattr(GroundingPictures, "draw", lambda self, pictures, path: seen.append(dict(pictures)))
    run(GroundingPictures("pictures", count=8))
    (pictures,) = seen
    assert list(pictures) == [0, 1]
    assert [picture.title for picture in pictures.values()] == ["There is a right nodule.", "There is a left nodule."]
    heat = pictures[1].heat
    assert np.isnan(heat[:16]).all()
    assert np.isnan(heat[48:]).all()
    assert np.unravel_index(np.nanargmax(heat), heat.shape) == (25, 50)
    assert np.argwhere(pictures[1].truth)[[0, -1]].tolist() == [[20, 40], [27, 55]]


def test_sheet_has_phrases_highest_places_and_outlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []
    save = Figure.savefig

    def look(self: Figure, *args: Any, **kwargs: Any) -> None:
        for axis in self.axes[:2]:
            place = axis.lines[0].get_xydata().tolist() if axis.lines else None
            seen.append((axis.get_title(), place))
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", look)
    run(GroundingPictures(tmp_path, count=2))
    assert seen == [("There is a right nodule.", [[7, 40]]), ("There is a left nodule.", [[50, 25]])]
    blue, green, red = np.moveaxis(cv2.imread(str(tmp_path / "epoch_0001.png")).astype(int), -1, 0)
    assert ((green > 200) & (red < 160) & (blue < 90)).sum() > 50
