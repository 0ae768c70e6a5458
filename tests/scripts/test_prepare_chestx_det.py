"""The data list of ChestX-Det, from a small release and from the real annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import Compose
from PIL import Image
from prepared import prepared

from bundle.data.grounded import GroundedList
from bundle.data.grounding_truth import BoxTruth, MaskTruth
from bundle.data.labelled import labelled_items, list_classes
from bundle.transforms.annotation import FitBoxesd, LoadMaskd
from bundle.transforms.annotation_masks import polygons_to_mask, rle_to_mask
from bundle.transforms.radiograph import FitRadiographd, LoadRadiographd
from scripts.prepare import main
from scripts.preparing.outlines import outlines_to_rle

SPLITS = ("training", "validation", "test")
RECTANGLE = [[10, 5], [30, 5], [30, 20], [10, 20]]
TRIANGLE = [[20, 10], [40, 10], [20, 30]]
CLASSES = [
    *("Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "Diffuse Nodule", "Effusion", "Emphysema"),
    *("Fibrosis", "Fracture", "Mass", "Nodule", "Pleural Thickening", "Pneumothorax"),
]


def _entry(name: str, *findings: tuple[str, list[int], list[list[int]]]) -> dict[str, Any]:
    syms, boxes, polygons = zip(*findings, strict=True) if findings else ([], [], [])
    return {"file_name": name, "syms": list(syms), "boxes": list(boxes), "polygons": list(polygons)}


FOUND = _entry(
    "36205.png",
    ("Diffuse Nodule", [10, 5, 30, 20], RECTANGLE),
    ("Effusion", [20, 10, 40, 30], TRIANGLE),
    ("Effusion", [10, 5, 30, 20], RECTANGLE),
)


def _write(root: Path, part: str, entries: list[dict[str, Any]]) -> None:
    (root / f"ChestX_Det_{part}.json").write_text(json.dumps(entries))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """10 training images and 2 test images of 64 x 48 pixels, one of each with findings."""
    root = tmp_path / "ChestX-Det"
    parts = {
        "train": [FOUND] + [_entry(f"4000{number}.png") for number in range(9)],
        "test": [_entry("36199.png"), {**FOUND, "file_name": "36206.png"}],
    }
    for part, entries in parts.items():
        (root / f"{part}_data").mkdir(parents=True)
        _write(root, part, entries)
        for entry in entries:
            Image.linear_gradient("L").resize((64, 48)).save(root / f"{part}_data" / entry["file_name"])
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["chestx_det", "--root", str(root), "--out", str(out), *options]) == 2
    assert not (out / "datalist.json").exists()
    return capsys.readouterr().err


def _items(datalist: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for split in SPLITS for item in datalist.get(split, [])}


def test_every_field(release: Path) -> None:
    datalist = prepared("chestx_det", release, release.parent / "out")
    item = datalist["test"][1]
    (code,) = item.pop("rle")
    assert item == {
        "id": "36206",
        "image": "test_data/36206.png",
        "label": [int(name in ("Diffuse Nodule", "Effusion")) for name in CLASSES],
        "boxes": [[10, 5, 30, 20], [20, 10, 40, 30], [10, 5, 30, 20]],
        "box_label": [4, 5, 5],
        "size": [48, 64],
    }
    assert (rle_to_mask([code], (48, 64)) == polygons_to_mask([RECTANGLE, TRIANGLE], (48, 64))).all()
    assert datalist["test"][0] == {
        "id": "36199",
        "image": "test_data/36199.png",
        "label": [0] * 13,
        "boxes": [],
        "box_label": [],
        "rle": [],
        "size": [48, 64],
    }
    assert [len(datalist[split]) for split in SPLITS] == [9, 1, 2]
    keys = ("name", "task", "classes", "mask_classes", "image_root", "published")
    assert {key: datalist[key] for key in keys} == {
        "name": "chestx_det",
        "task": "detection",
        "classes": CLASSES,
        "mask_classes": ["finding"],
        "image_root": release.as_posix(),
        "published": {"items": 3578, "images": 3578, "boxes": 9639, "test": 553},
    }


def test_segmentation_and_detection_read_it(release: Path) -> None:
    prepared("chestx_det", release, release.parent / "out")
    path = release.parent / "out" / "datalist.json"
    segment = Compose([LoadRadiographd("image"), LoadMaskd("label", list_classes(path, "segmentation"))])
    normal, found = (segment(item)["label"] for item in labelled_items(path, "test", "segmentation"))
    assert not normal.any()
    assert (found[0] == polygons_to_mask([RECTANGLE, TRIANGLE], (48, 64))).all()
    detect = Compose([LoadRadiographd("image"), FitRadiographd("image", 64), FitBoxesd("boxes", "box_label")])
    items = labelled_items(path, "test", "detection", classes=list_classes(path, "detection"))
    assert [detect(item)["boxes"].shape for item in items] == [(0, 4), (3, 4)]
    assert len(GroundedList(path, BoxTruth(), prompts=_prompts(release.parent)).pairs("test")) == 2


def test_a_mask_for_each_finding(release: Path) -> None:
    out = release.parent / "lists" / "out"
    datalist = prepared("chestx_det", release, out, "--masks")
    item = datalist["test"][1]
    assert datalist["image_root"] == release.parent.as_posix()
    assert item["image"] == "ChestX-Det/test_data/36206.png"
    assert item["finding_masks"] == {
        "Diffuse Nodule": "lists/out/masks/Diffuse_Nodule/36206.png",
        "Effusion": "lists/out/masks/Effusion/36206.png",
    }
    assert datalist["test"][0]["finding_masks"] == {}
    path = out / "datalist.json"
    load = Compose([LoadRadiographd("image"), LoadMaskd("label", list_classes(path, "segmentation"))])
    normal, found = (
        load(item)["label"] for item in labelled_items(path, "test", "segmentation", mask_key="finding_masks")
    )
    assert normal.shape == (13, 48, 64)
    assert not normal.any()
    assert (found[4] == polygons_to_mask([RECTANGLE], (48, 64))).all()
    assert (found[5] == polygons_to_mask([RECTANGLE, TRIANGLE], (48, 64))).all()
    assert found[[k for k in range(13) if k not in (4, 5)]].sum() == 0
    grounded = GroundedList(path, MaskTruth("finding_masks"), prompts=_prompts(release.parent))
    assert len(grounded.pairs("test")) == 2


def _prompts(folder: Path) -> Path:
    path = folder / "prompts.json"
    prompts = {name: {"pos": [name], "neg": [f"no {name}"]} for name in CLASSES}
    path.write_text(json.dumps({"name": "test", "version": 1, "source": "here", "classes": prompts}))
    return path


def test_folders_as_others_unpack_them(release: Path) -> None:
    (release / "train_data").rename(release / "train")
    (release / "test_data").rename(release / "test")
    (release / "test_data").mkdir()
    (release / "test").rename(release / "test_data" / "test")
    items = _items(prepared("chestx_det", release, release.parent / "out"))
    assert items["36205"]["image"] == "train/36205.png"
    assert items["36206"]["image"] == "test_data/test/36206.png"


def test_missing_images_and_limit(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = prepared("chestx_det", release, release.parent / "whole")
    (release / "train_data" / "36205.png").unlink()
    assert "item 36205: there is no image file" in _refused(release, capsys)
    fewer = prepared("chestx_det", release, release.parent / "fewer", "--on-error", "skip")
    assert _items(whole).keys() - _items(fewer).keys() == {"36205"}
    first = prepared("chestx_det", release, release.parent / "first", "--limit", "2", "--on-error", "skip")
    assert _items(first).keys() == {"40000"}
    assert main(["chestx_det", "--root", str(release), "--out", str(release / "dry"), "--dry-run", "--limit", "1"]) == 2
    assert main(["chestx_det", "--root", str(release), "--out", str(release / "dry"), "--dry-run", "--masks"]) == 2
    capsys.readouterr()
    options = ("--dry-run", "--masks", "--on-error", "skip")
    assert main(["chestx_det", "--root", str(release), "--out", str(release / "dry"), *options]) == 0
    assert not (release / "dry").exists()


def test_without_images_they_are_as_large_as_those_of_the_nih(release: Path) -> None:
    for path in release.glob("*_data/*.png"):
        path.unlink()
    datalist = prepared("chestx_det", release, release.parent / "out", "--without-images")
    assert {tuple(item["size"]) for item in _items(datalist).values()} == {(1024, 1024)}


def test_entries_that_cannot_be_used(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {
        "its finding 'Hernia' is none of Atelectasis": _entry("36199.png", ("Hernia", [10, 5, 30, 20], RECTANGLE)),
        "not as many syms": {**FOUND, "file_name": "36199.png", "syms": ["Mass"]},
        "it lacks one of": {"file_name": "36199.png"},
        "lies mostly outside": _entry("36199.png", ("Mass", [100, 5, 300, 20], RECTANGLE)),
        "at least three points": _entry("36199.png", ("Mass", [10, 5, 30, 20], RECTANGLE[:2])),
        "an earlier entry has the same image": {**FOUND, "file_name": "36206.png"},
    }
    for reason, entry in bad.items():
        _write(release, "test", [{**FOUND, "file_name": "36206.png"}, entry])
        assert reason in _refused(release, capsys)


def test_another_release(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = release / "ChestX_Det_test.json"
    path.write_text(path.read_text()[:-20])
    assert "not valid JSON" in _refused(release, capsys)
    path.write_text(json.dumps([{"file_name": "1.png", "syms": [], "boxes": []}]))
    assert "its entries have no 'polygons'" in _refused(release, capsys)
    path.write_text("{}")
    assert "it must be a list of objects" in _refused(release, capsys)
    path.rename(release / "test.json")
    assert "--root holds no ChestX_Det_test.json, but" in _refused(release, capsys)


def _real_root(data_root: Path) -> Path:
    root = data_root / "labels"
    if not (root / "ChestX_Det_train.json").is_file():
        pytest.skip(f"needs real data: {root} has no ChestX_Det_train.json")
    return root


@pytest.mark.real
def test_the_real_annotations(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = prepared("chestx_det", _real_root(data_root), tmp_path, "--without-images")
    assert [len(datalist[split]) for split in SPLITS] == [2722, 303, 553]
    items = list(_items(datalist).values())
    assert len(items) == 3578
    assert sum(len(item["boxes"]) for item in items) == 9639
    assert sum(not item["rle"] for item in items) == 547 + 64
    counts = [sum(item["box_label"].count(number) for item in items) for number in range(13)]
    assert counts == [340, 348, 293, 2563, 290, 2112, 298, 739, 661, 167, 986, 631, 211]
    assert "counts are as published: items, images, boxes, test" in capsys.readouterr().out
    raw = json.loads((_real_root(data_root) / "ChestX_Det_test.json").read_text())
    for item, entry in list(zip(datalist["test"], raw, strict=True))[::60]:
        expected = polygons_to_mask(entry["polygons"], (1024, 1024))
        assert (rle_to_mask(item["rle"], (1024, 1024)) == expected).all()


points = st.lists(st.tuples(st.integers(-3, 14), st.integers(-3, 14)), min_size=3, max_size=7)


@given(st.lists(points, max_size=3))
def test_run_lengths_are_those_of_the_mask(polygons: list[list[tuple[int, int]]]) -> None:
    mask = rle_to_mask(outlines_to_rle(polygons, (9, 11)), (9, 11))
    expected = polygons_to_mask(polygons, (9, 11))
    # On an edge through a pixel's centre the rounding of both decides; elsewhere they agree.
    assert (mask == expected)[~_on_edge(polygons, (9, 11))].all()


def _on_edge(polygons: list[list[tuple[int, int]]], size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies on an edge."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    on = np.zeros(size, dtype=bool)
    for polygon in polygons:
        for (ax, ay), (bx, by) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
            cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            between = ((x - ax) * (x - bx) <= 0) & ((y - ay) * (y - by) <= 0)
            on |= (cross == 0) & between
    return on
