"""The command `scripts.check`: what it counts, what it finds wrong, and what it keeps to itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ten_items import REPORT, SIZE, TenItems

from bundle.data.datalist import write_datalist
from scripts.check import main
from scripts.checking.annotations import run_length_shares
from scripts.checking.published import compare_published

pytestmark = pytest.mark.filterwarnings("ignore:.*items name no patient")


@pytest.fixture
def ten(tmp_path: Path) -> TenItems:
    return TenItems(tmp_path)


def test_every_figure(ten: TenItems) -> None:
    figures = ten.found("--same-images")
    assert figures["problems"] == []
    assert figures["rules"] == {"broken": [], "notes": []}
    assert figures["counts"]["training"] == {
        "items": 6,
        "images": 6,
        "patients": 3,
        "boxes": 2,
        "without patient": 0,
    }
    assert [figures["counts"]["all"][key] for key in ("items", "patients", "training", "test")] == [10, 5, 6, 2]
    files = figures["files"]
    assert (files["items"], files["images"], files["masks"]) == (10, 10, 3)
    assert files["sizes"] == {"different": 1, "smallest": SIZE, "largest": SIZE, "common": [[60, 50, 10]]}
    assert figures["leaks"] == {"declared": None, "found": {}, "same_pictures": {}}
    assert figures["labels"]["training"] == {
        "edema": {"positive": 1, "negative": 3, "uncertain": 1, "missing": 1},
        "mass": {"positive": 4, "negative": 0, "uncertain": 0, "missing": 2},
    }
    assert figures["labels"]["test"]["edema"] == {"positive": 1, "negative": 1, "uncertain": 0, "missing": 0}
    boxes = figures["boxes"]
    assert boxes["images"]["training"] == {"with": 1, "empty": 1, "unknown": 4}
    assert boxes["classes"]["mass"] == {
        "boxes": {"training": 1, "validation": 0, "test": 0},
        "width": [40, 40, 40],
        "height": [30, 30, 30],
        "share": [0.4, 0.4, 0.4],
    }
    assert figures["masks"] == {
        "mask": {"masks": 2, "empty": 1, "share": [0.25, 0.25, 0.25]},
        "mass": {"masks": 1, "empty": 0, "share": [0.01, 0.01, 0.01]},
        "run lengths": {"masks": 2, "empty": 1, "share": [0.15, 0.15, 0.15]},  # pixels 0 to 300 and 150 to 450 of 3000
    }
    assert figures["texts"]["training"] == {"texts": 6, "different": 6, "without": 0, "words": [3, 10.5, 18]}
    assert figures["questions"] == {"training": {"CLOSED": 1, "OPEN": 1, "about organ": 1}}


def test_the_report_can_be_read_at_once(ten: TenItems, capsys: pytest.CaptureFixture[str]) -> None:
    assert ten.check() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [str(ten.path), "ten, for classification", "", "rules", "  kept", ""]
    assert lines[-1] == "passes"
    assert all(len(line) <= 120 for line in lines)
    text = "\n".join(lines)
    assert "  training        6       6         3      2\n" in text
    assert (
        "  10 images and 3 masks of 10 items: images by their headers, masks decoded\n  0 missing, 0 unusable" in text
    )
    assert "  edema         1         3          1        1   25.0%" in text


def test_no_id_patient_path_or_word_is_shown(ten: TenItems, capsys: pytest.CaptureFixture[str]) -> None:
    (ten.folder / "pictures" / ten.content["training"][2]["image"]).unlink()
    (ten.folder / "pictures" / ten.content["training"][3]["image"]).write_bytes(b"torn")
    ten.content["test"][0]["patient"] = "secretpatient0"
    assert ten.check("--same-images", "--sheet", str(ten.folder / "sheet.png")) == 1
    shown = "".join(capsys.readouterr()).replace(str(ten.folder), "") + ten.figures.read_text()
    assert "secret" not in shown
    assert "test[0]: its patient is in both training and test" in shown
    assert "training[2]" in shown


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "id": (
        lambda c: c["test"][0].update(id="secretid0"),
        r"\w+\[0\]: the id is in both training and test",
    ),
    "patient": (lambda c: c["test"][1].update(patient="secretpatient0"), r"test\[1\]: its patient is in both"),
    "image": (lambda c: c["test"][1].update(image="secretpath/0.png"), r"test\[1\]: its image is in both training and"),
    "path": (lambda c: c["test"][1].update(image="/secretpath/0.png"), r"test\[1\]: the path of its image must be rel"),
    "box": (lambda c: c["training"][0].update(boxes=[[5, 5, 1, 1]] * 2), r"training\[0\]: box .* is empty"),
    "label": (lambda c: c["training"][1].update(label=[1]), r"training\[1\]: label has 1 values for 2 classes"),
    "count": (lambda c: c.update(numTest=5), "test has 2 items, but numTest says 5"),
    "leaks": (lambda c: c.update(split={"leaks": {"training-test": {"images": 1, "patients": 0}}}), "'leaks' says"),
    "text": (lambda c: c["training"][1].update(findings=[REPORT]), r"'findings' must be a text$"),
    "entry": (lambda c: c["training"].insert(0, REPORT), r"entry 0 of 'training' must be an object$"),
    "no split": (lambda c: [c.pop(split) for split in ("training", "validation", "test")], "has none of the splits"),
    "empty": (lambda c: c.update(test=[]), "'test' must be a list with at least one item"),
}


@pytest.mark.parametrize(("spoil", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_named_without_patient_or_text(
    ten: TenItems, capsys: pytest.CaptureFixture[str], spoil: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    spoil(ten.content)
    assert ten.check("--files", "none") == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    last = captured.out.splitlines()[-1]
    assert re.search(reason, last), last
    assert "secret" not in captured.out.replace(str(ten.folder), "")


def test_two_kinds_of_rules_are_both_named(ten: TenItems) -> None:
    ten.content["test"][1]["patient"] = "secretpatient0"
    ten.content["training"][1]["label"] = [1]
    figures = ten.found(code=1)
    assert len(figures["rules"]["broken"]) == 2
    assert figures["leaks"]["found"] == {"training-test": {"images": 0, "patients": 1}}
    assert "labels" not in figures


def test_declared_leaks_pass(ten: TenItems, capsys: pytest.CaptureFixture[str]) -> None:
    ten.content["test"][1]["patient"] = "secretpatient0"
    ten.content["split"] = {"leaks": {"training-test": {"images": 0, "patients": 1}}}
    assert ten.found("--files", "none")["problems"] == []
    assert "training-test share 0 images and 1 patients, as declared" in capsys.readouterr().out


def test_published_counts(ten: TenItems, capsys: pytest.CaptureFixture[str]) -> None:
    ten.content["published"] = {"items": 12, "patients": 5, "boxes": 2, "training": 8, "test": 2}
    assert ten.found(code=1)["problems"] == ["counts differ from those published: items, training"]
    ten.content["filters"] = {"too dark": 2}
    capsys.readouterr()
    assert ten.found()["problems"] == []
    printed = capsys.readouterr().out
    assert "items: 10, but 12 published (-2, which the list's filters explain: too dark)" in printed
    assert "patients: 5 as published" in printed
    assert "left out by the list's filters: 2 (too dark)" in printed
    ten.content["filters"] = {"too dark": 3}
    assert ten.found(code=1)["problems"] == ["counts differ from those published: items, training"]
    ten.content["limit"] = 10
    assert ten.found()["published"] == []
    assert "not compared: the list was made with --limit 10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("published", "filters", "agreeing"),
    [
        ({"items": 2}, {}, [True]),
        ({"items": 3}, {"a": 1, "b": 5}, [True]),
        ({"items": 8}, {"a": 1, "b": 5}, [True]),
        ({"items": 7}, {"a": 1, "b": 5, "c": 2}, [True]),
        ({"items": 5}, {"a": 1, "b": 5}, [False]),
        ({"items": 1}, {"a": 1}, [False]),
        ({"training": 2, "test": 3}, {"a": 3}, [True, True]),
        ({"training": 0, "test": 4}, {"a": 3}, [False, False]),
    ],
)
def test_filters_explain_what_they_left_out(
    published: dict[str, int], filters: dict[str, int], agreeing: list[bool]
) -> None:
    items = [{"id": name, "image": name} for name in "ab"]
    datalist = {"training": items[:1], "test": items[1:], "published": published, "filters": filters}
    assert [count.agrees for count in compare_published(datalist)] == agreeing


def test_run_lengths_are_a_union() -> None:
    item = {"id": "a", "image": "a", "size": [10, 10], "rle": ["10 5 5 5", "12 20", "90 10"]}
    assert run_length_shares({"test": [item]}) == [(22 + 10) / 100]  # 10 to 15, 20 to 25, 12 to 32; 90 to 100


def test_class_numbers_are_labels(ten: TenItems) -> None:
    for number, item in enumerate(ten.every()):
        item["label"] = number % 2
    ten.content |= {"multilabel": False}
    counts = ten.found("--files", "none")["labels"]["training"]
    assert counts["edema"] == counts["mass"] == {"positive": 3, "negative": 3, "uncertain": 0, "missing": 0}


def test_a_list_with_nothing_but_images(ten: TenItems, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("training", "validation", "test"):
        ten.content[split] = [{"id": item["id"], "image": item["image"]} for item in ten.content[split]]
    assert ten.check() == 0
    printed = capsys.readouterr().out
    assert "note: 10 items name no patient; a patient in two splits would go unnoticed." in printed
    for title in ("labels", "boxes", "masks", "texts", "questions"):
        assert f"\n{title}\n" not in printed


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe", b""])
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "list.json"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {path}: the data list ")
    assert captured.err.count("\n") == 1


def test_json_that_is_no_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "list.json"
    path.write_text("[1]")
    assert main([str(path)]) == 1
    assert "a data list is a JSON object" in capsys.readouterr().out


@pytest.mark.parametrize("options", [("--files", "some"), ("--files", "0"), ("--count", "0"), ()])
def test_wrong_use(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*(["list.json"] if options else []), *options])
    assert "usage:" in capsys.readouterr().err


def test_phantoms_pass(phantoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(phantoms / "datalist.json"), "--decode", "--same-images", "--workers", "1"]) == 0
    assert "no picture is in two splits under two names" in capsys.readouterr().out


# The peak of this process alone: what the kernel says of children begins with the memory of those that start them.
MEASURED = """
import sys
from scripts.check import main

code = main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).strip())
sys.exit(code)
"""


@pytest.mark.slow
def test_a_hundred_thousand_items(tmp_path: Path, repository: Path) -> None:
    training = [
        {
            "id": f"i{number}",
            "image": f"files/{number}.jpg",
            "patient": f"p{number}",
            "findings": "Heart and lungs are normal. " * 12,
            "label": [number % 2, None] * 7,
            "boxes": [[1, 2, 30, 40 + number % 50]],
            "box_label": [number % 14],
            "size": [1024, 1024],
        }
        for number in range(100_000)
    ]
    header = {"name": "large", "classes": [f"c{number}" for number in range(14)], "multilabel": True}
    write_datalist(tmp_path / "list.json", {**header, "training": training})
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "list.json"), "--files", "none"]
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    run = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert time.monotonic() - began < 60
    assert int(run.stdout.splitlines()[-1].split()[1]) < 2 * 1024**2  # kB


@pytest.mark.real
def test_real_lungs(data_root: Path, tmp_path: Path) -> None:
    from scripts.prepare import main as prepare

    folder = data_root / "lung_seg"
    options = ["--mask-column", "mask", "--mask-classes", "lung", "--coco", str(folder / "boxes_coco.json")]
    assert prepare(["labelled", "--table", str(folder / "index.csv"), "--out", str(tmp_path), *options]) == 0
    figures = tmp_path / "figures.json"
    sheet = tmp_path / "sheet.png"
    assert main([str(tmp_path / "datalist.json"), "--json", str(figures), "--sheet", str(sheet), "--decode"]) == 0
    found = json.loads(figures.read_text())
    assert found["masks"]["lung"]["masks"] == 63
    assert 0.2 < found["masks"]["lung"]["share"][1] < 0.5
    assert found["counts"]["all"]["boxes"] == 176
    assert sheet.stat().st_size > 100_000
