from __future__ import annotations

import contextlib
import gzip
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from dicom_files import write_dicom
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import LoadImage, SaveImage
from PIL import Image

from bundle.data.errors import DataError
from bundle.data.radiograph_reader import read_radiograph

# Four different quarters and unequal sides: turned, mirrored, transposed or inverted, it is no longer itself.
QUARTERS = np.block([[np.full((24, 32), 20), np.full((24, 32), 90)], [np.full((24, 32), 160), np.full((24, 32), 250)]])
QUARTERS8 = QUARTERS.astype(np.uint8)
QUARTERS16 = (QUARTERS * 200).astype(np.uint16)


def write_nifti(
    path: Path, values: np.ndarray, affine: np.ndarray | None = None, kind: Any = nibabel.Nifti1Image
) -> Path:
    """Values as they lie in the file: first axis to the right."""
    nibabel.save(kind(values, np.eye(4) if affine is None else affine, dtype=values.dtype), path)
    return path


def write_itk(path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(QUARTERS8), path)


def write_monai(path: Path) -> None:
    """A PNG that MONAI reads and writes as NIfTI."""
    Image.fromarray(QUARTERS8).save(path.parent / "monai.png")
    image = LoadImage(ensure_channel_first=True)(path.parent / "monai.png")
    SaveImage(path.parent, output_postfix="m", separate_folder=False, resample=False, print_log=False)(image)
    next(path.parent.glob("*_m.nii.gz")).rename(path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.png": lambda path: Image.fromarray(QUARTERS8).save(path),
    "b.png": lambda path: Image.fromarray(QUARTERS16).save(path),
    "c.jpg": lambda path: Image.fromarray(QUARTERS8).save(path, quality=95),
    "d.nii": lambda path: write_nifti(path, QUARTERS8.T),
    "e.nii.gz": lambda path: write_nifti(path, QUARTERS16.T[..., None].astype(np.float32), np.diag([-1, -1, 1, 1])),
    "f.nii.gz": write_itk,
    "g.nii.gz": write_monai,
    "h.nii": lambda path: write_nifti(path, QUARTERS16.T, kind=nibabel.Nifti2Image),
    "i.dcm": lambda path: write_dicom(path, QUARTERS8, bits=8),
    "j.dcm": lambda path: write_dicom(path, QUARTERS * 16),
    "k.dcm": lambda path: write_dicom(path, 4095 - QUARTERS * 16, PhotometricInterpretation="MONOCHROME1"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_comes_out_the_same_way_up(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    radiograph = read_radiograph(tmp_path / name)
    pixels = radiograph.pixels.astype(float)
    shade = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    assert radiograph.size == pixels.shape == (48, 64)
    assert radiograph.pixels.flags.writeable
    assert radiograph.pixels.flags.c_contiguous
    assert np.abs(shade - (QUARTERS - 20) / 230).max() < 0.02


@pytest.mark.parametrize("name", WRITERS)
def test_the_name_of_a_file_means_nothing(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    expected = read_radiograph(tmp_path / name).pixels
    (tmp_path / name).rename(tmp_path / "image.bmp")
    assert np.array_equal(read_radiograph(str(tmp_path / "image.bmp")).pixels, expected)


def test_sixteen_bit_png_keeps_its_range(tmp_path: Path) -> None:
    Image.fromarray(QUARTERS16).save(tmp_path / "x.png")
    pixels = read_radiograph(tmp_path / "x.png").pixels
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, QUARTERS16)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_colour_modes_become_grey(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.fromarray(QUARTERS8).convert(mode).save(path, quality=100)
    pixels = read_radiograph(path).pixels
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - QUARTERS).max() <= 2 * (mode == "CMYK")


def test_luma_of_colours(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)).save(tmp_path / "x.png")
    assert read_radiograph(tmp_path / "x.png").pixels.tolist() == [[76, 150, 29]]  # .299, .587, .114 of 255


def test_black_and_white_png(tmp_path: Path) -> None:
    Image.fromarray(QUARTERS8 > 100).save(tmp_path / "x.png")
    assert np.array_equal(read_radiograph(tmp_path / "x.png").pixels, np.where(QUARTERS > 100, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_is_black(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.array([[200, 200, 100]], dtype=np.uint8)).convert(mode)
    image.putalpha(Image.fromarray(np.array([[255, 0, 51]], dtype=np.uint8)))
    image.save(tmp_path / "x.png")
    assert read_radiograph(tmp_path / "x.png").pixels.tolist() == [[200, 0, 20]]


def test_exif_orientation_of_sixteen_bits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(QUARTERS16).copy()).save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(read_radiograph(tmp_path / "x.png").pixels, QUARTERS16)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.T),
        (6, lambda image: np.rot90(image)),  # shown after a quarter turn clockwise
        (7, lambda image: np.rot90(image, 2).T),
        (8, lambda image: np.rot90(image, -1)),
    ],
)
@pytest.mark.parametrize("draft", [None, 20])
def test_exif_orientation(tmp_path: Path, orientation: int, stored: Callable, draft: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored(QUARTERS8))).save(tmp_path / "x.jpg", quality=95, exif=exif)
    radiograph = read_radiograph(tmp_path / "x.jpg", draft)
    assert radiograph.size == (48, 64)
    expected = QUARTERS if draft is None else QUARTERS[::2, ::2]
    assert radiograph.pixels.shape == expected.shape
    assert np.abs(radiograph.pixels - expected).max() <= 3


@pytest.mark.parametrize(
    ("draft", "shape"),
    [(None, (301, 400)), (201, (301, 400)), (200, (151, 200)), (20, (151, 200))],
)
def test_jpeg_is_decoded_at_half_scale_only_where_that_suffices(tmp_path: Path, draft: int, shape: tuple) -> None:
    ramp = np.linspace(0, 255, 400)[None].repeat(301, axis=0)
    Image.fromarray(ramp.astype(np.uint8)).convert("RGB").save(tmp_path / "x.jpg", quality=95)
    radiograph = read_radiograph(tmp_path / "x.jpg", draft)
    assert radiograph.pixels.shape == shape
    assert radiograph.size == (301, 400)
    assert np.abs(radiograph.pixels[5] - np.linspace(0, 255, shape[1])).max() < 3


def test_png_is_never_drafted(tmp_path: Path) -> None:
    Image.fromarray(QUARTERS8).save(tmp_path / "x.png")
    assert np.array_equal(read_radiograph(tmp_path / "x.png", draft=8).pixels, QUARTERS)


def test_nifti_values_and_spacing(tmp_path: Path) -> None:
    values = np.array([[-1.0, 0.0, 1.0], [3.0, 3.0, 3.0]], dtype=np.float32)
    image = nibabel.Nifti1Image(values, np.diag([0.3, 0.2, 1, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "x.nii.gz")
    radiograph = read_radiograph(tmp_path / "x.nii.gz")
    assert radiograph.pixels.tolist() == [[0, 65535], [16384, 65535], [32768, 65535]]
    assert radiograph.spacing == pytest.approx((0.2, 0.3))
    image.header.set_xyzt_units("unknown")
    nibabel.save(image, tmp_path / "x.nii.gz")
    assert read_radiograph(tmp_path / "x.nii.gz").spacing is None


def test_nifti_scaling_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.array([[0, 100], [50, 200]], dtype=np.uint8), np.eye(4))
    image.header.set_slope_inter(-1, 0)
    nibabel.save(image, tmp_path / "x.nii")
    assert read_radiograph(tmp_path / "x.nii").pixels.tolist() == [[65535, 49151], [32768, 0]]


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes don't hold."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(b"\0")
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


def png_bytes(pixels: np.ndarray, path: Path) -> bytes:
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png: no such file"):
        read_radiograph(tmp_path / "nothing.png")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read_radiograph(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 400, b"%PDF-1.7" + b"x" * 400])
def test_not_an_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.png: not a DICOM, PNG, JPEG or NIfTI file"):
        read_radiograph(tmp_path / "x.png")


def test_gzip_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(b"a table, really" * 100))
    with pytest.raises(DataError, match="holds no NIfTI"):
        read_radiograph(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.nii", "x.nii.gz"])
def test_files_cut_short_name_the_file(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 160)).astype(np.uint8)
    path = tmp_path / name
    if ".nii" in name:
        write_nifti(path, noise)
    else:
        Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=name):
        read_radiograph(path)


@pytest.mark.parametrize(("height", "width"), [(1, 2), (40, 33), (70, 100)])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_one_pixel_that_differs_is_enough(tmp_path: Path, height: int, width: int, depth: type) -> None:
    for row, column in ((0, 0), (height - 1, width - 1), (height // 2, width // 2)):
        pixels = np.full((height, width), 7, dtype=depth)
        pixels[row, column] = 8
        Image.fromarray(pixels).save(tmp_path / "x.png")
        assert np.array_equal(read_radiograph(tmp_path / "x.png").pixels, pixels)


@pytest.mark.parametrize("value", [0, 255])
def test_constant_images_are_refused(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((9, 9), value, dtype=np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match="same value"):
        read_radiograph(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.ones((4, 5, 6), dtype=np.uint8), r"shape \(4, 5, 6\)"),
        (np.ones((4,), dtype=np.uint8), r"shape \(4,"),
        (np.array([[0, np.nan]], dtype=np.float32), "not finite"),
        (np.array([[0, np.inf]], dtype=np.float32), "not finite"),
        (np.array([[0, 1j]], dtype=np.complex64), "complex"),
        (np.zeros((3, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), "colour"),
        (np.full((3, 3), 2.5, dtype=np.float32), "same value"),
    ],
)
def test_unusable_nifti(tmp_path: Path, values: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_radiograph(write_nifti(tmp_path / "x.nii", values))


@pytest.mark.parametrize(("width", "height"), [(20000, 10000), (11000, 9000), (10000, 8001)])
@pytest.mark.filterwarnings("ignore:Image size")
def test_decompression_bombs_are_refused_from_the_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of_size(width, height))
    with pytest.raises(DataError, match=r"bomb\.png: .*(megapixels|bomb)"):
        read_radiograph(tmp_path / "bomb.png")


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0)])
def test_images_without_size(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "x.png").write_bytes(png_of_size(width, height))
    with pytest.raises(DataError, match=r"x\.png"):
        read_radiograph(tmp_path / "x.png")


@given(data=st.data(), name=st.sampled_from(["a.png", "c.jpg", "d.nii", "e.nii.gz", "j.dcm"]))
def test_damaged_bytes_give_pixels_or_a_data_error(tmp_path_factory: Any, data: st.DataObject, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    if not path.exists():
        WRITERS[name](path)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, min(len(whole), 1500) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=8))
    damaged = path.with_name("damaged")
    damaged.write_bytes(whole[:place] + noise + whole[place + len(noise) :])
    with contextlib.suppress(DataError):
        pixels = read_radiograph(damaged).pixels
        assert pixels.ndim == 2
        assert pixels.dtype in (np.uint8, np.uint16)


def test_reading_imports_no_torch(repository: Path, tmp_path: Path) -> None:
    WRITERS["j.dcm"](tmp_path / "x")
    program = (
        "import sys\n"
        "from bundle.data.radiograph_reader import read_radiograph\n"
        "from bundle.transforms.body_mask import body_mask\n"
        "from bundle.transforms.geometry import fit\n"
        f"body_mask(fit(read_radiograph({str(tmp_path / 'x')!r}).pixels, 32)[0])\n"
        "sys.exit('torch' in sys.modules or 'monai' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=repository, timeout=60).returncode == 0
