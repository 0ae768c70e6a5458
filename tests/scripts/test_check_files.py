"""What `scripts.check` finds in the files of a list, and the sheet that it draws of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from ten_items import SIZE, TenItems

from bundle.data.phantom import draw_phantom
from bundle.data.phantom_files import write_phantom_dicom
from scripts.check import main


@pytest.fixture
def ten(tmp_path: Path) -> TenItems:
    return TenItems(tmp_path)


def test_missing_unusable_and_other_sizes(ten: TenItems, capsys: pytest.CaptureFixture[str]) -> None:
    training = ten.content["training"]
    pictures = ten.folder / "pictures"
    (pictures / training[4]["image"]).unlink()
    (pictures / "masks/mass.png").unlink()
    (pictures / training[5]["image"]).write_bytes(b"torn")
    ten.write(training[1]["image"], np.random.default_rng(0).integers(0, 255, (50, 60), dtype=np.uint8))
    ten.content["validation"][0]["size"] = [61, 50]
    figures = ten.found(code=1)
    files = figures["files"]
    assert files["missing"] == ["training[2] finding_masks", "training[4]"]
    assert files["unreadable"] == {"not a DICOM, PNG, JPEG or NIfTI file": ["training[5]"]}
    assert files["other_size"] == ["training[1]", "validation[0]"]
    assert files["mask_size"] == ["training[1]"]
    assert files["sizes"]["common"] == [[60, 50, 7], [50, 60, 1]]
    assert figures["problems"] == [
        "2 files are missing",
        "1 file can't be used",
        "2 images have another size than the list says",
        "1 item has a mask of another size than the image",
    ]
    printed = capsys.readouterr().out
    assert "  missing: training[2] finding_masks, training[4]\n" in printed
    assert "does not pass, for 4 reasons:\n  2 files are missing\n" in printed


def test_decoding_finds_what_headers_hide(ten: TenItems) -> None:
    path = ten.folder / "pictures" / ten.content["training"][0]["image"]
    path.write_bytes(path.read_bytes()[:-200])
    ten.write(ten.content["training"][1]["image"], np.zeros(SIZE, np.uint8))
    assert ten.found()["files"]["unreadable"] == {}
    unreadable = ten.found("--decode", code=1)["files"]["unreadable"]
    assert sorted(map(tuple, unreadable.values())) == [("training[0]",), ("training[1]",)]
    assert "every pixel has the same value" in unreadable


def test_files_of_some_items_or_none(ten: TenItems) -> None:
    (ten.folder / "pictures" / ten.content["training"][1]["image"]).unlink()
    files = ten.found("--files", "2")["files"]  # items 0 and 5 of ten
    assert (files["items"], files["images"], files["masks"], files["missing"]) == (2, 2, 1, [])
    assert ten.found("--files", "none")["files"]["images"] == 0
    assert ten.found("--files", "100", code=1)["files"]["items"] == 10


def test_headers_know_turned_pictures_and_dicom(ten: TenItems) -> None:
    turned = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 60), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    turned.save(ten.folder / "pictures" / ten.content["test"][0]["image"], exif=exif)
    write_phantom_dicom(draw_phantom(1, 64), ten.folder / "pictures" / ten.content["test"][1]["image"])
    ten.content["test"][1]["size"] = [64, 64]
    by_header, decoded = (ten.found(*options)["files"]["sizes"] for options in ((), ("--decode",)))
    assert by_header == decoded
    assert by_header["largest"] == [64, 64]


def test_the_same_picture_under_two_names(ten: TenItems, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (("test", 0, "a.jpg", 60), ("training", 1, "b.jpg", 90)):
        split, number, name, quality = place
        ten.content[split][number]["image"] = name
        ten.picture(name, 0, quality)  # that of training[0], compressed anew
    figures = ten.found("--same-images", code=1)
    assert figures["leaks"]["same_pictures"] == {
        "training-test": [["training[0]", "test[0]"], ["training[1]", "test[0]"]]
    }
    assert figures["problems"] == ["2 pictures are in two splits under two names"]
    assert "under two names: training[0] = test[0], training[1] = test[0]" in capsys.readouterr().out
    assert ten.found()["problems"] == []


@pytest.mark.parametrize(
    ("values", "colour", "inside"),
    [
        ({"boxes": [[10, 20, 30, 40]], "box_label": [1]}, (0, 255, 255), (0, 0, 0)),  # cyan: the second class
        ({"mask": "masks/square.png"}, (255, 165, 0), (46, 30, 0)),  # orange, after two classes; filled by .18
        (
            {"rle": ["620 20 40 20"] + [f"{60 * column + 20} 20" for column in range(10, 30)]},
            (255, 165, 0),
            (46, 30, 0),
        ),
    ],
)
def test_the_sheet_shows_annotations_where_they_are(
    ten: TenItems, values: dict[str, Any], colour: tuple[int, ...], inside: tuple[int, ...]
) -> None:
    square = np.full(SIZE, 255, np.uint8)
    square[20:40, 10:30] = 0
    ten.write("square.png", square)
    ten.write("masks/square.png", 255 - square)
    item = {"id": "a", "image": "square.png", "size": SIZE, **values}
    ten.content = {key: ten.content[key] for key in ("image_root", "classes")} | {"training": [item]}
    assert ten.check("--sheet", str(ten.folder / "sheet.png"), "--count", "1") == 0
    with Image.open(ten.folder / "sheet.png") as image:
        sheet = np.array(image.convert("RGB")).astype(int)
    drawn = (abs(sheet - colour).max(-1) < 40).astype(np.uint8)
    boxes = cv2.connectedComponentsWithStats(drawn)[2][1:]
    left, top, width, height = max(boxes.tolist(), key=lambda box: box[2] * box[3])[:4]
    assert width == pytest.approx(height, abs=6)
    assert width > 80  # the picture is about 350 px high
    middle = sheet[top + height // 2, left + width // 2]
    assert abs(middle - inside).max() <= 2
    around = (slice(top - 6, top + height + 6), slice(left - 6, left + width + 6))
    rim = sheet[around][[0, -1]]
    assert (rim > 250).all()
    assert sheet[top + height - 8, left + 20 : left + width - 20].max() < 60


def test_sheets_of_one_seed_are_equal_and_others_are_not(phantoms: Path, tmp_path: Path) -> None:
    def sheet(name: str, *options: str) -> bytes:
        path = tmp_path / name
        common = [str(phantoms / "datalist.json"), "--files", "none", "--count", "4", "--sheet", str(path)]
        assert main([*common, *options]) == 0
        return path.read_bytes()

    assert sheet("a.png") == sheet("b.png", "--seed", "0")
    assert sheet("a.png") != sheet("c.png", "--seed", "1")


def test_an_image_that_cannot_be_read_leaves_a_gap_on_the_sheet(ten: TenItems) -> None:
    (ten.folder / "pictures" / ten.content["training"][0]["image"]).unlink()
    assert ten.check("--sheet", str(ten.folder / "sheet.png")) == 1
    assert (ten.folder / "sheet.png").stat().st_size > 10_000
