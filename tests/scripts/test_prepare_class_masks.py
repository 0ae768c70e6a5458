"""Lists with a mask a class, and lists split as another one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from bundle.data.datalist import load_datalist, read_datalist
from bundle.transforms.annotation import LoadMaskd
from bundle.transforms.radiograph import LoadRadiographd
from scripts.prepare import main

SIZE = (40, 30)  # rows, columns


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eight images of eight patients; the first five have a folder of masks, one of them without any mask."""
    noise = np.random.default_rng(0)
    for number in range(8):
        _write(tmp_path / f"images/{number}.jpg", noise.integers(1, 255, SIZE, dtype=np.uint8))
        for name in ("left_lung", "heart", "other")[: (3, 2, 1, 0, 3)[number]] if number < 5 else ():
            mask = np.zeros(SIZE, np.uint8)
            mask[number : number + 10, 5:9] = 255
            _write(tmp_path / f"masks/{number}/{name}.png", mask)
    (tmp_path / "masks/3").mkdir()
    rows = [{"image": f"images/{number}.jpg", "patient": f"p{number}", "report": "Clear lungs."} for number in range(8)]
    pd.DataFrame(rows).to_csv(tmp_path / "index.csv", index=False)
    return tmp_path


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def _prepare(source: Path, *options: str) -> int:
    return main(["labelled", "--table", str(source / "index.csv"), "--out", str(source / "out"), *options])


def _items(source: Path, *options: str) -> dict[str, dict[str, Any]]:
    masks = ("--class-masks", str(source / "masks"), "--mask-classes", "left lung,heart")
    assert _prepare(source, *masks, *options) == 0
    datalist = read_datalist(source / "out/datalist.json")
    assert datalist["classes"] == ["left lung", "heart"]
    return {item["id"]: item for split in ("training", "validation", "test") for item in datalist.get(split, [])}


def test_masks_by_class_and_none_for_what_is_not_there(source: Path) -> None:
    items = _items(source)
    assert {name: list(item["finding_masks"]) for name, item in items.items()} == {
        "images/0": ["left lung", "heart"],
        "images/1": ["left lung", "heart"],
        "images/2": ["left lung"],
        "images/3": [],
        "images/4": ["left lung", "heart"],
    }
    assert items["images/2"]["finding_masks"] == {"left lung": "masks/2/left_lung.png"}
    loaded = [item for split in load_datalist(source / "out/datalist.json", None, ("image", "finding_masks")).values()
              for item in split if item["id"] == "images/2"]  # fmt: skip
    item = LoadRadiographd("image")(loaded[0])
    masks = LoadMaskd("finding_masks", ["left lung", "heart"])(item)["finding_masks"]
    assert masks.shape == (2, *SIZE)
    assert np.argwhere(masks[0]).min(0).tolist() == [2, 5]
    assert masks[0].sum() == 40
    assert not masks[1].any()


def test_a_mask_of_another_size_is_refused(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(source / "masks/1/heart.png", np.zeros((30, 40), np.uint8))
    assert _prepare(source, "--class-masks", str(source / "masks"), "--mask-classes", "heart") == 2
    assert "masks/1/heart.png has 30 x 40 pixels, but the image 40 x 30" in capsys.readouterr().err


def test_the_classes_must_be_named(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _prepare(source, "--class-masks", str(source / "masks")) == 2
    assert "--class-masks needs --mask-classes" in capsys.readouterr().err


def test_patients_are_split_as_in_another_list(source: Path) -> None:
    pairs = ["pairs", "--table", str(source / "index.csv"), "--out", str(source / "pairs"), "--min-words", "1"]
    assert main([*pairs, "--validation", "0.25", "--test", "0.25", "--seed", "3"]) == 0
    other = read_datalist(source / "pairs/datalist.json")
    split_of = {item["patient"]: split for split in ("training", "validation", "test") for item in other[split]}
    _items(source, "--split-as", str(source / "pairs/datalist.json"))
    own = read_datalist(source / "out/datalist.json")
    found = {item["patient"]: split for split in ("training", "validation", "test") for item in own.get(split, [])}
    assert found == {f"p{number}": split_of[f"p{number}"] for number in range(5)}
    assert own["split"]["method"] == "as another list"


def test_joined_patients_share_a_split_and_unknown_ones_are_told(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [{"id": "a", "image": "a.png", "patient": "p0"}]
    joined = '"split": {"joined": [["p0", "p1"]]}'
    (source / "other.json").write_text(f'{{{joined}, "test": {str(items).replace(chr(39), chr(34))}}}')
    options = ("--class-masks", str(source / "masks"), "--mask-classes", "heart")
    assert _prepare(source, *options, "--split-as", str(source / "other.json"), "--on-error", "skip") == 0
    own = read_datalist(source / "out/datalist.json")
    assert [item["patient"] for item in own["test"]] == ["p0", "p1"]
    assert "its patient isn't in" in capsys.readouterr().out
