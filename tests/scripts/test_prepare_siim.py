"""The data list of SIIM-ACR Pneumothorax, from a small release in the official layout, blanks included."""

from __future__ import annotations

from pathlib import Path

import pytest
from prepared import prepared
from sklearn.model_selection import train_test_split

from bundle.data.labelled import labelled_items
from scripts.prepare import main
from scripts.preparing.drawn_splits import draw_splits

POSITIVE, SEVERAL, NEGATIVE, BLANK = (f"1.2.276.0.7230010.3.1.4.8323329.{number}.1517875162" for number in (1, 2, 3, 4))
ROWS = [
    (POSITIVE, " 616608 1 1021 5"),
    (SEVERAL, " 100 2 1020 3"),
    (NEGATIVE, " -1"),
    (SEVERAL, " 5 7"),
    (BLANK, "-1"),
]
TEST_ROWS = [(f"9.9.{number}", " 12 3" if number == 0 else " -1") for number in range(3)]


def _write(root: Path, table: str, rows: list[tuple[str, str]]) -> None:
    root.mkdir(exist_ok=True)
    (root / table).write_text("ImageId, EncodedPixels\n" + "".join(f"{image},{code}\n" for image, code in rows))


def _place(root: Path, folder: str, images: set[str]) -> None:
    for number, image in enumerate(sorted(images)):
        path = root / folder / f"study{number}" / f"series{number}" / f"{image}.dcm"
        path.parent.mkdir(parents=True)
        path.touch()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Both stages of 24 images, 3 of them the test images of stage 1."""
    root = tmp_path / "siim"
    rows = ROWS + [(f"5.5.{number}", " -1" if number % 2 else " 7 2") for number in range(17)]
    _write(root, "train-rle.csv", rows)
    _write(root, "stage_2_train.csv", rows + TEST_ROWS)
    _place(root, "dicom-images-train", {image for image, _ in rows})
    _place(root, "dicom-images-test", {image for image, _ in TEST_ROWS})
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["siim", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _items(datalist: dict) -> dict[str, dict]:
    return {item["id"]: item for split in ("training", "validation", "test") for item in datalist.get(split, [])}


def _counts(datalist: dict) -> list[int]:
    return [len(datalist.get(split, [])) for split in ("training", "validation", "test")]


def test_every_field(release: Path) -> None:
    out = release.parent / "out"
    datalist = prepared("siim", release, out)
    items = _items(datalist)
    for item in items.values():
        item.pop("subset", None)
    folder = "dicom-images-train/study0/series0"
    assert items[POSITIVE] == {
        "id": POSITIVE,
        "image": f"{folder}/{POSITIVE}.dcm",
        "label": [1],
        "rle": ["616608 1 1021 5"],
        "size": [1024, 1024],
    }
    assert items[SEVERAL]["rle"] == ["100 2 1020 3", "5 7"]
    assert [items[image]["label"] + items[image]["rle"] for image in (NEGATIVE, BLANK)] == [[0], [0]]
    assert items["9.9.0"]["image"] == "dicom-images-test/study0/series0/9.9.0.dcm"
    keys = ("name", "task", "classes", "multilabel", "image_root", "split")
    assert {key: datalist[key] for key in keys} == {
        "name": "siim_pneumothorax_stage_2",
        "task": "segmentation",
        "classes": ["pneumothorax"],
        "multilabel": True,
        "image_root": release.as_posix(),
        "split": {
            "method": "ours",
            "unit": "image",
            "ratios": [0.7, 0.15, 0.15],
            "seed": 0,
            "leak_checked": False,
        },
    }
    assert _counts(datalist) == [16, 4, 4]
    counts = {"items": 12047, "images": 12047, "training": 8433, "validation": 1807, "test": 1807}
    assert datalist["published"] == counts
    for task in ("classification", "segmentation"):
        assert len(labelled_items(out / "datalist.json", "training", task)) == 16


def test_stage_1(release: Path) -> None:
    datalist = prepared("siim", release, release.parent / "out", "--stage", "1")
    assert datalist["name"] == "siim_pneumothorax_stage_1"
    assert datalist["published"] == {"items": 10675, "images": 10675}
    assert len(_items(datalist)) == 21
    (release / "stage_2_train.csv").unlink()
    assert prepared("siim", release, release.parent / "found")["sha256"] == datalist["sha256"]


def test_official_test(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = prepared("siim", release, release.parent / "out", "--split", "official")
    assert {item["id"] for item in datalist["test"]} == {image for image, _ in TEST_ROWS}
    assert _counts(datalist) == [18, 3, 3]
    assert "has no test images" in _refused(release, capsys, "--stage", "1", "--split", "official")


def test_rows_as_mgca_splits_them(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"6.6.{number % 8}", f" {number} 1") for number in range(20)]
    _write(release, "train-rle.csv", rows)
    _place(release, "dicom-images-train/more", {image for image, _ in rows})
    datalist = prepared("siim", release, release.parent / "out", "--stage", "1", "--split", "mgca")
    training, held = train_test_split(rows, test_size=0.3, random_state=0)
    test, validation = train_test_split(held, test_size=0.5, random_state=0)
    expected = {"training": training, "validation": validation, "test": test}
    for split, members in expected.items():
        codes = sorted(code for item in datalist[split] for code in item["rle"])
        assert codes == sorted(code.strip() for _, code in members)
        names = {Path(item["image"]).stem for item in datalist[split]}
        assert names == {image for image, _ in members}
    shared = {image for image, _ in training} & {image for image, _ in test}
    assert shared
    assert datalist["split"]["leaks"]["training-test"] == {"images": len(shared), "patients": 0}
    assert {f"{image}-training" for image in shared} <= {item["id"] for item in datalist["training"]}
    assert "this published split share" in capsys.readouterr().out


def test_the_draw_of_rows_at_its_true_size() -> None:
    training, held = train_test_split(range(11582), test_size=0.3, random_state=0)
    test, validation = train_test_split(held, test_size=0.5, random_state=0)
    drawn = draw_splits(11582, 0.3)
    assert [drawn[row] for row in (*training, *validation, *test)] == (
        ["training"] * len(training) + ["validation"] * len(validation) + ["test"] * len(test)
    )


def test_lists(release: Path) -> None:
    lists = release.parent / "lists"
    lists.mkdir()
    (lists / "train_list.txt").write_text(f"{POSITIVE}\n{SEVERAL}\n")
    (lists / "val_list.txt").write_text(f"{NEGATIVE}\n")
    (lists / "test_list.txt").write_text(f"{BLANK}\n{POSITIVE}\n")
    datalist = prepared("siim", release, release.parent / "out", "--split", "lists", "--lists", str(lists))
    assert _counts(datalist) == [2, 1, 2]
    assert datalist["split"]["leaks"] == {"training-test": {"images": 1, "patients": 0}}
    assert datalist["filters"] == {"in none of the lists": 20}


def test_missing_images_and_limit(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = prepared("siim", release, release.parent / "whole")
    next(release.rglob(f"{NEGATIVE}.dcm")).unlink()
    error = _refused(release, capsys)
    assert f"item {NEGATIVE}: there is no image file {release}/dicom-images-train/{NEGATIVE}.dcm" in error
    fewer = prepared("siim", release, release.parent / "fewer", "--on-error", "skip")
    assert _items(whole).keys() - _items(fewer).keys() == {NEGATIVE}
    assert NEGATIVE in (release.parent / "fewer" / "skipped.csv").read_text()
    first = prepared("siim", release, release.parent / "first", "--limit", "2")
    assert _items(first).keys() == {POSITIVE, SEVERAL}
    assert all(
        {item["id"] for item in first.get(split, [])} <= {item["id"] for item in whole[split]}
        for split in ("training", "validation", "test")
    )
    assert "only the folders tell the path" in _refused(release, capsys, "--without-images")


def test_rows_that_cannot_be_used(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {
        " 1 2 3": "are no pairs of offset and length",
        " 1 x": "are no pairs of offset and length",
        " 1048570 7": "reach pixel 1048577 of an image of 1024 x 1024 pixels",
        " -1\n5.5.1, 4 4": "one of its rows says -1",
    }
    for code, reason in bad.items():
        _write(release, "stage_2_train.csv", [*ROWS, ("5.5.1", code)])
        error = _refused(release, capsys)
        assert "stage_2_train.csv (5.5.1): " in error
        assert reason in error


def test_another_release(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = release / "stage_2_train.csv"
    table.write_text(table.read_text()[: -len(", -1\n")])
    assert "the file was cut off" in _refused(release, capsys)
    table.write_text("ImageId,rle\na,1 2\n")
    assert "there is no column 'EncodedPixels'; the columns are ImageId, rle" in _refused(release, capsys)
    table.unlink()
    assert "--root holds no stage_2_train.csv, but" in _refused(release, capsys, "--stage", "2")
    (release / "train-rle.csv").unlink()
    assert "--root holds neither stage_2_train.csv nor train-rle.csv, but dicom-images-test" in _refused(
        release, capsys
    )
