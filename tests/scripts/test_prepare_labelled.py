"""Data lists of labelled radiographs from tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from bundle.data.datalist import load_datalist, read_datalist
from bundle.data.labelled import labelled_items, list_classes
from scripts.prepare import main

COUNT = 12
SIZE = (60, 50)  # rows, columns


class Source:
    """A table of images, two a patient, with masks and boxes; to be spoilt before it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.table, self.coco = folder, folder / "index.csv", folder / "boxes.json"
        self.rows: list[dict[str, Any]] = []
        for number in range(COUNT):
            self.picture(f"images/{number}.png", number)
            mask = np.zeros(SIZE, np.uint8)
            mask[10:30, 5 : 10 + number] = 1
            self.write(f"masks/{number}.png", mask)
            self.rows.append(
                {
                    "image": f"images/{number}.png",
                    "patient_id": f"{number // 2:03d}",
                    "mask": f"masks/{number}.png" if number % 2 else None,
                    "projection": ("ap", "pa", "ap", None)[number % 4],
                    "Edema": ("1.0", "0.0", "-1.0", None)[number % 4],
                    "Mass": (0, 1, None, None)[number % 4],
                    "row_mm": 0.2,
                    "column_mm": 0.3 if number else None,
                }
            )
        self.boxes: dict[str, Any] = {
            "categories": [{"id": 4, "name": "Heart"}, {"id": 7, "name": "Left Lung"}, {"id": 9, "name": "Right Lung"}],
            "images": [self.boxed(number) for number in range(COUNT - 2)],
            "annotations": [
                {"image_id": number, "category_id": category, "bbox": [number, 5, 10.5, 20]}
                for number in range(6)
                for category in (4, 7, 9)
            ],
        }

    @staticmethod
    def boxed(number: int) -> dict[str, Any]:
        return {"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]}

    def write(self, name: str, pixels: np.ndarray) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self.folder / name), pixels)

    def picture(self, name: str, seed: int) -> None:
        coarse = np.random.default_rng(seed).integers(1, 255, (12, 10), dtype=np.uint8)
        self.write(name, cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC))

    def run(self, *options: str) -> int:
        pd.DataFrame(self.rows).to_csv(self.table, index=False)
        self.coco.write_text(json.dumps(self.boxes))
        out = ("--out", str(self.folder / "out"), "--workers", "1")
        return main(["labelled", "--table", str(self.table), *out, *options])

    def prepare(self, *options: str) -> dict[str, Any]:
        assert self.run(*options) == 0
        return read_datalist(self.folder / "out/datalist.json")

    def items(self, *options: str) -> dict[str, dict[str, Any]]:
        datalist = self.prepare(*options)
        items = [item for split in ("training", "validation", "test") for item in datalist.get(split, [])]
        return {item["id"]: {key: item[key] for key in item if key not in ("id", "subset")} for item in items}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


MASKS = ("--mask-column", "mask", "--mask-classes", "lung")
VIEW = ("--label-column", "projection", "--classes", "ap,pa")
FINDINGS = ("--label-columns", "Edema,Mass")


def coco(source: Source) -> tuple[str, ...]:
    return "--coco", str(source.coco), "--categories", "Right Lung,Left Lung"


def test_masks(source: Source) -> None:
    items = source.items(*MASKS, "--spacing-columns", "row_mm,column_mm")
    assert sorted(items, key=lambda name: int(name[7:])) == [f"images/{number}" for number in range(1, COUNT, 2)]
    assert items["images/3"] == {
        "image": "images/3.png",
        "patient": "001",
        "spacing": [0.2, 0.3],
        "mask": "masks/3.png",
        "size": [60, 50],
    }
    datalist = read_datalist(source.folder / "out/datalist.json")
    assert (datalist["task"], datalist["classes"], datalist["filters"]) == (
        "segmentation",
        ["lung"],
        {"not annotated": 6},
    )
    assert datalist["image_root"] == str(source.folder)
    assert datalist["subsets"].keys() == {"1", "10", "100"}
    labels = labelled_items(source.folder / "out/datalist.json", "training", "segmentation")
    assert all(Path(item["label"]).is_file() for item in labels)


def test_one_class_an_image(source: Source) -> None:
    items = source.items(*VIEW, "--name", "views", "--spacing-columns", "row_mm,column_mm")
    assert len(items) == 9  # every fourth cell is empty
    assert items["images/5"]["label"] == 1
    assert items["images/4"]["label"] == 0
    assert "spacing" not in items["images/0"]  # half of it is missing
    datalist = read_datalist(source.folder / "out/datalist.json")
    assert (datalist["name"], datalist["task"], datalist["multilabel"]) == ("views", "classification", False)
    assert source.prepare("--label-column", "projection")["classes"] == ["ap", "pa"]
    assert source.prepare("--label-column", "projection", "--classes", "pa,ap")["classes"] == ["pa", "ap"]


def test_a_column_a_class(source: Source) -> None:
    items = source.items(*FINDINGS)
    assert [items[f"images/{number}"]["label"] for number in range(3)] == [[1, 0], [0, 1], [-1, None]]
    assert "images/3" not in items
    datalist = read_datalist(source.folder / "out/datalist.json")
    assert (datalist["classes"], datalist["multilabel"]) == (["Edema", "Mass"], True)


def test_boxes(source: Source) -> None:
    items = source.items(*coco(source))
    assert sorted(items) == [f"images/{number}" for number in range(6)]
    assert items["images/2"] == {
        "image": "images/2.png",
        "patient": "001",
        "boxes": [[2, 5, 12.5, 25], [2, 5, 12.5, 25]],
        "box_label": [1, 0],  # numbers of the names as they were given, not of the file
        "size": [60, 50],
    }
    negative = source.items(*coco(source), "--boxless", "negative")
    assert len(negative) == COUNT - 2  # those that the file knows
    assert negative["images/8"]["boxes"] == negative["images/8"]["box_label"] == []
    assert source.prepare("--coco", str(source.coco))["classes"] == ["Heart", "Left Lung", "Right Lung"]


def test_all_at_once(source: Source) -> None:
    items = source.items(*VIEW, *MASKS, *coco(source))
    assert len(items) == COUNT
    assert items["images/1"].keys() == {"image", "patient", "label", "mask", "boxes", "box_label", "size"}
    assert items["images/11"].keys() == {"image", "patient", "mask", "size"}
    path = source.folder / "out/datalist.json"
    assert list_classes(path) == ["ap", "pa"]
    assert list_classes(path, "detection") == ["Right Lung", "Left Lung"]
    assert list_classes(path, "segmentation") == ["lung"]


def test_images_and_masks_in_folders_of_their_own(source: Source) -> None:
    for row in source.rows:
        row["image"] = row["image"].removeprefix("images/")
        row["mask"] = row["mask"] and row["mask"].removeprefix("masks/")
    folders = ("--images", str(source.folder / "images"), "--masks", str(source.folder / "masks"))
    items = source.items(*MASKS, *coco(source), *folders)
    assert items["3"]["image"] == "images/3.png"
    assert items["3"]["mask"] == "masks/3.png"
    assert items["3"]["boxes"]
    assert len(load_datalist(source.folder / "out/datalist.json", check_files="all")) == 3
    assert source.prepare(*coco(source), *folders)["image_root"] == str(source.folder / "images")


def test_patients_stay_together_and_same_images_join_them(source: Source) -> None:
    picture = cv2.imread(str(source.folder / "images/0.png"), cv2.IMREAD_GRAYSCALE)
    source.write("images/11.png", picture)  # patients 000 and 005 are one person
    datalist = source.prepare(*MASKS, *VIEW, "--seed", "3")
    assert datalist["split"] == {
        "method": "share",
        "unit": "patient",
        "ratios": [0.6, 0.15, 0.25],
        "seed": 3,
        "leak_checked": True,
        "joined": [["000", "005"]],
    }
    splits = [{item["patient"] for item in datalist[name]} for name in ("training", "validation", "test")]
    assert sum(map(len, splits)) == 6
    assert sum({"000", "005"} <= patients for patients in splits) == 1
    assert "joined" not in source.prepare(*MASKS, *VIEW, "--trust-patients")["split"]


def test_limit_dry_run_and_no_patients(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    assert source.run(*VIEW, "--dry-run") == 0
    assert "nothing was written" in capsys.readouterr().out
    assert not (source.folder / "out").exists()
    for row in source.rows:
        del row["patient_id"]
    with pytest.warns(UserWarning, match="name no patient"):
        datalist = source.prepare(*VIEW, "--limit", "6")
    assert datalist["split"]["unit"] == "image"
    assert sum(datalist[count] for count in ("numTraining", "numValidation", "numTest")) == 5


def cell(column: str, value: Any) -> Callable[[Source], None]:
    return lambda source: source.rows[5].update({column: value})


def change(part: str, number: int, **values: Any) -> Callable[[Source], None]:
    return lambda source: source.boxes[part][number].update(values)


def mask(pixels: np.ndarray) -> Callable[[Source], None]:
    return lambda source: source.write("masks/5.png", pixels)


COCO = ("--coco", "boxes.json")
ROWS: dict[str, tuple[Callable[[Source], None], tuple[str, ...], str]] = {
    "no image": (cell("image", None), VIEW, "row 7 .*its image is empty"),
    "missing image": (cell("image", "images/x.png"), VIEW, "row 7 .*there is no image file"),
    "image outside": (cell("image", "../x.png"), VIEW, "its image lies outside .* --images"),
    "same image": (cell("image", "images/1.png"), VIEW, r"its id 'images/1' is also that of .* row 3"),
    "black": (lambda s: s.write("images/5.png", np.zeros(SIZE, np.uint8)), VIEW, "every pixel has the same value"),
    "no patient": (cell("patient_id", None), VIEW, "its patient is empty"),
    "class": (cell("projection", "ll"), VIEW, "its projection 'll' is none of the classes ap, pa"),
    "label value": (cell("Mass", 2), FINDINGS, "its Mass is 2; a label is 1, 0, -1"),
    "label word": (cell("Edema", "yes"), FINDINGS, "its Edema is 'yes', which is no number"),
    "spacing": (cell("row_mm", -1), (*VIEW, "--spacing-columns", "row_mm,column_mm"), "is no distance in mm"),
    "missing mask": (cell("mask", "masks/x.png"), MASKS, r"x\.png: no such file"),
    "mask outside": (cell("mask", "../x.png"), MASKS, "its mask lies outside .* --masks"),
    "mask size": (mask(np.zeros((50, 60), np.uint8)), MASKS, r"5\.png has 50 x 60 pixels, but the image 60 x 50"),
    "mask colour": (mask(np.eye(60, 50, dtype=np.uint8)[..., None] * [1, 2, 3]), MASKS, "a mask in colour"),
    "mask value": (mask(np.full(SIZE, 3, np.uint8)), (*MASKS[:3], "a,b"), "value 3, but for 2 classes"),
    "box size": (change("images", 5, height=61), COCO, "boxes were drawn on 61 x 50 pixels, but the image 60 x 50"),
}


@pytest.mark.parametrize(("spoil", "options", "reason"), ROWS.values(), ids=ROWS.keys())
def test_unusable_rows_stop_or_are_skipped(
    source: Source,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Source], None],
    options: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(source.folder)
    count = len(source.items(*options))
    capsys.readouterr()
    spoil(source)
    (source.folder / "out/datalist.json").unlink()
    assert source.run(*options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "index.csv row 7" in error
    assert re.search(reason, error), error
    assert not (source.folder / "out/datalist.json").exists()
    assert len(source.items(*options, "--on-error", "skip")) == count - 1
    assert "index.csv row 7" in (source.folder / "out/skipped.csv").read_text()


WHOLE: dict[str, tuple[Callable[[Source], Any], tuple[str, ...], str]] = {
    "nothing": (lambda s: None, (), "name what is annotated: --label-column"),
    "column": (lambda s: None, ("--label-column", "side"), "no column 'side'; the columns are image, patient_id"),
    "image column": (lambda s: [row.update(file=row.pop("image")) for row in s.rows], VIEW, "--image-column"),
    "one class": (cell("x", 0), ("--label-column", "row_mm"), "names 1 classes; two or more"),
    "spacing": (lambda s: None, (*VIEW, "--spacing-columns", "row_mm"), "--spacing-columns needs two"),
    "category": (lambda s: None, (*COCO, "--categories", "Lung"), "no category 'Lung'; .* Heart, Left Lung"),
    "coco part": (lambda s: s.boxes.pop("images"), COCO, r"boxes\.json: not a COCO file: it has no list 'images'"),
    "coco key": (lambda s: s.boxes["images"][0].pop("width"), COCO, r"boxes\.json: an image or annotation lacks"),
    "coco image": (change("annotations", 0, image_id=99), COCO, "lacks or misnames 99"),
    "coco names": (change("images", 3, file_name="5.png"), COCO, "two images have one id or the name 5.png"),
    "strangers": (lambda s: [i.update(file_name=f"x{i['id']}") for i in s.boxes["images"]], COCO, "none of its boxes"),
    "box outside": (
        change("annotations", 0, bbox=[0, 50, 5, 11.5]),
        COCO,
        r"0\.png: box .* leaves the image of 50 x 60",
    ),
    "empty box": (change("annotations", 0, bbox=[0, 50, 0, 5]), COCO, "is empty or leaves"),
    "no coco": (lambda s: None, ("--coco", "none.json"), r"none\.json: can't be read"),
}


@pytest.mark.parametrize(("spoil", "options", "reason"), WHOLE.values(), ids=WHOLE.keys())
def test_what_stops_the_whole(
    source: Source,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Source], Any],
    options: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(source.folder)
    spoil(source)
    assert source.run(*options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(reason, error), error
    assert not (source.folder / "out").exists()


def test_rounding_outside_of_the_image_is_cut(source: Source) -> None:
    source.boxes["annotations"][1]["bbox"] = [-0.4, 50, 5, 10.3]  # the left lung of image 0
    assert source.items(*coco(source))["images/0"]["boxes"][0] == [0, 50, 4.6, 60]


def test_boxes_find_images_by_path_before_name(source: Source) -> None:
    source.boxes["images"][0]["file_name"] = "images/0.png"
    source.boxes["images"][9]["file_name"] = "elsewhere/0.png"
    assert source.items(*coco(source))["images/0"]["boxes"]
    source.boxes["images"][0]["file_name"] = "other/0.png"
    assert "images/0" not in source.items(*coco(source), "--on-error", "skip")
    assert "several images named 0.png" in (source.folder / "out/skipped.csv").read_text()


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "count", "task"),
    [
        (MASKS, 63, "segmentation"),
        (("--coco", "boxes_coco.json", "--categories", "Right Lung,Left Lung"), 88, "detection"),
        (VIEW, 197, "classification"),
    ],
)
def test_real_lungs(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, count: int, task: Any
) -> None:
    monkeypatch.chdir(data_root / "lung_seg")
    assert main(["labelled", "--table", "index.csv", "--out", str(tmp_path), *options]) == 0
    path = tmp_path / "datalist.json"
    splits = ("training", "validation", "test")
    found = {split: labelled_items(path, split, task) for split in splits}
    assert sum(map(len, found.values())) == count
    assert len(list_classes(path)) == (1 if task == "segmentation" else 2)
    patients = [{item["patient"] for item in read_datalist(path)[split]} for split in splits]
    assert not any(patients[i] & patients[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert len(labelled_items(path, "training", task, subset=10)) == max(1, len(found["training"]) // 10)
