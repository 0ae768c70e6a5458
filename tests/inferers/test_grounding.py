from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
import torch
from bright_model import BrightModel, cosine
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scipy.ndimage import gaussian_filter
from torch import nn

from bundle.data.errors import DataError
from bundle.data.phrases import Phrase
from bundle.inferers.grounding import GroundingModel
from bundle.inferers.map_processing import (
    Bilinear,
    Contrast,
    FittedSquare,
    GaussianSmoothing,
    Nearest,
    OriginalImage,
    in_original,
    in_square,
)
from bundle.inferers.map_sources import AttentionMap, DecoderMap, GradCam, MapSource, ProjectedPatches, ValuePatches
from bundle.transforms.geometry import fit

# 64 x 128 px of grey in a black border: 8 rows above, 16 columns left, 8 right. In a square of 64 px it is 32 x 64, its
# pixels doubled, with 16 rows of padding above and below; a patch is 16 x 16 px of it.
HEIGHT, WIDTH = 72, 152
GREY, BRIGHT = 40, 200
SHOWN = (slice(8, 72), slice(16, 144))
SQUARE = (slice(24, 40), slice(96, 112))  # one patch: rows 24 to 32 and columns 40 to 48 of the fitted square


def picture(square: tuple[slice, slice] = SQUARE) -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    pixels[SHOWN] = GREY
    pixels[square] = BRIGHT
    return pixels


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4", "DX"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME1"
    header.Rows, header.Columns = pixels.shape
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    header.PixelData = (255 - pixels).tobytes()
    header["PixelData"].VR = "OB"
    header.save_as(path, enforce_file_format=True)


WRITERS = {
    "x.png": lambda path, pixels: cv2.imwrite(str(path), pixels),
    "x.jpg": lambda path, pixels: cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 100]),
    "x.dcm": write_dicom,
    "x.nii.gz": lambda path, pixels: nibabel.save(nibabel.Nifti1Image(pixels.T, np.diag([-1, -1, 1, 1])), path),
}


@pytest.fixture(params=WRITERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    WRITERS[request.param](tmp_path / request.param, picture())
    return tmp_path / request.param


def test_bright_square_is_pointed_at_exactly_in_every_file_format(path: Path) -> None:
    grounding = GroundingModel(BrightModel(), ProjectedPatches(), upsampling=Nearest())
    ((heat,),) = grounding.heat_maps([path], ["something bright"])
    assert heat.shape == (HEIGHT, WIDTH)
    assert heat.dtype == np.float32
    top = heat == np.nanmax(heat)
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[SQUARE] = True
    np.testing.assert_array_equal(top, expected)
    # DICOM has no fixed range: without a window its values are stretched from the darkest to the brightest.
    grey, bright = (GREY / BRIGHT, 1.0) if path.suffix == ".dcm" else (GREY / 255, BRIGHT / 255)
    assert heat[top] == pytest.approx(cosine(bright), abs=0.01)
    assert heat[SHOWN][~top[SHOWN]] == pytest.approx(cosine(grey), abs=0.01)
    seen = np.zeros((HEIGHT, WIDTH), dtype=bool)
    seen[SHOWN] = True
    np.testing.assert_array_equal(~np.isnan(heat), seen)


def test_bilinear_map_is_highest_inside_the_square_and_falls_around_it(path: Path) -> None:
    ((heat,),) = GroundingModel(BrightModel(), ProjectedPatches()).heat_maps([path], ["something bright"])
    rows, columns = np.nonzero(heat >= np.nanmax(heat) - 1e-6)
    assert set(rows) <= set(range(30, 34))  # round its centre (32, 104)
    assert set(columns) <= set(range(102, 106))
    assert heat[32, 104] > heat[32, 112] > heat[32, 122] == pytest.approx(heat[60, 30])
    assert heat[32, 110] == pytest.approx(heat[32, 97])  # 6.5 px from the centre on either side


def test_each_image_has_its_own_size_and_each_phrase_a_map(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    cv2.imwrite(str(tmp_path / "b.png"), picture()[SHOWN].T.copy())
    model = BrightModel()
    first, second = GroundingModel(model, ProjectedPatches()).heat_maps(
        [tmp_path / "a.png", tmp_path / "b.png"], ["a bright square", "a dark one", "a bright square"]
    )
    assert (first.shape, second.shape) == ((3, HEIGHT, WIDTH), (3, 128, 64))
    np.testing.assert_array_equal(first[0], first[2])
    assert np.unravel_index(np.nanargmax(second[0]), (128, 64))[0] in range(80, 96)
    assert second[1].flat[second[0].argmax()] == pytest.approx(second[1].min())
    assert model.embedded == ["a bright square", "a dark one"] * 2  # each once an image


def test_crop_of_the_centre_is_undone(tmp_path: Path) -> None:
    """Fitted to 80 px, of which the network sees the middle 64: the map covers only what it has seen."""
    pixels = np.full((160, 160), GREY, np.uint8)
    pixels[32:48, 112:128] = BRIGHT  # fitted 16:24, 56:64; in the crop one patch, 8:16, 48:56
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    grounding = GroundingModel(BrightModel(64, 80), ProjectedPatches(), upsampling=Nearest())
    ((heat,),) = grounding.heat_maps([tmp_path / "x.png"], ["bright"])
    np.testing.assert_array_equal(heat == np.nanmax(heat), pixels == BRIGHT)
    seen = np.zeros((160, 160), dtype=bool)
    seen[16:144, 16:144] = True
    np.testing.assert_array_equal(~np.isnan(heat), seen)


def test_empty_and_absent_phrases_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), picture())
    grounding = GroundingModel(BrightModel())
    with pytest.raises(DataError, match=r"^a phrase is empty: write what to look for, such as '[^']+'$"):
        grounding.heat_maps([tmp_path / "x.png"], ["bright", " "])
    with pytest.raises(DataError, match="there is no phrase to look for: give at least one"):
        grounding.heat_maps([tmp_path / "x.png"], [])
    with pytest.raises(DataError, match=r"nowhere\.png"):
        grounding.heat_maps([tmp_path / "nowhere.png"], ["bright"])


IMAGE = torch.zeros(1, 1, 16, 24)
IMAGE[..., :8, 8:16] = 0.75
TEXT = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
DIAGONAL = 0.75 / 0.625**0.5  # cosine of (.75, .25) with (1, 0)


def test_proj_and_value_are_cosines_of_patches() -> None:
    model = BrightModel()
    maps = ProjectedPatches()(model, IMAGE, TEXT)
    expected = torch.zeros(1, 2, 2, 3)
    expected[0, 0, 0, 1] = DIAGONAL
    expected[0, 1] = 1
    expected[0, 1, 0, 1] = 0.25 / 0.625**0.5
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(ValuePatches()(model, IMAGE, TEXT), expected.flip(1))


def test_diagnostics_do_not_look_at_the_phrase_and_are_named_so() -> None:
    model = BrightModel()
    attention = AttentionMap()(model, IMAGE, TEXT)
    assert attention.shape == (1, 2, 2, 3)
    assert torch.equal(attention[:, 0], attention[:, 1])
    assert attention[0, 0].tolist() == [[0, 0.375, 0], [0, 0, 0]]  # mean of two heads
    decoder = DecoderMap()(model, IMAGE, TEXT)
    torch.testing.assert_close(decoder[0, 1], (IMAGE[0, 0] * 4 - 2).sigmoid())
    assert AttentionMap.prefix == DecoderMap.prefix == "text_independent_"
    assert ProjectedPatches.prefix == ValuePatches.prefix == GradCam.prefix == ""
    with pytest.raises(ValueError, match="this model has none: choose another map source"):
        DecoderMap()(BrightModel(decoder=False), IMAGE, TEXT)


class MeanPool(nn.Module):
    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, None]:
        return patches.mean((2, 3)), None


def test_gradcam_is_the_gradient_of_the_score() -> None:
    """For means (a, b) the cosine with (1, 0) has the gradient (b², -ab) / r³, here with a = b = 1: (1, -1)."""
    last = torch.tensor([[[[4.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [2.0, 1.0]]]])
    network = SimpleNamespace(image_encoder=lambda image: [last], image_projection=nn.Identity(), pool=MeanPool())
    model: Any = SimpleNamespace(network=network, precision="fp32")
    with torch.no_grad():
        maps = GradCam()(model, IMAGE, TEXT)
    torch.testing.assert_close(maps[0, 0], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))  # (4, -1, -2, -1), cut off at 0
    torch.testing.assert_close(maps[0, 1], torch.tensor([[0.0, 0.5], [1.0, 0.5]]))  # (-4, 1, 2, 1)


def heat(query: Any = None, phrase: Phrase | None = None, source: MapSource | None = None) -> torch.Tensor:
    grounding = GroundingModel(BrightModel(), source or ProjectedPatches(), query, upsampling=Nearest())
    return grounding(IMAGE, [[phrase or Phrase(("bright",), ("dark",))]])[0, 0, 4::8, 4::8]


def test_contrast_is_half_of_positive_minus_negative() -> None:
    torch.testing.assert_close(heat(Contrast()), (heat() - heat(phrase=Phrase(("dark",)))) / 2)
    assert heat(Contrast())[0, 1] == pytest.approx((0.75 - 0.25) / 0.625**0.5 / 2)
    with pytest.raises(DataError, match="needs sentences for the absence of each finding: give prompts with 'neg'"):
        heat(Contrast(), Phrase(("bright",)))


def test_sentences_of_one_phrase_are_averaged() -> None:
    """Two of (1, 0) and one of (0, 1): (2, 1) / sqrt(5)."""
    both = heat(phrase=Phrase(("bright", "very bright", "dark")))
    assert both[0, 1] == pytest.approx((2 * 0.75 + 0.25) / (5 * 0.625) ** 0.5)
    assert both[1, 0] == pytest.approx(1 / 5**0.5)


def test_batch_has_a_phrase_of_its_own_for_each_image() -> None:
    images = torch.cat([IMAGE, IMAGE.flip(-2)])
    grounding = GroundingModel(BrightModel(), ProjectedPatches(), upsampling=Nearest())
    maps = grounding(images, [[Phrase(("bright",))], [Phrase(("dark",))]])
    assert maps.shape == (2, 1, 16, 24)
    torch.testing.assert_close(maps[0, 0, 7, 8], torch.tensor(DIAGONAL))
    torch.testing.assert_close(maps[1, 0, 8, 15], torch.tensor(0.25 / 0.625**0.5))
    assert (maps[0, 0, 8:] == 0).all()
    assert (maps[1, 0, :8] == 1).all()


def test_smoothing_is_that_of_scipy_beyond_edges_too() -> None:
    maps = torch.rand(2, 3, 8, 7, generator=torch.Generator().manual_seed(0))
    smooth = GaussianSmoothing(1.5)(maps)
    expected = gaussian_filter(maps.numpy(), (0, 0, 1.5, 1.5), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(smooth.numpy(), expected, atol=1e-6)
    flat = torch.full((1, 1, 3, 3), 0.3)
    torch.testing.assert_close(GaussianSmoothing(1.5)(flat), flat)


def test_upsampling_keeps_the_area() -> None:
    maps = torch.tensor([[[[0.0, 1.0]]]])
    assert Nearest()(maps, (1, 6))[0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert Bilinear()(maps, (1, 4))[0, 0, 0].tolist() == [0, 0.25, 0.75, 1]


def test_spaces_agree_on_where_things_are() -> None:
    """A map that is the fitted mask itself gives the mask back, in the square as in the original."""
    pixels = picture()
    square, geometry = fit(pixels, 64)
    mask = (pixels == BRIGHT).astype(np.uint8)
    maps = torch.from_numpy((square == BRIGHT).astype(np.float32))[None]
    output = {"pred": maps[None], "label": {"truth": [mask], "geometry": [geometry], "index": torch.tensor([3])}}
    (fitted,), target = FittedSquare()(output)
    assert torch.equal(fitted == 1, target["truth"][0])
    assert target["truth"][0].sum() == 64
    assert int((~fitted.isnan()).sum()) == 32 * 64
    assert fitted[:16].isnan().all()
    assert target["index"] is output["label"]["index"]
    (original,), target = OriginalImage(Nearest())(output)
    assert torch.equal(original == 1, target["truth"][0])
    assert np.array_equal(target["truth"][0].numpy(), mask > 0)
    assert int((~original.isnan()).sum()) == 64 * 128
    torch.testing.assert_close(in_square(maps, geometry)[0], fitted, equal_nan=True)
    torch.testing.assert_close(in_original(maps, geometry, Nearest())[0], original, equal_nan=True)
