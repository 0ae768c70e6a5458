"""Small training sets drawn from a list."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundle.data.datalist import load_datalist, read_datalist, write_datalist
from bundle.data.labelled import labelled_items
from bundle.data.manifest import sha256_file
from scripts.subset import main


def draw(source: Path, out: Path, *options: str) -> dict[str, Any]:
    assert main([str(source), "--out", str(out), *options]) == 0
    return read_datalist(out)


def ids(datalist: dict[str, Any], split: str = "training") -> list[str]:
    return [item["id"] for item in datalist[split]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """30 training items: masks for every third (of those the odd ones empty), a label for every second."""
    folder = tmp_path / "lists"
    folder.mkdir()
    (tmp_path / "files").mkdir()
    training = []
    for number in range(30):
        item: dict[str, Any] = {"id": f"i{number}", "image": f"{number}.png", "patient": f"p{number}"}
        if number % 3 == 0:
            item["mask"] = f"m{number}.png"
            pixels = np.zeros((8, 8), np.uint8)
            pixels[2, 3] = number % 2 == 0
            Image.fromarray(pixels).save(tmp_path / "files" / item["mask"])
        if number % 2 == 0:
            item |= {"label": [int(number > 15), None], "rle": ["0 0"] if number < 20 else ["3 4"], "size": [8, 8]}
        if number >= 20:
            item |= {"boxes": [[0, 0, 2, 2]] if number < 25 else [], "size": [8, 8]}
        (tmp_path / "files" / item["image"]).touch()
        training.append({**item, "subset": [10, 100] if number < 3 else [100]})
    others = [{"id": name, "image": f"{name}.png", "patient": name} for name in ("v", "t")]
    for item in others:
        (tmp_path / "files" / item["image"]).touch()
    path = folder / "list.json"
    header = {"name": "few", "classes": ["a", "b"], "image_root": "../files", "subsets": {"10": {"n": 3}}}
    write_datalist(path, {**header, "training": training, "validation": others[:1], "test": others[1:]})
    return path


def test_a_draw_changes_the_training_split_alone(source: Path, tmp_path: Path) -> None:
    before = read_datalist(source)
    after = draw(source, tmp_path / "few/deep/ten.json", "--count", "10", "--seed", "4")
    assert after["draw"] == {"seed": 4, "count": 10, "source_sha256": sha256_file(source)}
    assert len(after["training"]) == after["numTraining"] == 10
    originals = {item["id"]: item for item in before["training"]}
    assert all(
        {**item, "subset": originals[item["id"]]["subset"]} == originals[item["id"]] for item in after["training"]
    )
    assert ids(after) == [name for name in ids(before) if name in ids(after)]  # in the list's order
    assert after["validation"] == before["validation"]
    assert after["test"] == before["test"]
    assert "subsets" not in after
    assert (after["name"], after["classes"], after["image_root"]) == ("few", ["a", "b"], "../../files")
    assert len(load_datalist(tmp_path / "few/deep/ten.json", "training", check_files="all")) == 10


def test_draws_of_a_seed_are_nested(source: Path, tmp_path: Path) -> None:
    sizes = {count: set(ids(draw(source, tmp_path / "x.json", "--count", str(count)))) for count in (4, 10, 16, 30)}
    assert sizes[4] < sizes[10] < sizes[16] < sizes[30]
    other = set(ids(draw(source, tmp_path / "x.json", "--count", "10", "--seed", "1")))
    assert other != sizes[10]
    assert set(ids(draw(source, tmp_path / "y.json", "--count", "10"))) == sizes[10]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("mask",), {n for n in range(30) if n % 3 == 0 or n % 2 == 0 or n >= 25}),
        (("mask", "--positive"), {n for n in range(30) if n % 6 == 0 or (n % 2 == 0 and n % 3 and n >= 20)}),
        (("label",), set(range(0, 30, 2))),
        (("label", "--positive"), set(range(16, 30, 2))),
        (("boxes",), set(range(20, 30))),
        (("boxes", "--positive"), set(range(20, 25))),
    ],
)
def test_annotated_and_positive(source: Path, tmp_path: Path, options: tuple[str, ...], expected: set[int]) -> None:
    asked = ("--annotated", *options)
    found = draw(source, tmp_path / "x.json", *asked, "--count", str(len(expected)))
    assert set(ids(found)) == {f"i{number}" for number in expected}
    assert found["draw"]["annotated"] == options[0]
    assert found["draw"]["positive"] == (len(options) > 1)


def test_too_few_is_one_sentence(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--annotated", "boxes", "--positive", "--count", "6"]
    assert main([str(source), "--out", str(tmp_path / "x.json"), *options]) == 2
    assert capsys.readouterr().err == (
        f"error: {source}: the training split has 5 items with boxes that show something, too few to draw 6\n"
    )
    assert not (tmp_path / "x.json").exists()


def test_wrong_use(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source), "--out", str(source), "--count", "3"]) == 2
    assert "would replace the list" in capsys.readouterr().err
    assert main([str(tmp_path / "no.json"), "--out", str(tmp_path / "x.json"), "--count", "3"]) == 2
    assert "can't be read" in capsys.readouterr().err
    for options in (("--count", "0"), ("--count", "3", "--positive")):
        with pytest.raises(SystemExit):
            main([str(source), "--out", str(tmp_path / "x.json"), *options])


def test_an_absolute_image_root_stays(source: Path, tmp_path: Path) -> None:
    datalist = read_datalist(source) | {"image_root": str(tmp_path / "files")}
    write_datalist(source, datalist)
    assert draw(source, tmp_path / "x.json", "--count", "3")["image_root"] == str(tmp_path / "files")


def test_ten_phantoms_that_show_something(phantoms: Path, tmp_path: Path) -> None:
    copy = tmp_path / "phantoms"
    shutil.copytree(phantoms, copy, ignore=shutil.ignore_patterns("store"))
    draw(copy / "datalist.json", copy / "10.json", "--count", "10", "--annotated", "mask", "--positive")
    items = labelled_items(copy / "10.json", "training", "segmentation")
    assert len(items) == 10
    assert all(isinstance(item["label"], str) for item in items)
    assert len(labelled_items(copy / "10.json", "test", "segmentation")) == 7
