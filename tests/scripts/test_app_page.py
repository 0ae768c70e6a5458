"""The web page in a real browser, served as its users serve it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from app_browser import CHROMIUM, DRIVER, WHY_NOT, Browser, browser
from PIL import Image
from pretrained import pretrained_run

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "app" / "bin" / "python"
PHRASE = "There is a left pleural effusion."

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON.is_file(), reason="needs Gradio's environment: run `make app-setup`"),
    pytest.mark.skipif(not (DRIVER and CHROMIUM), reason=WHY_NOT),
]

ELSEWHERE = """return performance.getEntriesByType('resource').map(entry => entry.name)
    .filter(name => !name.startsWith(location.origin) && !name.startsWith('data:') && !name.startsWith('blob:'))"""
SIZE = """const image = document.querySelector(arguments[0])
    return image && image.complete && image.naturalWidth && [image.naturalHeight, image.naturalWidth]"""
PIXELS = """const image = document.querySelector(arguments[0]), canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
    return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data)"""
FITS = "return document.documentElement.scrollHeight <= innerHeight"


@dataclass
class Page:
    """A served page."""

    url: str
    process: subprocess.Popen[str]
    temporary: Path


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Page]:
    """Start the command with a folder for its temporary files, and end it."""
    folder.mkdir()
    command = [str(PYTHON), "-m", "scripts.app", "--port", "0", *options]
    # A proxy that is not there: the page must not need one to reach itself.
    environment = {**os.environ, "TMPDIR": str(folder), "HTTP_PROXY": "http://127.0.0.1:9", "GRADIO_SHARE": "True"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert said, "the page did not start"
        yield Page(said[0], process, folder)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def page(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    run, _ = pretrained_run(phantom_store, folder)
    prompts = ROOT / "configs" / "prompts" / "phantom.json"
    with served(folder / "temporary", "--pretrained", str(run), "--prompts", str(prompts)) as started:
        yield started


@pytest.fixture
def seen(page: Page) -> Iterator[Browser]:
    with browser() as opened:
        opened.open(page.url)
        opened.wait(lambda: "Segmentation" in opened.text("body"))
        yield opened


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A dark field with a bright left edge and a black border, broader than high."""
    pixels = np.random.default_rng(0).integers(60, 90, (120, 200), np.uint8)
    pixels[:, :50], pixels[:, 190:] = 220, 0
    Image.fromarray(pixels).save(tmp_path / "film.png")
    return tmp_path / "film.png"


def drop(window: Browser, path: Path) -> None:
    window.type("#file input[type=file]", str(path))


def clear(window: Browser) -> None:
    window.click("#file .icon-button-wrapper button")
    window.wait(lambda: window.run("return !!document.querySelector('#file input[type=file]')"))


def open_tab(window: Browser, number: int) -> None:
    window.run("document.querySelectorAll('button[role=tab]')[arguments[0]].click()", number)


def shown(window: Browser, name: str) -> np.ndarray:
    """The pixels [H, W, 3] of a picture, when it is there."""
    css = f"#{name} img"
    height, width = window.wait(lambda: window.run(SIZE, css))
    return np.array(window.run(PIXELS, css), np.uint8).reshape(height, width, 4)[..., :3]


def is_quiet(window: Browser) -> bool:
    """Whether no picture, figure or caption is shown."""
    texts = [window.text(name).strip() for name in ("#caption", "#shares", "#findings", "#answer")]
    return not any(texts) and window.run("return document.querySelectorAll('.picture img').length") == 0


def test_a_dropped_radiograph_is_shown_with_all_that_was_found(seen: Browser, film: Path, tmp_path: Path) -> None:
    assert is_quiet(seen)
    drop(seen, film)
    seen.wait(lambda: "200 × 120 px" in seen.text("#caption"))
    pixels = np.asarray(Image.open(film))
    assert np.array_equal(shown(seen, "radiograph"), np.repeat(pixels[..., None], 3, -1))
    assert shown(seen, "segmented").shape == (120, 200, 3)
    assert re.search(r"lung\s+\d+\.\d %", seen.text("#shares"))
    assert seen.run(FITS)
    open_tab(seen, 1)
    seen.wait(lambda: seen.text("#findings"))
    assert len(re.findall(r"\b[01]\.\d\d\b", seen.text("#findings"))) == 5
    open_tab(seen, 2)
    seen.type("#phrase textarea, #phrase input", PHRASE)
    seen.click("#show")
    seen.wait(lambda: PHRASE in seen.text("#answer"))
    heat = shown(seen, "heat").astype(int)
    assert (heat[:, 195:] == 0).all()  # the model does not see black borders
    assert (heat[:, :190] != shown(seen, "radiograph")[:, :190]).any()
    assert seen.run(FITS)
    with Image.open(seen.screenshot(tmp_path / "page.png")) as picture:
        assert picture.width == 1280
        assert len(picture.convert("L").getcolors() or []) > 50
    assert seen.run(ELSEWHERE) == []


def test_the_next_radiograph_leaves_nothing_of_the_last(seen: Browser, film: Path, tmp_path: Path) -> None:
    drop(seen, film)
    seen.wait(lambda: "film.png" in seen.text("#caption"))
    clear(seen)
    seen.wait(lambda: is_quiet(seen))
    text, cut = tmp_path / "<b>text.png", tmp_path / "cut.png"
    text.write_text("no image")
    cut.write_bytes(film.read_bytes()[:2000])
    for path, reason in ((text, "not a DICOM, PNG, JPEG or NIfTI file"), (cut, "damaged or unsupported PNG file")):
        drop(seen, path)
        sentence = seen.wait(lambda: seen.text(".problem"))
        assert reason in sentence
        assert "tmp" not in sentence
        assert is_quiet(seen)
        clear(seen)
        seen.wait(lambda: not seen.text(".problem"))
    drop(seen, film)
    seen.wait(lambda: "film.png" in seen.text("#caption"))


def test_nothing_may_be_fetched_from_or_sent_to_another_machine(seen: Browser) -> None:
    """The browser refuses by itself, whatever the page's scripts try."""
    script = """window.refused = []
        document.addEventListener('securitypolicyviolation', event => window.refused.push(event.blockedURI))
        fetch('https://example.org/').catch(() => {})
        new Image().src = 'https://example.org/a.png'"""
    seen.run(script)
    seen.wait(lambda: len(seen.run("return window.refused")) >= 2)


def test_without_a_run_there_is_the_segmentation_alone(film: Path, tmp_path: Path) -> None:
    """And when the server ends, so does what was dropped."""
    with served(tmp_path / "temporary") as page:
        with browser() as window:
            window.open(page.url)
            window.wait(lambda: "Segmentation" in window.text("body"))
            drop(window, film)
            window.wait(lambda: "film.png" in window.text("#caption"))
            assert "Findings" not in window.text("body")
            assert not window.run("return !!document.querySelector('#phrase')")
        assert list(page.temporary.rglob("film.png"))
        page.process.send_signal(signal.SIGTERM)
        assert page.process.wait(60) == 130
        assert not list(page.temporary.rglob("*.png"))
