"""The data list of Object-CXR, from a small release in the official layout."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from prepared import prepared

from bundle.data.errors import DataError
from bundle.data.labelled import labelled_items
from scripts.prepare import main
from scripts.preparing.shapes import shape_bounds

SIZE = (80, 60)  # width, height
TRAIN = {
    "00001.jpg": "0 10 12 30 32;1 40 5 50 25;2 5 50 9 41 2 44",
    "00002.jpg": "",
    "00003.jpg": "2 70 10 85 12 75 20",  # leaves the image at the right
    "00004.jpg": "0 3 3 3 9",  # no area
}
DEV = {"08001.jpg": "0 1 2 3 4", "08002.jpg": ""}


def _part(root: Path, part: str, rows: dict[str, str], column: str = "image_name", prefix: str = "") -> None:
    (root / part).mkdir(parents=True, exist_ok=True)
    lines = [f"{prefix}{name},{annotation}\n" for name, annotation in rows.items()]
    (root / f"{part}.csv").write_text(f"{column},annotation\n{''.join(lines)}")
    for name in rows:
        Image.new("L", SIZE).save(root / part / name)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """10 images of train and 2 of dev."""
    root = tmp_path / "object-CXR"
    _part(root, "train", TRAIN | {f"1000{number}.jpg": "" for number in range(6)})
    _part(root, "dev", DEV)
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["object_cxr", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _items(datalist: dict) -> dict[str, dict]:
    return {item["id"]: item for split in ("training", "validation", "test") for item in datalist.get(split, [])}


def test_every_field(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = release.parent / "out"
    datalist = prepared("object_cxr", release, out)
    items = _items(datalist)
    for item in items.values():
        item.pop("subset", None)
    assert items["train/00001"] == {
        "id": "train/00001",
        "image": "train/00001.jpg",
        "label": [1],
        "boxes": [[10.0, 12.0, 30.0, 32.0], [40.0, 5.0, 50.0, 25.0], [2.0, 41.0, 9.0, 50.0]],
        "box_label": [0, 0, 0],
        "size": [60, 80],
    }
    assert items["train/00002"] == {
        "id": "train/00002",
        "image": "train/00002.jpg",
        "label": [0],
        "boxes": [],
        "box_label": [],
    }
    assert items["train/00003"]["boxes"] == [[70.0, 10.0, 80, 20.0]]
    assert items["train/00004"] == {"id": "train/00004", "image": "train/00004.jpg", "label": [1]}
    assert [item["id"] for item in datalist["test"]] == ["dev/08001", "dev/08002"]
    assert [len(datalist[split]) for split in ("training", "validation")] == [8, 2]
    assert {key: datalist[key] for key in ("name", "task", "classes", "image_root", "filters", "split")} == {
        "name": "object_cxr",
        "task": "detection",
        "classes": ["foreign object"],
        "image_root": release.as_posix(),
        "filters": {"box without area": 1, "part of a box that was outside of its image": 1},
        "split": {
            "method": "dev as test, train by share",
            "unit": "image",
            "ratios": [0.8, 0.2],
            "seed": 0,
            "leak_checked": False,
        },
    }
    counts = {"items": 9000, "images": 9000, "test": 1000, "training": 6400, "validation": 1600}
    assert datalist["published"] == counts
    assert "left out: 1 (box without area)" in capsys.readouterr().out
    assert len(labelled_items(out / "datalist.json", "test", "detection")) == 2


def test_paths_as_the_site_writes_them(release: Path) -> None:
    expected = prepared("object_cxr", release, release.parent / "out")
    _part(release, "dev", DEV, column="image_path", prefix="/path/dev/")
    assert prepared("object_cxr", release, release.parent / "again")["test"] == expected["test"]


def test_the_share_of_public_code(release: Path) -> None:
    datalist = prepared("object_cxr", release, release.parent / "out", "--validation", "0.1")
    assert [len(datalist[split]) for split in ("training", "validation", "test")] == [9, 1, 2]
    assert datalist["published"] == {"items": 9000, "images": 9000, "test": 1000}


def test_missing_and_damaged_images_and_limit(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "train" / "00002.jpg").unlink()
    (release / "train" / "00001.jpg").write_bytes(b"\xff\xd8\xff\xe0 damaged")
    assert "item train/00002: there is no image file" in _refused(release, capsys)
    datalist = prepared("object_cxr", release, release.parent / "out", "--on-error", "skip")
    assert len(_items(datalist)) == 10
    skipped = (release.parent / "out" / "skipped.csv").read_text()
    assert "item train/00001" in skipped
    assert "damaged" in skipped
    first = prepared("object_cxr", release, release.parent / "first", "--limit", "4", "--on-error", "skip")
    assert _items(first).keys() == {"train/00003", "train/00004"}
    assert "sizes of the images" in _refused(release, capsys, "--without-images")


def test_rows_that_cannot_be_used(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {
        "0 1 2 3": "its shape '0 1 2 3' is none of",
        "3 1 2 3 4": "its shape '3 1 2 3 4' is none of",
        "2 1 2 3 4 5": "an even number",
        "0 1 2 3 x": "has 'x' where a number must be",
        "0 500 2 600 40": "lies mostly outside of 80 x 60 pixels",
    }
    for annotation, reason in bad.items():
        _part(release, "dev", DEV | {"08003.jpg": annotation})
        assert reason in _refused(release, capsys)
    _part(release, "dev", DEV)
    with (release / "dev.csv").open("a") as file:
        file.write("other/08001.jpg,\n")
    assert "dev.csv row 4 (other/08001.jpg): an earlier row has the same image" in _refused(release, capsys)


def test_another_release(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = release / "dev.csv"
    table.write_text("image_name,annotation\n08001.jpg,\n08002")
    assert "the file was cut off" in _refused(release, capsys)
    table.write_text("file,annotation\n08001.jpg,\n")
    assert "columns image_name (or image_path) and annotation are needed; it has file" in _refused(release, capsys)
    table.unlink()
    assert "--root holds no dev.csv, but dev, train, train.csv" in _refused(release, capsys)


@given(st.text(alphabet="0123 .;-ex", max_size=40))
def test_any_text_gives_bounds_or_an_error(text: str) -> None:
    try:
        bounds = shape_bounds(text)
    except DataError:
        return
    assert all(len(box) == 4 for box in bounds)
    assert len(bounds) == sum(bool(shape.strip()) for shape in text.split(";"))
