"""`python -m scripts.prepare phantom` writes a valid, reproducible data list of synthetic radiographs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundle.data.datalist import load_datalist, read_datalist
from bundle.data.phantom import SYNTHETIC, draw_phantom
from bundle.data.phantom_findings import CLASSES
from bundle.data.radiograph_reader import read_radiograph
from scripts.prepare import main


def prepare(out: Path, *options: str) -> dict[str, Any]:
    small = ("--count", "60", "--size", "64", "--workers", "1")
    assert main(["phantom", "--out", str(out), *small, *options]) == 0
    return read_datalist(out / "datalist.json")


def every(datalist: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for split in ("training", "validation", "test") for item in datalist[split]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("phantoms")
    return out, prepare(out)


def test_list_is_complete_and_patients_are_in_one_split(made: tuple[Path, dict[str, Any]]) -> None:
    out, datalist = made
    splits = load_datalist(out / "datalist.json", check_files="all")
    assert {name: len(items) for name, items in splits.items()} == {"training": 47, "validation": 7, "test": 6}
    patients = [{item["patient"] for item in items} for items in splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 45, "every fourth picture shares its patient"
    assert datalist["classes"] == list(CLASSES)
    assert {name: about["n"] for name, about in datalist["subsets"].items()} == {"1": 1, "10": 4, "100": 47}
    chosen = [sum(percent in item["subset"] for item in datalist["training"]) for percent in (1, 10, 100)]
    assert chosen == [1, 4, 47]


def test_list_says_that_it_is_synthetic(made: tuple[Path, dict[str, Any]]) -> None:
    _, datalist = made
    assert datalist["licence"] == "synthetic, Apache-2.0"
    assert "not of any patient" in datalist["source"]
    assert SYNTHETIC in datalist["source"]


def test_items_tell_the_truth_of_their_phantom(made: tuple[Path, dict[str, Any]]) -> None:
    out, datalist = made
    for item in every(datalist):
        phantom = draw_phantom(item["seed"], 64)
        assert np.array_equal(read_radiograph(out / item["image"]).pixels, phantom.image)
        assert item["label"] == phantom.labels
        assert (item["patient"], item["view"]) == (phantom.patient, phantom.view)
        assert {"findings": item["findings"], "impression": item["impression"]} == phantom.report
        assert (item["boxes"], item["box_label"]) == (phantom.boxes, phantom.box_labels)
        assert item["questions"] == phantom.questions
        assert item["size"] == [64, 64]
        said = [(truth["name"], truth.get("side"), truth.get("zone"), truth["size"]) for truth in item["truth"]]
        assert said == [(f.name, f.side, f.zone, f.size) for f in phantom.findings]


def test_masks_are_those_of_the_findings(made: tuple[Path, dict[str, Any]]) -> None:
    out, datalist = made
    normal = 0
    for item in every(datalist):
        phantom = draw_phantom(item["seed"], 64)
        if not phantom.findings:
            normal += 1
            assert "mask" not in item
            assert "finding_masks" not in item
            continue
        assert set(item["finding_masks"]) == set(phantom.masks)
        union = np.zeros((64, 64), bool)
        for name, path in item["finding_masks"].items():
            with Image.open(out / path) as image:
                assert np.array_equal(np.asarray(image) == 255, phantom.masks[name])
            union |= phantom.masks[name]
        with Image.open(out / item["mask"]) as image:
            assert np.array_equal(np.asarray(image) > 0, union)
    assert normal > 5
    written = {str(path.relative_to(out)) for path in (out / "masks").iterdir()}
    listed = {path for item in every(datalist) for path in [item.get("mask"), *item.get("finding_masks", {}).values()]}
    assert written == listed - {None}


def test_same_options_write_the_same_files(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = made
    command = [sys.executable, "-m", "scripts.prepare", "phantom", "--out", str(tmp_path)]
    subprocess.run([*command, "--count", "60", "--size", "64", "--workers", "2"], check=True, capture_output=True)
    names = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert sorted(names) == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes()


def test_another_seed_draws_other_phantoms(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    other = prepare(tmp_path, "--seed", "1", "--limit", "12")
    assert len(every(other)) == 12
    for key in ("id", "patient", "seed"):
        assert not {item[key] for item in every(made[1])} & {item[key] for item in every(other)}


def test_dicom_images(tmp_path: Path) -> None:
    datalist = prepare(tmp_path, "--count", "8", "--format", "dicom")
    for item in every(datalist):
        assert item["image"].endswith(".dcm")
        pixels = read_radiograph(tmp_path / item["image"]).pixels
        assert np.array_equal(np.round(pixels / 257), draw_phantom(item["seed"], 64).image)


def test_splits_can_be_left_out(tmp_path: Path) -> None:
    assert (
        main(["phantom", "--out", str(tmp_path), "--count", "4", "--size", "64", "--validation", "0", "--test", "0"])
        == 0
    )
    datalist = json.loads((tmp_path / "datalist.json").read_text())
    assert len(datalist["training"]) == 4
    assert "test" not in datalist


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--count", "0"), "--count"),
        (("--count", "8", "--size", "32"), "32 px"),
        (("--count", "8", "--size", "64", "--validation", ".6", "--test", ".6"), "training"),
        (("--count", "2", "--size", "64"), "too few"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert main(["phantom", "--out", str(tmp_path), "--workers", "1", *options]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "datalist.json").exists()


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--count", "12", "--size", "64", "--workers", "1", "--dry-run"]
    assert main(["phantom", "--out", str(tmp_path / "out"), *options]) == 0
    assert not (tmp_path / "out").exists()
    assert "12" not in capsys.readouterr().err
