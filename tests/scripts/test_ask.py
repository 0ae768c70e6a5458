"""Questions to a pre-trained run on the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pretrained import PROJECTED, pretrained_run
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from bundle.data.tokenizer_files import load_tokenizer
from scripts.ask import Answer, ask, main, negation_of
from scripts.asking.overlay import Seen, draw_overlays

PHRASE = "There is a left pleural effusion."
DENIED = "There is no left pleural effusion."


@pytest.fixture(scope="module")
def trained(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    return pretrained_run(phantom_store, tmp_path_factory.mktemp("runs"), PROJECTED)


@pytest.fixture(scope="module")
def images(phantoms: Path) -> list[Path]:
    items = json.loads((phantoms / "datalist.json").read_text(encoding="utf-8"))["test"]
    return [phantoms / item["image"] for item in items[:3]]


def rows(printed: str) -> list[list[str]]:
    """The cells of the table: number, probability, similarity and file."""
    return [line.split() for line in printed.splitlines() if re.match(r" +\d+ ", line)]


def test_answers_are_those_of_the_network(
    trained: tuple[Path, torch.nn.Module],
    images: list[Path],
    phantom_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Computed apart: phantoms of 64 px need no fitting."""
    out = tmp_path / "deep" / "overlay.png"
    options = ["--run", str(trained[0]), "--out", str(out)]
    assert main([*map(str, images), PHRASE, *options]) == 0
    printed = capsys.readouterr().out
    assert f"phrase:   {PHRASE}\nnegation: {DENIED}\n" in printed
    assert "no diagnosis" in printed

    pixels = np.stack([np.asarray(Image.open(path)) for path in images])
    image = (torch.from_numpy(pixels)[:, None].float() / 255 - 0.449) / 0.226
    tokens = load_tokenizer(phantom_store / "tokenizer")([PHRASE, DENIED], return_tensors="pt", padding=True)
    with torch.no_grad():
        vectors = trained[1].encode_image(image)["image_embedding"]
        positive, negative = trained[1].encode_text(tokens["input_ids"], tokens["attention_mask"])
    expected = torch.stack([((vectors @ (positive - negative)) / 0.07).sigmoid(), vectors @ positive], 1)
    found = [[float(cell) for cell in row[1:3]] for row in rows(printed)]
    np.testing.assert_allclose(found, expected.numpy(), atol=6e-4)
    assert [row[0] for row in rows(printed)] == ["1", "2", "3"]
    assert [row[3] for row in rows(printed)] == list(map(str, images))
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_negation_can_be_given(
    trained: tuple[Path, torch.nn.Module], images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for phrase, negative in (("pneumothorax", "clear lungs"), ("clear lungs", "pneumothorax")):
        options = ["--run", str(trained[0]), "--negative", negative, "--out", str(tmp_path / "a.png")]
        assert main([str(images[0]), phrase, *options]) == 0
        printed = capsys.readouterr().out
        assert f"negation: {negative}\n" in printed
        found.append(float(rows(printed)[0][1]))
    assert sum(found) == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("left pleural effusion", "no left pleural effusion"),
        ("There is a nodule.", "There is no nodule."),
        ("there is an  opacity", "there is no opacity"),
        ("There are nodules", "There are no nodules"),
        ("There is no nodule.", "There is nodule."),
        ("No pneumothorax", "pneumothorax"),
        ("nodule", "no nodule"),
    ],
)
def test_negation_of(phrase: str, expected: str) -> None:
    assert negation_of(phrase) == expected


@pytest.mark.parametrize("source", ["proj", "value"])
def test_heat_map_has_the_size_of_the_file(trained: tuple[Path, torch.nn.Module], tmp_path: Path, source: str) -> None:
    """A broad 16-bit picture with black borders, where nothing is seen."""
    pixels = np.zeros((90, 150), np.uint16)
    pixels[10:80, 20:150] = np.random.default_rng(0).integers(1000, 60000, (70, 130))
    cv2.imwrite(str(tmp_path / "broad.png"), pixels)
    (answer,) = ask([tmp_path / "broad.png"], PHRASE, DENIED, trained[0], source)
    assert answer.heat.shape == (90, 150)
    seen = ~np.isnan(answer.heat)
    np.testing.assert_array_equal(seen, pixels > 0)
    assert np.abs(answer.heat[seen]).max() <= 1


def test_sources_differ_and_the_default_is_that_of_grounding(
    trained: tuple[Path, torch.nn.Module], images: list[Path]
) -> None:
    def heat(source: str | None) -> np.ndarray:
        return ask(images[:1], PHRASE, DENIED, trained[0], source)[0].heat

    projected, value, default = heat("proj"), heat("value"), heat(None)
    assert not np.allclose(projected, value)
    assert np.array_equal(default, projected) or np.array_equal(default, value)


def test_every_file_format_gives_the_same_answer(
    trained: tuple[Path, torch.nn.Module], images: list[Path], tmp_path: Path
) -> None:
    pixels = np.asarray(Image.open(images[0]))
    write_dicom(tmp_path / "same.dcm", pixels)
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "colour.png")
    paths = [images[0], tmp_path / "same.dcm", tmp_path / "colour.png"]
    first, *others = ask(paths, PHRASE, DENIED, trained[0])
    for other in others:
        assert other.probability == pytest.approx(first.probability, abs=0.02)
        np.testing.assert_allclose(other.heat, first.heat, atol=0.05)


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *pixels.shape, 1
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)


def test_overlay_shows_the_heat_where_it_is(tmp_path: Path) -> None:
    """Two grey images, a broad one that is hot at the lower right and a tall one that is hot at the upper left."""
    broad, tall = np.full((40, 80), -0.2, np.float32), np.full((80, 40), -0.2, np.float32)
    broad[30:, 60:], tall[:20, :10] = 0.7, 0.7
    broad[:, :3] = np.nan
    grey = [np.tile(np.arange(heat.shape[1], dtype=np.uint8), (heat.shape[0], 1)) for heat in (broad, tall)]
    seen = [Seen(*one, "image") for one in zip(grey, (broad, tall), strict=True)]
    draw_overlays(seen, "a phrase " * 30, tmp_path / "sheet.png")
    picture = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    coloured = picture[..., 0] > picture[..., 2] + 40
    coloured = coloured[:, : int(picture.shape[1] * 0.89)]  # without the legend
    _, _, boxes, centres = cv2.connectedComponentsWithStats(coloured.astype(np.uint8))
    large = [number for number in range(1, len(boxes)) if boxes[number, cv2.CC_STAT_AREA] > 500]
    assert len(large) == 2
    upper, lower = sorted(large, key=lambda number: centres[number][1])
    middle = picture.shape[1] / 2
    assert boxes[upper, cv2.CC_STAT_WIDTH] == pytest.approx(2 * boxes[upper, cv2.CC_STAT_HEIGHT], rel=0.1)
    assert boxes[lower, cv2.CC_STAT_HEIGHT] == pytest.approx(2 * boxes[lower, cv2.CC_STAT_WIDTH], rel=0.1)
    assert centres[upper][0] > centres[lower][0] > middle


ERRORS: dict[str, tuple[list[str], str]] = {
    "no image": (["none.png", PHRASE], "none.png"),
    "no radiograph": (["notes.txt", PHRASE], "notes.txt"),
    "empty phrase": (["{image}", " "], "is empty"),
    "empty negation": (["{image}", PHRASE, "--negative", " "], "is empty"),
    "no run": (["{image}", PHRASE, "--run", "nowhere"], "nowhere: this is no finished pre-training run"),
}


@pytest.mark.parametrize(("arguments", "reason"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_is_one_sentence(
    trained: tuple[Path, torch.nn.Module],
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("Heart size is normal.")
    given = ["--run", str(trained[0]), *(one.replace("{image}", str(images[0])) for one in arguments)]
    assert main(given) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("error: ")
    assert reason in line
    assert captured.out == ""
    assert not list(tmp_path.glob("*.png"))


MISTAKES: dict[str, tuple[list[str], str]] = {
    "phrase forgotten": (["{image}", "{image}"], "must be the phrase"),
    "nothing but an image": (["{image}"], "PHRASE"),
    "no PNG": (["{image}", PHRASE, "--out", "overlay.jpg"], "overlay.jpg does not end in .png"),
    "another source": (["{image}", PHRASE, "--source", "attn"], "invalid choice"),
}


@pytest.mark.parametrize(("arguments", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_the_command_is_named(
    images: list[Path], capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    given: list[Any] = ["--run", "runs", *(one.replace("{image}", str(images[0])) for one in arguments)]
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_run_without_text_encoder_is_refused(
    trained: tuple[Path, torch.nn.Module], images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "pictures")))
    text = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(text.replace("  text_encoder:", "  another:"), encoding="utf-8")
    assert main([str(images[0]), PHRASE, "--run", str(run), "--out", str(tmp_path / "a.png")]) == 2
    assert "has no text encoder" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_answer_holds_plain_numbers(trained: tuple[Path, torch.nn.Module], images: list[Path]) -> None:
    (answer,) = ask(images[:1], PHRASE, DENIED, trained[0])
    assert isinstance(answer, Answer)
    assert isinstance(answer.probability, float)
    assert answer.heat.dtype == np.float32
