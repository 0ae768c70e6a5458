from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torch import Tensor
from toy_training import SIZE, ToyNetwork, bright, make_batches, make_evaluator

from bundle.handlers import pictures
from bundle.handlers.pictures import Pictures, draw_sheet


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, dict[str, np.ndarray]]]:
    """What would be drawn, instead of drawing it."""
    seen: list[dict[int, dict[str, np.ndarray]]] = []
    monkeypatch.setattr(pictures, "draw_sheet", lambda rows, path: seen.append(dict(rows)))
    return seen


@pytest.mark.parametrize(("size", "reverse"), [(4, False), (3, True), (8, True)])
def test_the_rows_are_the_first_items_however_batches_are_sorted(sheets: list, size: int, reverse: bool) -> None:
    batches = make_batches(8, size, reverse)
    make_evaluator([Pictures("unused", bright, count=3)], batches=batches).run()
    assert [list(sheet) for sheet in sheets] == [[0, 1, 2]]
    pixels = {
        int(number): image for batch in batches for number, image in zip(batch["index"], batch["image"], strict=True)
    }
    for number, row in sheets[0].items():
        assert row.keys() == {"radiograph", "attention", "body", "mask", "decoder"}
        assert all(picture.shape == (SIZE, SIZE) for picture in row.values())
        np.testing.assert_allclose(row["radiograph"], pixels[number][0] / 255, rtol=1e-6)
        assert np.array_equal(row["mask"], pixels[number][0] > 127)


def test_attention_lies_where_its_cells_look_and_nothing_else_is_moved(sheets: list) -> None:
    for offset in (0, -2):
        make_evaluator([Pictures("unused", bright, count=1, offset=offset)]).run()
    as_drawn, moved = (sheet[0] for sheet in sheets)
    assert np.ptp(as_drawn["attention"]) > 0
    np.testing.assert_array_equal(moved["attention"][:-2, :-2], as_drawn["attention"][2:, 2:])
    for name in ("radiograph", "body", "mask", "decoder"):
        np.testing.assert_array_equal(moved[name], as_drawn[name])


def test_fewer_items_than_rows(sheets: list) -> None:
    make_evaluator([Pictures("unused", bright, count=20)]).run()
    assert list(sheets[0]) == list(range(8))


def test_without_decoder_three_columns_remain(sheets: list) -> None:
    class NoDecoder(ToyNetwork):
        def forward(self, image: Tensor, input_ids: Tensor) -> dict[str, Tensor]:
            output = super().forward(image, input_ids)
            del output["logits"]
            return output

    make_evaluator([Pictures("unused", bright, count=2)], network=NoDecoder()).run()
    assert sheets[0][0].keys() == {"radiograph", "attention", "body", "mask"}


def test_one_sheet_an_interval_of_epochs(tmp_path: Path) -> None:
    evaluator = make_evaluator([Pictures(tmp_path / "pictures", bright, count=1, every=2)])
    for epoch in range(1, 5):
        evaluator.run(epoch)
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == ["epoch_0002.png", "epoch_0004.png"]


def test_identifiers_are_not_drawn(tmp_path: Path) -> None:
    drawn = []
    for name in ("a", "Mrs Example"):
        batches: list[dict[str, Any]] = make_batches()
        for batch in batches:
            batch["id"] = [name] * len(batch["id"])
        make_evaluator([Pictures(tmp_path / name, bright, count=2)], batches=batches).run()
        drawn.append((tmp_path / name / "epoch_0001.png").read_bytes())
    assert drawn[0] == drawn[1]


def test_each_column_shows_its_map(tmp_path: Path) -> None:
    empty = np.zeros((64, 64))
    spot, body = empty.copy(), empty.copy()
    spot[16:32, 16:32], body[4:60, 4:60] = 1, 1
    row = {"radiograph": empty + 0.5, "attention": spot, "body": body, "mask": spot, "decoder": spot}
    draw_sheet({0: row, 5: row | {"mask": empty}}, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png")).astype(int)
    blue, green, red = np.moveaxis(sheet, -1, 0)
    reddish, cyan = red - blue > 60, np.minimum(blue, green) - red > 60
    columns = np.array_split(np.arange(sheet.shape[1]), 4)
    upper, lower = np.array_split(np.arange(sheet.shape[0]), 2)

    def share(colour: np.ndarray, rows: np.ndarray, column: int) -> float:
        return float(colour[np.ix_(rows, columns[column])].mean())

    spot_share = 1 / 16
    assert share(reddish | cyan, upper, 0) == 0
    assert share(reddish, upper, 2) == pytest.approx(spot_share, rel=0.35)  # the sheet has margins
    assert share(reddish, lower, 2) == 0
    assert share(cyan, upper, 2) > 0.005
    assert share(red - blue > 30, upper, 1) == pytest.approx(spot_share, rel=0.35)
    assert share(red - blue > 30, lower, 3) == pytest.approx(spot_share, rel=0.35)


def test_empty_full_and_flat_maps_are_drawn_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    flat = np.full((16, 16), 0.1)
    for value in (0.0, 1.0):
        row = {"radiograph": flat, "attention": flat, "body": flat * 0 + value, "mask": flat * 0 + value}
        draw_sheet({0: row}, tmp_path / "sheet.png")
    assert [str(warning.message) for warning in recwarn] == []
