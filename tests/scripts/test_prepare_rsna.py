"""The data list of RSNA Pneumonia, from a small release in the official layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prepared import prepared
from sklearn.model_selection import train_test_split

from bundle.data.labelled import labelled_items
from scripts.prepare import main
from scripts.preparing.drawn_splits import draw_splits

HEADER = "patientId,x,y,width,height,Target\n"
ROWS = [
    "0004cfab,,,,,0",
    "00436515,264.0,152.0,213.0,379.0,1",
    "00436515,562.0,152.0,256.0,453.0,1",
    "003d8fa0,,,,,0",
]


def _release(root: Path, rows: list[str]) -> Path:
    (root / "stage_2_train_images").mkdir(parents=True)
    (root / "stage_2_train_labels.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    for row in rows:
        (root / "stage_2_train_images" / f"{row.split(',')[0]}.dcm").touch()
    return root


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """20 patients, three of them as above."""
    return _release(tmp_path / "rsna", ROWS + [f"ffff{number:04d},,,,,0" for number in range(17)])


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["rsna", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _ids(datalist: dict, split: str) -> list[str]:
    return [item["id"] for item in datalist.get(split, [])]


def test_every_field(release: Path) -> None:
    out = release.parent / "out"
    datalist = prepared("rsna", release, out)
    items = {item["id"]: item for split in ("training", "validation", "test") for item in datalist[split]}
    for item in items.values():
        item.pop("subset", None)
    assert items["00436515"] == {
        "id": "00436515",
        "image": "stage_2_train_images/00436515.dcm",
        "patient": "00436515",
        "label": [1],
        "boxes": [[264.0, 152.0, 477.0, 531.0], [562.0, 152.0, 818.0, 605.0]],
        "box_label": [0, 0],
        "size": [1024, 1024],
    }
    assert items["0004cfab"] == {
        "id": "0004cfab",
        "image": "stage_2_train_images/0004cfab.dcm",
        "patient": "0004cfab",
        "label": [0],
        "boxes": [],
        "box_label": [],
        "size": [1024, 1024],
    }
    keys = ("name", "task", "modality", "classes", "multilabel", "image_root", "split")
    assert {key: datalist[key] for key in keys} == {
        "name": "rsna_pneumonia",
        "task": "classification",
        "modality": {"0": "CR"},
        "classes": ["pneumonia"],
        "multilabel": True,
        "image_root": release.as_posix(),
        "split": {"method": "mgca", "unit": "patient", "ratios": [0.6, 0.2, 0.2], "seed": 0, "leak_checked": True},
    }
    assert datalist["published"]["items"] == 26684
    assert datalist["published"]["test"] == 5337
    assert "filters" not in datalist
    for task in ("classification", "segmentation", "detection"):
        assert len(labelled_items(out / "datalist.json", "training", task)) == 12


def test_mgca_is_the_draw_of_scikit_learn(release: Path) -> None:
    datalist = prepared("rsna", release, release.parent / "out")
    patients = sorted(path.stem for path in (release / "stage_2_train_images").iterdir())
    training, held = train_test_split(patients, test_size=8, random_state=0)
    test, validation = train_test_split(held, test_size=4, random_state=0)
    assert {split: set(_ids(datalist, split)) for split in ("training", "validation", "test")} == {
        "training": set(training),
        "validation": set(validation),
        "test": set(test),
    }


def test_the_draw_at_its_true_size() -> None:
    training, held = train_test_split(range(26684), test_size=10674, random_state=0)
    test, validation = train_test_split(held, test_size=5337, random_state=0)
    drawn = draw_splits(26684, 0.4)
    expected = {"training": training, "validation": validation, "test": test}
    assert {split: {k for k, name in enumerate(drawn) if name == split} for split in expected} == {
        split: set(numbers) for split, numbers in expected.items()
    }


def test_missing_images_and_limit_leave_the_split_as_it_is(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = prepared("rsna", release, release.parent / "whole")
    (release / "stage_2_train_images" / "00436515.dcm").unlink()
    assert "item 00436515: there is no image file" in _refused(release, capsys)
    fewer = prepared("rsna", release, release.parent / "fewer", "--on-error", "skip")
    skipped = (release.parent / "fewer" / "skipped.csv").read_text().splitlines()
    assert len(skipped) == 2
    assert skipped[1].startswith("item 00436515,")
    first = prepared("rsna", release, release.parent / "first", "--limit", "7", "--without-images")
    assert first["limit"] == 7
    assert "published" not in first
    names = sorted(name for split in ("training", "validation", "test") for name in _ids(whole, split))
    for split in ("training", "validation", "test"):
        assert _ids(fewer, split) == [name for name in _ids(whole, split) if name != "00436515"]
        assert _ids(first, split) == [name for name in _ids(whole, split) if name in names[:7]]


def test_ours_depends_on_the_seed(release: Path) -> None:
    lists = [prepared("rsna", release, release.parent / seed, "--split", "ours", "--seed", seed) for seed in ("0", "1")]
    assert [[len(one[split]) for split in ("training", "validation", "test")] for one in lists] == [[12, 4, 4]] * 2
    assert set(_ids(lists[0], "test")) != set(_ids(lists[1], "test"))
    assert lists[1]["split"]["seed"] == 1


def test_lists_are_taken_as_they_are_and_their_leaks_declared(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = release.parent / "lists"
    lists.mkdir()
    (lists / "train_list.txt").write_text("0004cfab\nffff0000\n")
    (lists / "val.csv").write_text("id,path\n7,images/ffff0001.dcm\n")
    (lists / "test.csv").write_text("ID,img_path\n0004cfab,a/b/0004cfab.png\nffff0002,\n")
    options = ("--split", "lists", "--lists", str(lists))
    datalist = prepared("rsna", release, release.parent / "out", *options)
    assert {split: _ids(datalist, split) for split in ("training", "validation", "test")} == {
        "training": ["0004cfab-training", "ffff0000"],
        "validation": ["ffff0001"],
        "test": ["0004cfab-test", "ffff0002"],
    }
    assert datalist["split"]["leaks"] == {"training-test": {"images": 1, "patients": 1}}
    assert datalist["filters"] == {"in none of the lists": 16}
    assert "share 1 images and 1 patients" in capsys.readouterr().out
    (lists / "test.csv").write_text("ffff0002\nother\n")
    assert "test.csv row 2: it names no image of this data set" in _refused(release, capsys, *options)
    assert "go together" in _refused(release, capsys, "--lists", str(lists))
    assert "there is no list" in _refused(release, capsys, "--split", "lists", "--lists", str(release))


def test_rows_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {
        "a,1,2,3,4,0": "its Target is 0, but it has 1 boxes",
        "a,,,,,1": "its Target is 1, but it has 0 boxes",
        "a,,,,,2": "its Target is 2",
        "a,1,2,x,4,1": "is not four numbers",
        "a,1,2,,4,1": "is not four numbers",
        "a,2000,2,100,100,1": "lies mostly outside of 1024 x 1024 pixels",
    }
    for number, (row, reason) in enumerate(bad.items()):
        root = _release(tmp_path / str(number), [*ROWS, row])
        error = _refused(root, capsys)
        assert "stage_2_train_labels.csv (a)" in error
        assert reason in error
        datalist = prepared("rsna", root, tmp_path / f"out{number}", "--on-error", "skip")
        assert "a" not in json.dumps([_ids(datalist, split) for split in ("training", "validation", "test")]).split('"')


def test_boxes_are_cut_at_the_edge_and_empty_ones_left_out(tmp_path: Path) -> None:
    root = _release(tmp_path / "rsna", [*ROWS, "a,1000,10,25,20.5,1", "a,5,5,0,9,1", "b,5,5,0,9,1"])
    datalist = prepared("rsna", root, tmp_path / "out")
    items = {item["id"]: item for split in ("training", "validation", "test") for item in datalist[split]}
    assert items["a"]["boxes"] == [[1000.0, 10.0, 1024, 30.5]]
    assert items["a"]["box_label"] == [0]
    assert "boxes" not in items["b"]  # none would mean that there is nothing to be found
    assert datalist["filters"] == {"box without area": 2, "part of a box that was outside of its image": 1}


def test_another_release(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = release / "stage_2_train_labels.csv"
    text = labels.read_text()
    labels.write_text(text.rstrip("\n")[:-3])
    assert "the file was cut off" in _refused(release, capsys)
    labels.write_text(text.replace("Target", "target"))
    assert "there is no column 'Target'" in _refused(release, capsys)
    labels.rename(release / "stage_1_train_labels.csv")
    error = _refused(release, capsys)
    assert "--root holds no stage_2_train_labels.csv, but stage_1_train_labels.csv, stage_2_train_images" in error
    assert "there is no such folder" in _refused(release / "absent", capsys)


def test_dry_run_writes_nothing(release: Path) -> None:
    assert main(["rsna", "--root", str(release), "--out", str(release.parent / "out"), "--dry-run"]) == 0
    assert not (release.parent / "out").exists()
