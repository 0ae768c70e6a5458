"""Masks, boxes and spacing follow their image into the square."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from monai.data import CacheDataset
from monai.transforms import Compose, SelectItemsd
from PIL import Image
from torch.utils.data import DataLoader

from bundle.data.errors import DataError
from bundle.data.labelled import labelled_items
from bundle.data.phantom import draw_phantom
from bundle.data.phantom_files import write_phantom_dicom
from bundle.transforms.annotation import FitBoxesd, FitSpacingd, LoadMaskd
from bundle.transforms.radiograph import FitRadiographd, LoadRadiographd

SIZE = (50, 30)  # of the radiograph: 40 x 20 in a black frame of 5 px
LOAD = LoadRadiographd("image")


@pytest.fixture
def image(tmp_path: Path) -> str:
    ramp = np.linspace(50, 250, 40)[:, None].repeat(20, axis=1)
    Image.fromarray(np.pad(ramp, 5).astype(np.uint8)).save(tmp_path / "chest.png")
    return str(tmp_path / "chest.png")


def save(path: Path, values: np.ndarray) -> str:
    Image.fromarray(values.astype(np.uint8)).save(path)
    return str(path)


def masks(image: str, label: Any, classes: list[str]) -> np.ndarray:
    found = LoadMaskd("label", classes)(LOAD({"image": image, "label": label}))["label"]
    assert found.dtype == np.uint8
    assert found.shape == (len(classes), *SIZE)
    assert set(np.unique(found)) <= {0, 1}
    return found


def test_one_class_is_everything_above_0(image: str, tmp_path: Path) -> None:
    values = np.zeros(SIZE)
    values[5:20, 8:12] = 7
    values[30, 8] = 255
    assert np.array_equal(masks(image, save(tmp_path / "m.png", values), ["lung"])[0], values > 0)


def test_an_index_map_and_its_nifti(image: str, tmp_path: Path) -> None:
    values = np.zeros(SIZE, dtype=np.uint8)
    values[5:20, 8:12], values[30:40, 8:12] = 1, 2
    nibabel.save(nibabel.Nifti1Image(values.T[..., None].astype(np.int16), np.diag([-1, -1, 1, 1])), tmp_path / "m.nii")
    for path in (save(tmp_path / "m.png", values), str(tmp_path / "m.nii")):
        assert np.array_equal(masks(image, path, ["right", "left"]), [values == 1, values == 2])
    with pytest.raises(DataError, match=r"m\.png: the mask holds the value 3"):
        masks(image, save(tmp_path / "m.png", values + 1), ["right", "left"])


def test_one_mask_a_class(image: str, tmp_path: Path) -> None:
    values = np.zeros(SIZE)
    values[:10] = 255
    path = save(tmp_path / "edema.png", values)
    found = masks(image, {"edema": path}, ["effusion", "edema"])
    assert not found[0].any()
    assert np.array_equal(found[1], values > 0)
    with pytest.raises(DataError, match=r"chest\.png: it has a mask of 'mass', which is none of effusion, edema"):
        masks(image, {"mass": path}, ["effusion", "edema"])


def test_run_lengths_and_boxes(image: str) -> None:
    found = masks(image, {"rle": [f"{50 * 3 + 2} 4"], "size": list(SIZE)}, ["lesion"])[0]
    assert np.argwhere(found).tolist() == [[2, 3], [3, 3], [4, 3], [5, 3]]
    for size in (list(SIZE), None):
        found = masks(image, {"boxes": [[10, 20, 12, 30]], "size": size}, ["lesion"])[0]
        assert found[20:30, 10:12].all()
        assert found.sum() == 20
    assert not masks(image, {"boxes": [], "size": None}, ["a", "b", "c"]).any()
    assert not masks(image, {"rle": [], "size": list(SIZE)}, ["a", "b"]).any()


def test_what_names_no_class_is_refused_for_several(image: str) -> None:
    with pytest.raises(DataError, match=r"chest\.png: its boxes don't tell which of the classes a, b is meant"):
        masks(image, {"boxes": [[0, 0, 1, 1]], "size": None}, ["a", "b"])


@pytest.mark.parametrize("kind", ["path", "paths", "rle", "boxes"])
def test_another_size_names_both(image: str, tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "m.png", np.zeros((30, 50)))
    label = {
        "path": path,
        "paths": {"lung": path},
        "rle": {"rle": [], "size": [30, 50]},
        "boxes": {"boxes": [], "size": [30, 50]},
    }[kind]
    named = "m.png" if "path" in kind else "drawn on"
    with pytest.raises(DataError, match=rf"chest\.png: .*{named} has 30 x 50 pixels, but the image 50 x 30 \(rows x"):
        masks(image, label, ["lung"])


def test_masks_and_boxes_agree_after_fitting(image: str) -> None:
    """A box as mask and as box, in a square twice as large: the frame of 5 px is cut, the sides are padded."""
    boxes = [[10, 20, 15, 30]]
    item = {"image": image, "label": {"boxes": boxes, "size": None}, "boxes": boxes, "box_label": [1]}
    steps = [LOAD, LoadMaskd("label", ["x"]), FitRadiographd("image", 80, mask_keys="label"), FitBoxesd()]
    fitted = Compose(steps)(item)
    assert fitted["boxes"].dtype == np.float32
    assert fitted["boxes"].tolist() == [[30, 30, 40, 50]]  # (x - 5) * 2 + 20 and (y - 5) * 2
    rows, columns = np.nonzero(fitted["label"][0])
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [30, 30, 40, 50]


def test_boxes_without_area_go_with_their_labels(image: str) -> None:
    fit = Compose([LOAD, FitRadiographd("image", 20), FitBoxesd()])  # half scale
    # in the frame; all of the image; 1 px wide and high: a quarter of one; 2 x 2: exactly one
    boxes = [[0, 0, 5, 50], [0, 0, 30, 50], [10, 10, 11, 11], [10, 10, 12, 12]]
    item = fit({"image": image, "boxes": boxes, "box_label": [3, 4, 5, 6], "boxes_size": list(SIZE)})
    assert item["boxes"].tolist() == [[5, 0, 15, 20], [7.5, 2.5, 8.5, 3.5]]
    assert item["box_label"].tolist() == [4, 6]
    assert item["box_label"].dtype == np.int64
    assert "boxes_size" not in item
    none = fit({"image": image, "boxes": [], "box_label": []})
    assert none["boxes"].shape == (0, 4)
    assert none["box_label"].shape == (0,)


@pytest.mark.parametrize("box", [[-1, 0, 5, 5], [0, 0, 30.5, 5], [0, 0, 5, 51], [5, 5, 5, 8], [0, 9, 5, 8]])
def test_boxes_outside_of_the_image(image: str, box: list[float]) -> None:
    fit = Compose([LOAD, FitRadiographd("image", 20)])
    item = fit({"image": image, "boxes": [[0, 0, 9, 9], box], "box_label": [0, 0]})
    with pytest.raises(DataError, match=r"chest\.png: box .* is empty or leaves the image of 30 x 50 pixels"):
        FitBoxesd()(item)


def test_boxes_of_another_image_or_label_count(image: str) -> None:
    item = Compose([LOAD, FitRadiographd("image", 20)])({"image": image, "boxes": [[0, 0, 9, 9]], "box_label": [0]})
    with pytest.raises(DataError, match=r"drawn on has 1024 x 1024 pixels, but the image 50 x 30"):
        FitBoxesd()({**item, "boxes_size": [1024, 1024]})
    with pytest.raises(DataError, match="it has 1 boxes, but 2 labels"):
        FitBoxesd()({**item, "box_label": [0, 1]})


def test_spacing_of_fitted_pixels(image: str) -> None:
    item = Compose([LOAD, FitRadiographd("image", 20, mode="stretch")])({"image": image, "spacing": (0.2, 0.3)})
    found = FitSpacingd()(item)["spacing"]  # rows are halved, columns stay
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([0.4, 0.3])
    for unknown in ({}, {"spacing": (np.nan, np.nan)}):
        item = Compose([LOAD, FitRadiographd("image", 20), FitSpacingd()])({"image": image, **unknown})
        assert np.isnan(item["spacing"]).all()


def test_spacing_that_the_file_tells(tmp_path: Path) -> None:
    write_phantom_dicom(draw_phantom(0, 64), tmp_path / "a.dcm")  # 400 mm a side
    fit = Compose([LOAD, FitRadiographd("image", 32, mode="stretch"), FitSpacingd()])
    item = fit({"image": tmp_path / "a.dcm"})
    shown = np.array(item["image_geometry"].box[2:]) - item["image_geometry"].box[:2]
    assert item["spacing"].tolist() == pytest.approx((shown * 6.25 / 32).tolist())
    given = fit({"image": tmp_path / "a.dcm", "spacing": (1.0, 1.0)})["spacing"]
    assert given.tolist() == pytest.approx((shown / 32).tolist())


def test_items_of_image_and_label_alone_are_enough(image: str, tmp_path: Path) -> None:
    """As MONAI Label gives them."""
    item = {"image": image, "label": save(tmp_path / "m.png", np.ones(SIZE))}
    steps = Compose(
        [
            LOAD,
            LoadMaskd(),
            FitRadiographd("image", 20, mask_keys="label"),
            FitSpacingd(),
            SelectItemsd(["image", "label", "spacing", "index"], allow_missing_keys=True),
        ]
    )
    batch = next(iter(DataLoader(CacheDataset([item] * 2, steps, progress=False), batch_size=2)))
    assert {key: tuple(value.shape) for key, value in batch.items()} == {
        "image": (2, 1, 20, 20),
        "label": (2, 1, 20, 20),
        "spacing": (2, 2),
    }


def test_missing_keys(image: str) -> None:
    item = Compose([LOAD, FitRadiographd("image", 20)])({"image": image})
    assert LoadMaskd(allow_missing_keys=True)(item).keys() == item.keys()
    assert FitBoxesd(allow_missing_keys=True)(item).keys() == item.keys()
    with pytest.raises(KeyError):
        LoadMaskd()(item)


@pytest.mark.real
def test_real_lungs_lie_in_their_boxes(data_root: Path, tmp_path: Path) -> None:
    from scripts.prepare import main

    folder = data_root / "lung_seg"
    options = (
        "--mask-column",
        "mask",
        "--coco",
        str(folder / "boxes_coco.json"),
        "--categories",
        "Right Lung,Left Lung",
    )
    table = ("--table", str(folder / "index.csv"), "--limit", "40", "--trust-patients", "--workers", "1")
    assert main(["labelled", "--out", str(tmp_path), *table, *options]) == 0
    path = tmp_path / "datalist.json"
    boxed = {item["image"]: item for item in labelled_items(path, "training", "detection")}
    both = [boxed[item["image"]] | item for item in labelled_items(path, "training", "segmentation")]
    steps = [LOAD, LoadMaskd("label", ["lung"]), FitRadiographd("image", 128, mask_keys="label"), FitBoxesd()]
    inside = []
    for item in map(Compose(steps), both):
        box_mask = np.zeros((128, 128), dtype=bool)
        for x1, y1, x2, y2 in item["boxes"].round().astype(int):
            box_mask[y1:y2, x1:x2] = True
        inside.append(box_mask[item["label"][0] > 0].mean())
        middle = item["boxes"][:, [0, 2]].mean(1)
        assert (middle[item["box_label"] == 0] < middle[item["box_label"] == 1].min()).all()  # patient's right is left
    assert len(inside) >= 5
    assert min(inside) > 0.9
    assert np.mean(inside) > 0.97
