from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import make_dicom, make_lut, write_dicom
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from bundle.data.dicom_pixels import read_dicom
from bundle.data.errors import DataError
from bundle.data.radiograph_reader import read_radiograph

RAMP = np.array([[0, 1000, 2000], [3000, 4000, 4095]])


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Pixels read back from a file of the given codes and tags."""
    return lambda codes, bits=12, **tags: read_dicom(write_dicom(tmp_path / "file", codes, bits, **tags))[0]


def sample(name: str) -> str:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} needs the package pydicom-data")
    return path


def test_without_a_window_the_image_fills_the_range(read: Any) -> None:
    pixels = read([[100, 200], [300, 500]])
    assert pixels.dtype == np.uint16
    assert pixels.tolist() == [[0, 16384], [32768, 65535]]  # quarters of 65535, halves to even


def test_eight_bits_stay_eight_bits(read: Any) -> None:
    pixels = read([[10, 20], [30, 110]], bits=8)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[0, 26], [51, 255]]  # 25.5 rounds to even


def test_linear_window_follows_the_standard(read: Any) -> None:
    # C.11.2.1.2.1: x <= c - .5 - (w - 1) / 2 = 1000 is black, x > c - .5 + (w - 1) / 2 = 3000 is white.
    pixels = read(RAMP, WindowCenter=2000.5, WindowWidth=2001)
    assert pixels.tolist() == [[0, 0, 32768], [65535, 65535, 65535]]


def test_exact_linear_window_is_half_a_step_aside(read: Any) -> None:
    # (x - c) / w + .5 with c = 2000, w = 4000: 1500 shows at .375.
    pixels = read([[0, 1500, 4000]], WindowCenter=2000, WindowWidth=4000, VOILUTFunction="LINEAR_EXACT")
    assert pixels.tolist() == [[0, round(0.375 * 65535), 65535]]


def test_sigmoid_window_bends_around_its_centre(read: Any) -> None:
    def sigmoid(x: float) -> float:
        return 1 / (1 + np.exp(-4 * (x - 2047.5) / 1000))

    pixels = read([[0, 2000, 2500, 4095]], WindowCenter=2047.5, WindowWidth=1000, VOILUTFunction="SIGMOID")
    low, high = sigmoid(0), sigmoid(4095)
    expected = [65535 * (sigmoid(x) - low) / (high - low) for x in (0, 2000, 2500, 4095)]
    assert np.abs(pixels[0] - np.array(expected)).max() <= 0.5


def test_the_first_of_several_windows_counts(read: Any) -> None:
    one = read(RAMP, WindowCenter=2000, WindowWidth=2000)
    assert np.array_equal(read(RAMP, WindowCenter=[2000, 500], WindowWidth=[2000, 100]), one)


@pytest.mark.parametrize("tags", [{"WindowWidth": 0}, {"WindowWidth": None}, {"WindowWidth": [0, 0]}])
def test_a_window_without_width_is_none(read: Any, tags: dict[str, Any]) -> None:
    assert np.array_equal(read(RAMP, WindowCenter=2000, **tags), read(RAMP))


def test_the_window_comes_before_the_inversion(read: Any) -> None:
    # The window shows 0..1000: 1000 and more are white, and black once MONOCHROME1 is inverted.
    pixels = read(RAMP, WindowCenter=500.5, WindowWidth=1001, PhotometricInterpretation="MONOCHROME1")
    assert pixels.tolist() == [[65535, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_presentation_lut_shape_changes_nothing(read: Any, shape: str, photometric: str) -> None:
    plain = read(RAMP, PhotometricInterpretation=photometric)
    assert np.array_equal(read(RAMP, PhotometricInterpretation=photometric, PresentationLUTShape=shape), plain)


def test_rescale_comes_before_the_window(read: Any) -> None:
    # 2 x - 1000 lies in the window -1000 .. 3000 for codes 0 .. 2000.
    pixels = read(RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1000.5, WindowWidth=4001)
    assert pixels.tolist() == [[0, 32768, 65535], [65535, 65535, 65535]]


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2048, "WindowWidth": 3000}])
def test_a_negative_slope_is_the_twin_of_inverted_codes(read: Any, window: dict[str, int]) -> None:
    codes = np.arange(4096).reshape(64, 64)
    assert np.array_equal(read(4095 - codes, RescaleSlope=-1, RescaleIntercept=4095, **window), read(codes, **window))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "1.2.840.10008.1.2.1"])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_modality_lut_before_voi_lut(read: Any, vr: str, syntax: str) -> None:
    modality = make_lut([30, 11, 9], first=5, depth=16, vr=vr)  # codes 5, 6, 7 and clamped outside
    voi = make_lut([0, 100, 400, 1000], first=9, depth=10, vr=vr)  # values 9 .. 12 and clamped outside
    pixels = read([[4, 6, 7, 9]], syntax=syntax, ModalityLUTSequence=[modality], VOILUTSequence=[voi])
    assert pixels.tolist() == [[65535, 26214, 0, 0]]  # 30 -> 1000, 11 -> 400, 9 -> 0


def test_a_voi_lut_of_eight_bits_may_have_many_entries(read: Any) -> None:
    lut = make_lut([value // 16 for value in range(4096)], first=0, depth=8)
    pixels = read(RAMP, VOILUTSequence=[lut], WindowCenter=10, WindowWidth=10)  # the LUT goes before the window
    assert (pixels // 257).tolist() == (RAMP // 16).tolist()


def test_a_voi_lut_applies_to_rescaled_values_below_zero(read: Any) -> None:
    lut = make_lut([0, 1, 3, 4], first=-2, depth=16)
    pixels = read([[0, 1, 2, 3]], RescaleSlope=1, RescaleIntercept=-2, VOILUTSequence=[lut])
    assert pixels.tolist() == [[0, 16384, 49151, 65535]]


def test_signed_values_keep_their_order(read: Any) -> None:
    codes = np.array([[-2048, -1, 0, 2047]]).astype(np.int16).view(np.uint16) & 0x0FFF
    pixels = read(codes, PixelRepresentation=1)
    assert pixels.tolist() == [[0, 32759, 32776, 65535]]  # 2047 and 2048 of 4095


def test_overlay_bits_above_the_pixel_are_ignored(read: Any) -> None:
    assert np.array_equal(read(RAMP | np.array([0x1000, 0x8000, 0xF000])), read(RAMP))


def test_bits_may_lie_high_in_the_word(read: Any) -> None:
    assert np.array_equal(read(RAMP << 4 | 9, HighBit=15), read(RAMP))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_moves_no_range(read: Any, photometric: str) -> None:
    codes = np.array([[0, 1000, 1500], [4095, 2000, 1250]])
    tags = {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4000, "PhotometricInterpretation": photometric}
    pixels = read(np.where(codes == 0, 4001, codes), **tags)
    grey = (
        np.array([[0, 0, 0.5], [0, 1, 0.25]]) if photometric == "MONOCHROME2" else np.array([[0, 1, 0.5], [0, 0, 0.75]])
    )
    assert np.abs(pixels - grey * 65535).max() <= 0.5


def test_padding_is_black_under_a_window_too(read: Any) -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    pixels = read(RAMP, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1", **window)
    assert pixels[0, 0] == 0
    assert pixels[0, 1] == round((1 - 1000 / 4095) * 65535)


def test_negative_padding_value(read: Any) -> None:
    codes = np.array([[-2000, 100, 300]]).astype(np.int16).view(np.uint16)
    pixels = read(codes, bits=16, PixelRepresentation=1, PixelPaddingValue=-2000)
    assert pixels.tolist() == [[0, 0, 65535]]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [1, 1]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.14, 0.15]}, (0.14, 0.15)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.14, 0.15]}, (0.14, 0.15)),
        ({"PixelSpacing": None}, None),
        ({}, None),
    ],
)
def test_spacing(tmp_path: Path, tags: dict[str, Any], expected: tuple[float, float] | None) -> None:
    assert read_dicom(write_dicom(tmp_path / "file", RAMP, **tags))[1] == expected


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_syntaxes_read_the_same(tmp_path: Path, read: Any, syntax: str) -> None:
    header = make_dicom(RAMP, syntax=syntax)
    if syntax == ExplicitVRBigEndian:
        header.PixelData = RAMP.astype(">u2").tobytes()
    header.save_as(tmp_path / "other", enforce_file_format=True)
    assert np.array_equal(read_dicom(tmp_path / "other")[0], read(RAMP))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_syntaxes_read_the_same(tmp_path: Path, read: Any, syntax: str, bits: int) -> None:
    codes = np.random.default_rng(0).integers(0, 2**bits, (40, 33))
    header = make_dicom(codes, bits)
    header.compress(syntax)
    header.save_as(tmp_path / "compressed", enforce_file_format=True)
    assert np.array_equal(read_dicom(tmp_path / "compressed")[0], read(codes, bits))


@pytest.mark.parametrize(
    ("plain", "compressed"),
    [
        ("RG1_UNCI.dcm", "RG1_J2KI.dcm"),
        ("RG1_UNCR.dcm", "RG1_J2KR.dcm"),
        ("RG3_UNCI.dcm", "RG3_J2KI.dcm"),
        ("RG3_UNCR.dcm", "RG3_J2KR.dcm"),
        ("MR2_UNCI.dcm", "MR2_J2KI.dcm"),
        ("MR2_UNCR.dcm", "MR2_J2KR.dcm"),
        ("MR_small.dcm", "MR_small_RLE.dcm"),
        ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"),
        ("MR_small.dcm", "MR_small_bigendian.dcm"),
        ("693_UNCI.dcm", "693_J2KI.dcm"),
        ("693_UNCR.dcm", "693_J2KR.dcm"),
    ],
)
def test_real_twins_are_equal_bit_for_bit(plain: str, compressed: str) -> None:
    ours, twin = read_dicom(Path(sample(plain))), read_dicom(Path(sample(compressed)))
    assert np.array_equal(ours[0], twin[0])
    assert ours[1] == twin[1]


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG1_J2KI.dcm"])
def test_bone_is_bright_on_a_real_monochrome1_chest(name: str) -> None:
    _expect_bright_mediastinum(read_dicom(Path(sample(name)))[0])


@pytest.mark.real
@pytest.mark.parametrize("name", ["nema_rg1_cr_chest_mono1_15bit_j2k.dcm", "nih_dx_chest_mono2_8bit_implicitvr.dcm"])
def test_bone_is_bright_on_real_chests(data_root: Path, name: str) -> None:
    _expect_bright_mediastinum(read_dicom(data_root / "dicom" / name)[0])


def _expect_bright_mediastinum(pixels: np.ndarray) -> None:
    """Spine and abdomen shine, both lungs are darker, wherever a PA film has them."""
    height, width = pixels.shape
    rows = slice(round(0.25 * height), round(0.45 * height))
    spine = np.median(pixels[rows, round(0.47 * width) : round(0.53 * width)])
    abdomen = np.median(pixels[round(0.9 * height) :, round(0.3 * width) : round(0.7 * width)])
    lungs = [np.median(pixels[rows, round(a * width) : round((a + 0.1) * width)]) for a in (0.22, 0.68)]
    assert min(spine, abdomen) > 1.2 * max(lungs)


@given(
    bits=st.integers(2, 16),
    signed=st.booleans(),
    inverted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_depth_gives_an_ordered_full_range(
    tmp_path_factory: pytest.TempPathFactory, bits: int, signed: bool, inverted: bool, seed: int
) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = np.random.default_rng(seed).integers(low, high + 1, (3, 4))
    values[0, :2] = low, high
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    path = tmp_path_factory.getbasetemp() / "ordered"
    write_dicom(
        path, values & (2**bits - 1), bits, PixelRepresentation=int(signed), PhotometricInterpretation=photometric
    )
    pixels = read_dicom(path)[0]
    full = 255 if bits <= 8 else 65535
    expected = (values - low) / (high - low)
    assert pixels.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert np.abs(pixels - full * (1 - expected if inverted else expected)).max() <= 0.5 + 1e-6


@given(
    bits=st.integers(2, 16),
    signed=st.booleans(),
    slope=st.sampled_from([-2, 1, 3]),
    padding=st.one_of(st.none(), st.integers(0, 2000)),
    overlay=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_range_is_that_of_the_pixels_that_are_no_padding(
    tmp_path_factory: pytest.TempPathFactory,
    bits: int,
    signed: bool,
    slope: int,
    padding: int | None,
    overlay: bool,
    seed: int,
) -> None:
    """Pixel by pixel in NumPy, whatever the order of the codes is: negative ones and overlay bits stir it."""
    draw = np.random.default_rng(seed)
    low, high = np.sort(draw.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed), 2))
    values = draw.integers(low, high + 1, (4, 5))
    allocated = 8 if bits <= 8 else 16
    codes = values & (2**bits - 1) | (draw.integers(0, 2**allocated, (4, 5)) >> bits << bits if overlay else 0)
    tags: dict[str, Any] = {"PixelRepresentation": int(signed), "RescaleSlope": slope, "RescaleIntercept": 5}
    if padding is not None and padding < 2 ** (bits - 1):
        tags["PixelPaddingValue"] = padding
    path = write_dicom(tmp_path_factory.getbasetemp() / "ranged", codes, bits, **tags)
    padded = values == tags.get("PixelPaddingValue", high + 1)
    shades = slope * values + 5
    counted = shades[~padded]
    if counted.size == 0 or counted.min() == counted.max():
        with pytest.raises(DataError, match="same value"):
            read_dicom(path)
        return
    grey = (shades - counted.min()) / (counted.max() - counted.min())
    expected = np.where(padded, 0, grey) * (255 if bits <= 8 else 65535)
    assert np.abs(read_dicom(path)[0] - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("codes", "tags", "reason"),
    [
        (np.zeros((2, 2, 3)), {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "interpretation is RGB"),
        (RAMP, {"PhotometricInterpretation": "PALETTE COLOR"}, "interpretation is PALETTE COLOR"),
        (np.zeros((2, 2)), {"NumberOfFrames": 5}, "5 frames"),
        (np.zeros((2, 2)), {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "32 bits a pixel"),
        (np.full((2, 2), 7), {}, "same value"),
        (np.full((2, 2), 7), {"WindowCenter": 100, "WindowWidth": 50}, "same value"),
        (np.full((2, 2), 7), {"PixelPaddingValue": 7}, "same value"),
        (RAMP, {"Rows": 0}, "no pixels"),
        (RAMP, {"Rows": 20000, "Columns": 10000}, "more than the 80 megapixels"),
        (RAMP, {"Rows": 20}, "damaged"),
        (RAMP, {"WindowCenter": 1, "WindowWidth": 5, "VOILUTFunction": "CURVY"}, "CURVY"),
    ],
)
def test_unusable_files_say_why(tmp_path: Path, codes: np.ndarray, tags: dict[str, Any], reason: str) -> None:
    path = write_dicom(tmp_path / "wrong.dcm", codes, **tags)
    with pytest.raises(DataError, match=reason) as error:
        read_radiograph(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert "Secret" not in str(error.value)


@pytest.mark.parametrize("value", [None, b""])
def test_no_pixel_data(tmp_path: Path, value: bytes | None) -> None:
    header = make_dicom(RAMP)
    if value is None:
        del header.PixelData
    else:
        header.PixelData = value
    header.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match=r"report\.dcm: the DICOM file holds no pixel data"):
        read_radiograph(tmp_path / "report.dcm")


@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "image_dfl.dcm"])
def test_files_cut_short(tmp_path: Path, name: str, share: float) -> None:
    whole = Path(sample(name)).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"cut\.dcm"):
        read_radiograph(tmp_path / "cut.dcm")


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_a_compressed_frame_cut_short(tmp_path: Path, syntax: str) -> None:
    header = make_dicom(np.random.default_rng(0).integers(0, 4096, (64, 64)))
    header.compress(syntax)
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    header.PixelData = encapsulate([frame[: len(frame) // 2]])
    header.save_as(tmp_path / "cut.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match=r"cut\.dcm"):
        read_radiograph(tmp_path / "cut.dcm")
