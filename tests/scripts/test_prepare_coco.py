"""Data lists from one COCO file: boxes, outlines as masks, patients, splits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prepared import prepared

from bundle.data.errors import DataError
from bundle.data.labelled import labelled_items
from bundle.data.mask_reader import read_mask
from bundle.transforms.annotation import LoadMaskd
from scripts.prepare import main
from scripts.preparing.coco_masks import outline_to_mask

pytestmark = pytest.mark.filterwarnings("ignore:.*items name no patient")

COUNT = 10
SIZE = (60, 50)  # rows, columns
HEART, LUNG = 4, 7
SQUARE = [[20, 10, 30, 10, 30, 20, 20, 20]]  # x 20 to 30, y 10 to 20
COLUMNS = {"counts": [60 * 5, 60 * 2, 60 * 43], "size": [60, 50]}  # columns 5 and 6
WRITTEN = "f9d0X100000000000000000Z:FPF0000000000000000000000000000000000000`a0"
"""Rows 10 to 30 of columns 5 to 15 and rows 40 to 50 of columns 20 to 40, as pycocotools 2.0 encodes them."""


class Source:
    """Images with a COCO file, to be spoilt before it is read; two images a patient, every fourth has no box."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.images, self.out = folder, folder / "pictures", folder / "out"
        rng = np.random.default_rng(0)
        for number in range(COUNT):
            coarse = rng.integers(1, 255, (12, 10), dtype=np.uint8)
            self.write(self.name(number), cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC))
        self.content: dict[str, Any] = {
            "categories": [{"id": HEART, "name": "Heart"}, {"id": LUNG, "name": "Left Lung/L"}],
            "images": [
                {"id": number, "file_name": self.name(number), "height": SIZE[0], "width": SIZE[1]}
                for number in range(COUNT)
            ],
            "annotations": [
                {"image_id": number, "category_id": category, "bbox": [number, 5, 10.5, 20], "segmentation": outline}
                for number in range(COUNT)
                if number % 4 < 3
                for category, outline in ((HEART, SQUARE), (LUNG, COLUMNS))
            ],
        }

    @staticmethod
    def name(number: int) -> str:
        return f"p{number // 2}/{number}.png"

    def write(self, name: str, pixels: np.ndarray) -> None:
        (self.images / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self.images / name), pixels)

    @property
    def coco(self) -> Path:
        path = self.folder / "boxes.json"
        path.write_text(json.dumps(self.content))
        return path

    def prepare(self, *options: str) -> dict[str, Any]:
        return prepared("coco", self.images, self.out, "--coco", str(self.coco), "--workers", "2", *options)

    def fail(self, *options: str) -> int:
        common = ["coco", "--root", str(self.images), "--out", str(self.out), "--coco", str(self.coco)]
        return main([*common, "--workers", "2", *options])


def items_of(datalist: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = [item for split in ("training", "validation", "test") for item in datalist.get(split, [])]
    return {item["id"]: {key: item[key] for key in item if key not in ("id", "subset")} for item in found}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def without_outlines(source: Source) -> None:
    for annotation in source.content["annotations"]:
        annotation["segmentation"] = []


def test_boxes_alone(source: Source) -> None:
    without_outlines(source)
    datalist = source.prepare("--patient-pattern", r"^(p\d)/")
    items = items_of(datalist)
    assert list(datalist["filters"].items()) == [("not annotated", 2)]
    assert sorted(items) == [source.name(number) for number in range(COUNT) if number % 4 < 3]
    assert items["p1/2.png"] == {
        "image": "p1/2.png",
        "patient": "p1",
        "boxes": [[2, 5, 12.5, 25], [2, 5, 12.5, 25]],
        "box_label": [0, 1],
        "size": [60, 50],
    }
    assert (datalist["name"], datalist["task"], datalist["classes"]) == ("boxes", "detection", ["Heart", "Left Lung/L"])
    assert datalist["image_root"] == source.images.as_posix()
    assert datalist["split"]["unit"] == "patient"
    assert not (source.out / "masks").exists()


def test_images_without_a_box_may_be_negative(source: Source) -> None:
    without_outlines(source)
    items = items_of(source.prepare("--boxless", "negative"))
    assert len(items) == COUNT
    assert items["p1/3.png"] == {"image": "p1/3.png", "boxes": [], "box_label": [], "size": [60, 50]}


def test_one_class_of_outlines_is_a_mask(source: Source) -> None:
    source.prepare("--categories", "Heart", "--boxless", "negative")
    path = source.out / "datalist.json"
    items = [
        item for split in ("training", "validation", "test") for item in labelled_items(path, split, "segmentation")
    ]
    assert len(items) == COUNT
    load = LoadMaskd("label", ["Heart"])
    sums = set()
    for item in items:
        mask = load({"image_path": item["image"], "image_size": SIZE, "label": item["label"]})["label"]
        sums.add(int(mask.sum()))
        assert mask.sum() == mask[0, 10:20, 20:30].sum()
    assert sums == {0, 100}


def test_several_classes_are_a_mask_each(source: Source) -> None:
    datalist = source.prepare()
    item = items_of(datalist)["p1/2.png"]
    root = Path(datalist["image_root"])
    assert root == source.folder
    assert item["image"] == "pictures/p1/2.png"
    assert item["finding_masks"] == {
        "Heart": "out/masks/0_Heart/p1/2.png.png",
        "Left Lung/L": "out/masks/1_Left_Lung_L/p1/2.png.png",
    }
    assert np.unique(read_mask(root / item["finding_masks"]["Heart"])).tolist() == [0, 255]
    (first, *_) = labelled_items(source.out / "datalist.json", "training", "segmentation", mask_key="finding_masks")
    masks = LoadMaskd("label", datalist["classes"])(
        {"image_path": first["image"], "image_size": SIZE, "label": first["label"]}
    )["label"]
    assert masks.sum((1, 2)).tolist() == [100, 120]
    assert masks[0, 10:20, 20:30].all()
    assert masks[1, :, 5:7].all()


def test_a_box_without_outline_leaves_the_mask_out_not_the_image(source: Source) -> None:
    del source.content["annotations"][0]["segmentation"]
    datalist = source.prepare()
    assert datalist["filters"]["masks of images where a box has no outline"] == 1
    item = items_of(datalist)["p0/0.png"]
    assert "finding_masks" not in item
    assert len(item["boxes"]) == 2


def test_two_outlines_of_a_class_are_one_mask(source: Source) -> None:
    extra = {"image_id": 0, "category_id": HEART, "bbox": [0, 0, 2, 2], "segmentation": {"counts": [0, 60, 2940]}}
    extra["segmentation"]["size"] = [60, 50]
    source.content["annotations"].append(extra)
    datalist = source.prepare("--categories", "Heart")
    mask = read_mask(Path(datalist["image_root"]) / items_of(datalist)["p0/0.png"]["mask"])
    assert (mask > 0).sum() == 160


def test_patients_of_the_file_and_same_pictures(source: Source) -> None:
    without_outlines(source)
    for entry in source.content["images"]:
        entry["patient_id"] = entry["id"] // 2
    source.write("p4/8.png", cv2.imread(str(source.images / "p0/0.png"), cv2.IMREAD_GRAYSCALE))
    datalist = source.prepare()
    assert datalist["split"]["joined"] == [["0", "4"]]
    assert items_of(datalist)["p2/4.png"]["patient"] == "2"
    assert "joined" not in source.prepare("--trust-patients")["split"]


def test_limit_dry_run_and_no_images(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(items_of(source.prepare("--limit", "4"))) == 4
    for path in source.images.rglob("*.png"):
        path.unlink()
    assert source.fail() == 2
    assert "there is no image file" in capsys.readouterr().err
    assert len(items_of(source.prepare("--without-images"))) == 8
    (source.out / "datalist.json").unlink()
    assert source.fail("--without-images", "--dry-run") == 0
    assert not (source.out / "datalist.json").exists()


def change(part: str, number: int, **values: Any) -> Callable[[Source], Any]:
    return lambda source: source.content[part][number].update(values)


ITEMS: dict[str, tuple[Callable[[Source], Any], tuple[str, ...], str]] = {
    "missing image": (lambda s: (s.images / s.name(2)).unlink(), (), r"p1/2\.png: there is no image file"),
    "black": (lambda s: s.write(s.name(2), np.zeros(SIZE, np.uint8)), (), "every pixel has the same value"),
    "torn": (lambda s: (s.images / s.name(2)).write_bytes(b"no"), ("--trust-patients",), "not a DICOM, PNG"),
    "size": (change("images", 2, height=61), (), "drawn on 61 x 50 pixels, but the image 60 x 50"),
    "size by header": (change("images", 2, height=61), ("--trust-patients",), "drawn on 61 x 50 pixels"),
    "outside": (change("images", 2, file_name="../2.png"), (), "its image lies outside .* --root"),
    "patient": (change("images", 2, file_name="2.png"), ("--patient-pattern", r"p\d"), "doesn't match --patient"),
    "points": (change("annotations", 4, segmentation=[[1, 2, 3, 4]]), (), "a polygon needs at least three points"),
    "no polygons": (change("annotations", 4, segmentation=[1, 2]), (), "a polygon needs|no list of polygons"),
    "text": (change("annotations", 4, segmentation="1 2"), (), "neither a list of polygons nor run lengths"),
    "runs": (
        change("annotations", 4, segmentation={"counts": [1, 2], "size": [60, 50]}),
        (),
        "don't fill the image of 60 x 50",
    ),
    "other runs": (change("annotations", 4, segmentation={"counts": [1, 2], "size": [50, 60]}), (), "drawn on .50, 60"),
    "cut off": (
        change("annotations", 4, segmentation={"counts": WRITTEN[:2], "size": [60, 50]}),
        (),
        "cut off|don't fill",
    ),
}


@pytest.mark.parametrize(("spoil", "options", "reason"), ITEMS.values(), ids=ITEMS.keys())
def test_unusable_images_stop_or_are_skipped(
    source: Source,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Source], Any],
    options: tuple[str, ...],
    reason: str,
) -> None:
    count = len(items_of(source.prepare(*options)))
    (source.out / "datalist.json").unlink()
    spoil(source)
    capsys.readouterr()
    assert source.fail(*options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "boxes.json image " in error
    assert re.search(reason, error), error
    assert not (source.out / "datalist.json").exists()
    assert len(items_of(source.prepare(*options, "--on-error", "skip"))) == count - 1
    assert "boxes.json image " in (source.out / "skipped.csv").read_text()


WHOLE: dict[str, tuple[Callable[[Source], Any], tuple[str, ...], str]] = {
    "root": (lambda s: s.images.rename(s.folder / "x"), (), "there is no such folder; --root holds the images"),
    "category": (lambda s: None, ("--categories", "Lung"), "no category 'Lung'; .* Heart, Left Lung/L"),
    "part": (lambda s: s.content.pop("images"), (), "not a COCO file: it has no list 'images'"),
    "key": (lambda s: s.content["images"][0].pop("width"), (), "lacks or misnames 'width'"),
    "box": (change("annotations", 0, bbox=[0, 50, 5, 11.5]), (), "leaves the image of 50 x 60"),
    "no boxes": (lambda s: s.content["annotations"].clear(), (), "no item is left .*not annotated"),
}


@pytest.mark.parametrize(("spoil", "options", "reason"), WHOLE.values(), ids=WHOLE.keys())
def test_what_stops_the_whole(
    source: Source,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Source], Any],
    options: tuple[str, ...],
    reason: str,
) -> None:
    spoil(source)
    assert source.fail(*options) == 2
    error = capsys.readouterr().err
    assert re.search(reason, error), error
    assert not source.out.exists()


def test_a_pattern_that_is_none_is_wrong_use(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        source.fail("--patient-pattern", "p(")
    assert "is no regular expression" in capsys.readouterr().err


def test_run_lengths_as_cocos_tools_write_them() -> None:
    expected = np.zeros(SIZE, dtype=bool)
    expected[10:30, 5:15] = True
    expected[40:50, 20:40] = True
    assert np.array_equal(outline_to_mask({"counts": WRITTEN, "size": list(SIZE)}, SIZE), expected)


@given(st.text(max_size=30) | st.lists(st.integers(-5, 40) | st.none(), max_size=6) | st.integers() | st.none())
def test_wild_run_lengths_are_masks_or_errors(counts: Any) -> None:
    try:
        mask = outline_to_mask({"counts": counts, "size": [4, 5]}, (4, 5))
    except DataError:
        return
    assert mask.shape == (4, 5)
    assert mask.dtype == bool


@pytest.mark.real
def test_real_lungs(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "lung_seg"
    options = ("--coco", str(folder / "boxes_coco.json"), "--categories", "Right Lung,Left Lung")
    datalist = prepared("coco", folder / "images", tmp_path, *options)
    assert len(items_of(datalist)) == 88
    assert datalist["filters"] == {"not annotated": 109}
    assert {tuple(sorted(item["box_label"])) for item in items_of(datalist).values()} == {(0, 1)}
