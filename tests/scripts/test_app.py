"""What the web page answers, without the page: pictures, tables, sentences, and the command."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from inference_runs import BRIGHT, BRIGHT_PIXELS, CONFIGS, bright_weights, film
from PIL import Image
from pretrained import PROJECTED, pretrained_run

from bundle.data.errors import DataError
from bundle.data.prompts import load_prompts
from bundle.inferers.vision_language import VisionLanguageModel
from bundle.inferers.zero_shot import ZeroShotClassifier
from scripts.app import main
from scripts.ask import Answer, ask
from scripts.showing import segmentation
from scripts.showing.answers import Answers, Heat, Reading
from scripts.showing.pictures import COLOURS, HEAT_COLOURS, shown, with_classes, with_heat
from scripts.showing.segmentation import Segmentation, area_shares
from scripts.showing.server import serve
from scripts.showing.tables import answer_table, caption, finding_bars, problem, share_table
from scripts.showing.words import Finding, Words

PROMPTS = CONFIGS / "prompts" / "phantom.json"
PHRASE = "There is a left pleural effusion."


@pytest.fixture(scope="module")
def marks_bright(tmp_path_factory: pytest.TempPathFactory) -> Segmentation:
    """The network that marks what is brighter than half of white."""
    folder = tmp_path_factory.mktemp("bright")
    config = json.loads((CONFIGS / "inference.json").read_text(encoding="utf-8")) | BRIGHT_PIXELS
    (folder / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmentation, "_CONFIG", folder / "inference.json")
        return Segmentation(bright_weights(folder / "model.pt"))


@pytest.fixture(scope="module")
def run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained_run(phantom_store, tmp_path_factory.mktemp("runs"), PROJECTED)[0]


@pytest.fixture(scope="module")
def words(run: Path) -> Words:
    return Words(run, PROMPTS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Image.fromarray(film()).save(tmp_path / "film.png")
    return tmp_path / "film.png"


def test_label_map_and_shares_are_those_of_the_file(marks_bright: Segmentation, path: Path, tmp_path: Path) -> None:
    """The L has 30 x 6 + 6 x 22 - 6 x 6 = 276 of 64 x 48 pixels; a one-slice NIfTI comes back upright as well."""
    nibabel.Nifti1Image(film().T[..., None], np.eye(4)).to_filename(tmp_path / "film.nii")
    for one in (path, tmp_path / "film.nii"):
        found = marks_bright.label_map(one)
        assert np.array_equal(found, film() == BRIGHT)
        assert area_shares(found, marks_bright.classes) == {"lung": 276 / 3072}


def test_the_model_of_the_repository_is_loaded(repository: Path, path: Path) -> None:
    found = Segmentation(repository / "models" / "model.pt").label_map(path)
    assert found.shape == film().shape
    assert set(np.unique(found)) <= {0, 1}


def test_share_of_a_class_that_is_nowhere() -> None:
    assert area_shares(np.zeros((2, 2), np.uint8), ["lung", "heart"]) == {"lung": 0, "heart": 0}


@pytest.mark.parametrize(
    ("size", "expected"), [((30, 50), (30, 50)), ((3072, 1000), (1536, 500)), ((8, 9000), (1, 1536))]
)
def test_a_picture_keeps_its_shape(size: tuple[int, int], expected: tuple[int, int]) -> None:
    picture = shown(np.full(size, 200, np.uint8))
    assert picture.shape == (*expected, 3)
    assert (picture == 200).all()


def test_16_bits_span_the_greys() -> None:
    assert shown(np.array([[0, 257, 65535]], np.uint16))[0, :, 0].tolist() == [0, 1, 255]


def test_classes_are_tinted_where_they_are() -> None:
    picture, labels = np.full((400, 600, 3), 100, np.uint8), np.zeros((800, 1200), np.uint8)
    labels[200:600, 100:400], labels[200:600, 700:1000] = 1, 2
    overlaid = with_classes(picture, labels)
    for left, colour in ((50, COLOURS[0]), (350, COLOURS[1])):
        assert overlaid[200, left + 75].tolist() == [int(70 + 0.3 * value) for value in colour]
        assert overlaid[200, left].tolist() == list(colour)
    tinted = (overlaid != 100).any(-1)
    assert tinted.sum() == pytest.approx(2 * 200 * 150, rel=0.06)  # with the outer half of the outline
    assert not tinted[:95].any()
    assert not tinted[:, 210:340].any()
    assert (picture == 100).all()


def test_heat_glows_where_it_is_high_and_nowhere_else() -> None:
    picture, heat = np.full((100, 200, 3), 50, np.uint8), np.full((100, 200), -0.5, np.float32)
    heat[60:90, 120:180], heat[75, 150], heat[:, :20] = 0.4, 0.41, np.nan
    overlaid = with_heat(picture, heat)
    assert (overlaid[:55] == 50).all()
    assert (overlaid[:, :110] == 50).all()
    assert overlaid[65, 130, 0] > 150
    assert np.abs(overlaid[75, 150] - np.array([0, 255, 255])).max() < 4


def test_heat_that_is_the_same_everywhere_is_drawn() -> None:
    assert with_heat(np.full((40, 40, 3), 9, np.uint8), np.zeros((40, 40), np.float32)).shape == (40, 40, 3)


def test_colours_of_heat_run_from_dark_to_bright() -> None:
    brightness = [sum(colour) for colour in HEAT_COLOURS]
    assert brightness == sorted(brightness)
    assert (brightness[0] < 10, brightness[-1] > 600) == (True, True)


def test_bars_begin_in_the_middle() -> None:
    bars = finding_bars([Finding("nodule", 0.75, 0.1), Finding("edema", 0.2, 0.9)], "ours, version 1")
    assert re.findall(r'class="(\w+)" style="left:([\d.]+)%;width:([\d.]+)%', bars) == [
        ("affirmed", "50.0", "25.0"),
        ("denied", "20.0", "30.0"),
    ]
    assert re.findall(r'class="blank" style="left:([\d.]+)%', bars) == ["10.0", "90.0"]
    assert re.findall(r'<td class="number">([\d.]+)', bars) == ["0.75", "0.20"]


def test_nothing_from_outside_becomes_markup() -> None:
    evil = "<script>alert(1)</script>"
    answer = Answer(0.5, 0.1, np.array([[-0.25, np.nan, 0.75]], np.float32))
    made = [
        problem(evil),
        caption(f"{evil}.png", (3, 4), None),
        share_table({evil: 0.123}),
        finding_bars([Finding(evil, 0.5, 0.5)], evil),
        answer_table(evil, answer),
    ]
    assert not any("<script" in one for one in made)
    assert all("&lt;script&gt;" in one for one in made)
    assert "12.3 %" in made[2]
    assert "<span>-0.25</span><span>0.75</span>" in made[4]


def test_caption_tells_size_and_spacing() -> None:
    assert "2544 × 3056 px, 0.139 × 0.15 mm a pixel" in caption("a.dcm", (3056, 2544), (0.15, 0.139))


def test_findings_are_those_of_the_classifier(words: Words, run: Path, path: Path) -> None:
    names = list(json.loads(PROMPTS.read_text(encoding="utf-8"))["classes"])
    classifier = ZeroShotClassifier(VisionLanguageModel.from_run(run), load_prompts(PROMPTS, names))
    black = path.with_name("black.png")
    pixels = np.zeros((64, 64), np.uint8)
    pixels[0, 0] = 1  # a constant image is refused
    Image.fromarray(pixels).save(black)
    findings = words.findings(path)
    assert [finding.name for finding in findings] == names
    np.testing.assert_allclose([one.score for one in findings], classifier.probabilities([path])[0], atol=1e-6)
    np.testing.assert_allclose([one.blank for one in findings], classifier.probabilities([black])[0], atol=0.05)
    assert words.prompts == "phantom, version 1"


def test_a_phrase_is_answered_as_on_the_command_line(words: Words, run: Path, path: Path) -> None:
    (expected,) = ask([path], PHRASE, "There is no left pleural effusion.", run)
    found = words.ask(path, PHRASE)
    assert found.probability == pytest.approx(expected.probability, abs=1e-6)
    assert found.similarity == pytest.approx(expected.similarity, abs=1e-6)
    np.testing.assert_array_equal(found.heat, expected.heat)


def test_a_reading_has_everything(marks_bright: Segmentation, words: Words, path: Path) -> None:
    reading = Answers(marks_bright, words).read(str(path))
    assert reading.problem == ""
    assert "<b>film.png</b><br>48 × 64 px" in reading.caption
    assert reading.radiograph is not None
    assert reading.segmented is not None
    assert np.array_equal(reading.radiograph[..., 0], film())
    # An outline of one pixel, drawn smoothly, touches the pixels beside it.
    far = np.ones((64, 48), bool)
    far[8:42, 6:32] = False
    assert np.array_equal(reading.segmented[far], reading.radiograph[far])
    assert (reading.segmented[12:38, 10:12] != reading.radiograph[12:38, 10:12]).any(-1).all()
    assert "9.0 %" in reading.shares
    assert reading.findings.count("<tr>") == 6


def test_without_a_run_there_are_no_findings(marks_bright: Segmentation, path: Path) -> None:
    assert Answers(marks_bright).read(str(path)).findings == ""


def test_a_phrase_is_shown(marks_bright: Segmentation, words: Words, path: Path) -> None:
    heat = Answers(marks_bright, words).show(str(path), PHRASE)
    assert heat.problem == ""
    assert heat.picture is not None
    assert heat.picture.shape == (64, 48, 3)
    assert f"“{PHRASE}” against “There is no left pleural effusion.”" in heat.answer


def write_text(path: Path) -> None:
    path.write_text("no image")


def write_cut(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])


def write_volume(path: Path) -> None:
    nibabel.Nifti1Image(np.arange(512, dtype=np.int16).reshape(8, 8, 8), np.eye(4)).to_filename(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("text.png", write_text),
        ("cut.png", write_cut),
        ("volume.nii.gz", write_volume),
        ("gone.png", lambda path: None),
    ],
)
def test_an_unusable_file_costs_one_sentence(
    marks_bright: Segmentation, words: Words, tmp_path: Path, name: str, write: Callable[[Path], Any]
) -> None:
    write(tmp_path / name)
    answers = Answers(marks_bright, words)
    reading, heat = answers.read(str(tmp_path / name)), answers.show(str(tmp_path / name), PHRASE)
    assert reading == Reading(problem=reading.problem)
    assert heat == Heat(problem=reading.problem)
    assert f'role="alert">{name}: ' in reading.problem
    assert str(tmp_path) not in reading.problem


def test_a_fault_of_the_program_is_no_answer_and_is_logged(
    words: Words, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        classes = ("lung",)

        def label_map(self, path: str) -> np.ndarray:
            raise KeyError("secret")

    broken: Any = Broken()
    reading = Answers(broken, words).read(str(path))
    assert reading == Reading(problem=problem("A fault of the program, not of the file: KeyError, see its log."))
    assert "Traceback" in caplog.text


def test_questions_without_a_file_or_a_phrase(marks_bright: Segmentation, words: Words, path: Path) -> None:
    answers = Answers(marks_bright, words)
    assert answers.read(None) == Reading()
    assert "Drop a radiograph first." in answers.show(None, PHRASE).problem
    for nothing in ("  ", None):
        assert "Type what to look for" in answers.show(str(path), nothing).problem


def test_an_address_that_is_taken_is_named(marks_bright: Segmentation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DataError, match=rf"--host 127\.0\.0\.1 --port {port}: .*Address already in use.*choose"):
            serve(Answers(marks_bright), "127.0.0.1", port)


def pretend(monkeypatch: pytest.MonkeyPatch, **found: str | None) -> None:
    """Let packages seem to be installed or not."""
    look = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: found[name] if name in found else look(name, *rest)
    )


ERRORS = {
    "no weights": (["--segmentation", "gone.pt"], "gone.pt"),
    "no run": (["--pretrained", "nowhere"], "nowhere: this is no finished pre-training run"),
    "no prompts": (["--pretrained", "{run}", "--prompts", "gone.json"], "gone.json: the prompt file can't be read"),
}


@pytest.mark.parametrize(("arguments", "reason"), ERRORS.values(), ids=ERRORS.keys())
def test_a_mistake_in_the_command_is_one_sentence(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    pretend(monkeypatch, gradio="there")
    assert main([one.replace("{run}", str(run)) for one in arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert reason in line


def test_command_without_gradio_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, gradio=None)
    assert main([]) == 2
    assert "`make app`" in capsys.readouterr().err
