"""The data list of ROCO, from a small copy in the official layout with invented content."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from scripts.prepare import main

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

_POOLS = (("train", 10000, 100), ("validation", 20000, 2500), ("test", 30000, 2300))
CAPTIONS = {
    "train": "ROCO_00001\tAxial CT of  the chest.\r\nROCO_00003\t Chest radiograph\r\n"
    "ROCO_00007\t \r\nROCO_00009\tX\r\n",
    "validation": 'ROCO_00002\tSagittal MRI, "T2", of the knee.\nROCO_00004\tAxial CT of the chest.\n',
    "test": "ROCO_00005\tUltrasound of the liver\n\nROCO_00006\tOne two three",
}


def _write(root: Path, captions: dict[str, str]) -> Path:
    for folder, text in captions.items():
        (root / folder / "radiology/images").mkdir(parents=True)
        (root / folder / "radiology/captions.txt").write_bytes(text.encode())
        for line in filter(str.strip, text.split("\n")):
            (root / folder / f"radiology/images/{line.split(chr(9))[0]}.jpg").touch()
    return root


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folder `data`; images are empty files, since the list only names them."""
    return _write(tmp_path / "data", CAPTIONS)


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["roco", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _item(folder: str, name: str, caption: str) -> dict[str, Any]:
    return {"id": name, "image": f"{folder}/radiology/images/{name}.jpg", "text": [caption], "group": name}


def test_every_field(release: Path, tmp_path: Path) -> None:
    datalist = prepared("roco", release, tmp_path / "out")
    assert [{key: value for key, value in item.items() if key != "subset"} for item in datalist["training"]] == [
        _item("train", "ROCO_00001", "Axial CT of the chest."),
        _item("train", "ROCO_00003", "Chest radiograph"),
        _item("train", "ROCO_00009", "X"),
    ]
    assert datalist["validation"] == [
        _item("validation", "ROCO_00002", 'Sagittal MRI, "T2", of the knee.'),
        _item("validation", "ROCO_00004", "Axial CT of the chest."),
    ]
    assert datalist["test"] == [
        _item("test", "ROCO_00005", "Ultrasound of the liver"),
        _item("test", "ROCO_00006", "One two three"),
    ]
    assert datalist["image_root"] == str(release)
    assert datalist["split"] == {"method": "official", "unit": "image", "leak_checked": False, "leaks": {}}
    assert datalist["filters"] == {"training caption of fewer than 1 words": 1}
    assert datalist["published"] == {"validation": 8180, "test": 8179}


def test_the_folder_val_and_shorter_captions(release: Path, tmp_path: Path) -> None:
    (release / "validation").rename(release / "val")
    datalist = prepared("roco", release, tmp_path / "out", "--min-words", "3")
    assert datalist["validation"][0]["image"] == "val/radiology/images/ROCO_00002.jpg"
    assert [item["id"] for item in datalist["training"]] == ["ROCO_00001"]
    assert datalist["filters"] == {"training caption of fewer than 3 words": 3}


def test_pools_of_m3ae(tmp_path: Path) -> None:
    """The draw by its description: one generator, all lines of train, validation and test, short ones skipped."""
    names = {folder: [f"ROCO_{start + n}" for n in range(count)] for folder, start, count in _POOLS}
    words = {
        name: "two words" if int(name[-1]) == 0 else "three words long" for part in names.values() for name in part
    }
    texts = {folder: "".join(f"{name}\t{words[name]}\n" for name in part) for folder, part in names.items()}
    root = tmp_path / "data"
    for folder, text in texts.items():
        (root / folder / "radiology").mkdir(parents=True)
        (root / folder / "radiology/captions.txt").write_text(text)
    datalist = prepared("roco", root, tmp_path / "out", "--split", "m3ae", "--without-images")
    draw = random.Random(42)
    for folder in names:
        draw.shuffle(names[folder])
    usable = {folder: [name for name in part if words[name] == "three words long"] for folder, part in names.items()}
    assert {item["id"] for item in datalist["training"]} == set(usable["train"])
    assert [item["id"] for item in datalist["validation"]] == usable["validation"][:2000]
    assert [item["id"] for item in datalist["test"]] == usable["test"][:2000]
    assert datalist["filters"] == {
        "training caption of fewer than 3 words": 10,
        "validation caption of fewer than 3 words": 250,
        "validation caption outside the pool": 250,
        "test caption of fewer than 3 words": 230,
        "test caption outside the pool": 70,
    }
    assert datalist["split"] == {
        **{"method": "m3ae", "unit": "image", "pool": 2000, "seed": 42, "leak_checked": False, "leaks": {}}
    }


def test_missing_images_are_skipped_and_listed(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / "test/radiology/images/ROCO_00005.jpg").unlink()
    assert "item ROCO_00005: there is no image file" in _refused(release, capsys)
    datalist = prepared("roco", release, tmp_path / "out", "--on-error", "skip")
    assert [item["id"] for item in datalist["test"]] == ["ROCO_00006"]
    assert "ROCO_00005" in (tmp_path / "out/skipped.csv").read_text()
    whole = prepared("roco", release, tmp_path / "whole", "--without-images")
    assert len(whole["test"]) == 2


def test_limit_takes_the_first_of_each_split(release: Path, tmp_path: Path) -> None:
    datalist = prepared("roco", release, tmp_path / "out", "--limit", "1")
    assert [datalist[f"num{split}"] for split in ("Training", "Validation", "Test")] == [1, 1, 1]
    assert datalist["limit"] == 1
    assert "published" not in datalist


def test_a_file_of_another_form(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = release / "test/radiology/captions.txt"
    captions.write_text("ROCO_00005\tUltrasound of the liver\nROCO_0")
    assert (
        "captions.txt: line 2 isn't an id, a tab and a caption; the file has another form or was cut off"
        in _refused(release, capsys)
    )
    captions.write_text("ID,Caption\nROCO_00005,Ultrasound\n")
    assert "captions.txt: line 1 isn't an id" in _refused(release, capsys)
    captions.write_bytes(b"ROCO_00005\tna\xefve\n")
    assert "captions.txt: it isn't UTF-8 text" in _refused(release, capsys)
    captions.write_text("\n")
    assert "captions.txt: there is no caption in it" in _refused(release, capsys)


def test_wrong_root(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--root holds no train/radiology/captions.txt, but data" in _refused(release.parent, capsys)
    (release / "validation").rename(release / "dev")
    error = _refused(release, capsys)
    assert "neither validation/radiology/captions.txt nor val/radiology/captions.txt, but dev, test, train" in error
