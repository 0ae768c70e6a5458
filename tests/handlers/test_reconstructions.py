"""What is drawn of removed patches: pixels of the pictures, and the sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from m3ae_parts import batch, small
from monai.engines import SupervisedEvaluator
from torch import Tensor, nn

from bundle.handlers import reconstructions
from bundle.handlers.reconstructions import Reconstruction, Reconstructions, draw_reconstructions, reconstruct
from bundle.networks.blocks.masked_image_decoder import patch_targets


def made(channels: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """An image `[C, 8, 12]` whose second patch is flat, its targets of 4 x 4 px, and a mask of the first three."""
    image = torch.randn(channels, 8, 12, generator=torch.Generator().manual_seed(seed))
    image[:, :4, 4:8] = 0.25
    return image, patch_targets(image[None], 4)[0], torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


@given(channels=st.sampled_from([1, 3]), seed=st.integers(0, 1000), scale=st.sampled_from([1e-4, 1.0, 50.0]))
def test_a_right_prediction_gives_back_the_original(channels: int, seed: int, scale: float) -> None:
    image, _, mask = made(channels, seed)
    image = scale * image
    target = patch_targets(image[None], 4)[0]
    picture = reconstruct(image, target, target, mask)
    np.testing.assert_allclose(picture.original, image.mean(0).numpy(), rtol=1e-5, atol=1e-6 * scale)
    np.testing.assert_allclose(picture.rebuilt, picture.original, rtol=1e-4, atol=1e-5 * scale)
    assert picture.error == 0


def test_only_removed_patches_are_painted() -> None:
    image, target, mask = made(1)
    prediction = torch.zeros_like(target)
    prediction[0, 5], prediction[3:] = 2.0, 7.0  # one pixel of the first patch; of the seen ones it does not matter
    picture = reconstruct(image, prediction, target, mask)
    pixels = image[0].numpy()
    assert picture.removed.tolist() == [[True] * 12] * 4 + [[False] * 12] * 4
    assert np.array_equal(picture.rebuilt[4:], pixels[4:])
    patch = pixels[:4, :4]
    expected = np.full((4, 4), patch.mean())
    expected[1, 1] += 2 * np.sqrt(patch.var(ddof=1) + 1e-6)  # pixel 5 of 4 x 4 is in the second row and column
    np.testing.assert_allclose(picture.rebuilt[:4, :4], expected, rtol=1e-5)
    np.testing.assert_allclose(picture.rebuilt[:4, 4:8], 0.25, rtol=1e-5)
    assert picture.prediction[1, 1] == 2
    assert (picture.prediction[4:] == 7).all()
    assert picture.error == pytest.approx(float((prediction - target)[:3].square().mean()))


def test_patches_are_told_from_left_to_right_and_colours_come_last() -> None:
    image, target, mask = made(3)
    prediction = torch.zeros(6, 48)
    prediction[1, 3 * 2 : 3 * 3] = torch.tensor([3.0, 0.0, 6.0])  # colours of the third pixel of the second patch
    picture = reconstruct(image, prediction, target, mask)
    assert np.argwhere(picture.prediction).tolist() == [[0, 4 + 2]]
    assert picture.prediction[0, 6] == 3


class Painted(nn.Module):
    """M3AE whose keyword arguments are those of the whole batch, however few images there are."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.network = small(**options)

    def forward(self, image: Tensor, **text: Tensor) -> dict[str, Tensor]:
        return self.network(image, **text)


def prepare(data: dict[str, Tensor], *_: Any, **__: Any) -> tuple[Tensor, dict[str, Tensor], tuple, dict[str, Tensor]]:
    text = {name: x for name, x in data.items() if name not in ("image", "index")}
    return data["image"], {"index": data["index"]}, (), text


def evaluator(handler: Reconstructions, order: list[list[int]], network: nn.Module) -> SupervisedEvaluator:
    given = batch() | {"index": torch.arange(4)}
    batches = [{name: x[rows] for name, x in given.items()} for rows in order]
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=batches,
        network=network,
        prepare_batch=prepare,
        val_handlers=[handler],
        decollate=False,
    )


@pytest.mark.parametrize("order", [[[0, 1, 2, 3]], [[3, 2], [1, 0]]])
def test_rows_are_the_first_items_of_the_list(order: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[int, Reconstruction]] = []
    monkeypatch.setattr(reconstructions, "draw_reconstructions", lambda rows, path: seen.append(dict(rows)))
    evaluator(Reconstructions("unused", count=2), order, Painted()).run()
    assert [list(sheet) for sheet in seen] == [[0, 1]]
    for number, row in seen[0].items():
        np.testing.assert_allclose(row.original, batch()["image"][number, 0].numpy())
        assert row.removed.mean() == 12 / 16
        assert np.array_equal(row.rebuilt[~row.removed], row.original[~row.removed])
        assert not np.allclose(row.rebuilt[row.removed], row.original[row.removed])


def test_a_sheet_an_epoch_and_none_without_decoder(tmp_path: Path) -> None:
    handler = Reconstructions(tmp_path / "pictures", count=1, every=2)
    engine = evaluator(handler, [[0, 1]], Painted())
    for epoch in (1, 2, 3):
        engine.run(epoch)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["epoch_0002.png"]
    evaluator(Reconstructions(tmp_path / "none"), [[0, 1]], Painted(image_decoder=None)).run()
    assert not (tmp_path / "none").exists()


def test_each_column_shows_its_picture(tmp_path: Path) -> None:
    original = np.tile(np.linspace(-1, 1, 32), (32, 1))
    removed = np.zeros((32, 32), dtype=bool)
    removed[:16] = True
    row = Reconstruction(original, removed, -original, 0 * original, 0.5)
    draw_reconstructions({0: row, 7: row}, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png")).astype(int)
    blue = sheet[..., 0] - sheet[..., 2] > 60
    columns = [part.mean() for part in np.array_split(blue, 4, axis=1)]
    assert columns[1] == pytest.approx(0.5, rel=0.35)  # the sheet has margins
    assert max(columns[0], columns[2], columns[3]) < 0.05
    middle = sheet[int(0.4 * len(sheet)), :, 0]  # in the lower half of the first row
    inside = [part[70:-70] for part in np.array_split(middle, 4)]
    slopes = [np.polyfit(range(len(part)), part, 1)[0] for part in inside]
    assert slopes[0] > 0.5
    assert slopes[1] > 0.5
    assert slopes[2] < -0.5
    assert abs(slopes[3]) < 0.2


def test_a_flat_image_is_drawn_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    image = torch.zeros(1, 8, 8)
    target = patch_targets(image[None], 4)[0]
    draw_reconstructions({0: reconstruct(image, target, target, torch.tensor([1.0, 0, 0, 1]))}, tmp_path / "sheet.png")
    assert [str(warning.message) for warning in recwarn] == []
