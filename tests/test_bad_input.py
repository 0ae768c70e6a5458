"""What a person sees of unusable input: one sentence that names file, item and reason, and nothing half-written."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from data.dicom_files import write_dicom
from monai.bundle import ConfigParser
from PIL import Image
from workflows import CONFIGS, TINY_TEXT, workflow

from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from bundle.handlers.plain_errors import UnknownConfigId, check_overrides, plain_cause
from bundle.transforms.tokenize import train_tokenizer
from scripts.pack import main as pack
from scripts.prepare import main as prepare

COUNT = 12
BAD = 5
"""Item that is spoilt; in the table it stands in row 7, below the names and items 0 to 4."""


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(20, 256, (48, 40), np.uint8)


class Source:
    """A table of pairs and a data list of the same pairs, to be spoilt before a command reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.table, self.list = folder, folder / "pairs.csv", folder / "list.json"
        self.rows = [
            {
                "id": f"id{number}",
                "image": f"{number}.png",
                "patient": f"p{number}",
                "report": f"Heart size {number} is normal.",
            }
            for number in range(COUNT)
        ]
        for number in range(COUNT):
            Image.fromarray(picture(number)).save(folder / f"{number}.png")

    @property
    def image(self) -> Path:
        """The file of the item that is spoilt."""
        return self.folder / f"{BAD}.png"

    def write(self) -> None:
        with open(self.table, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.rows[0].keys())
            writer.writeheader()
            writer.writerows(self.rows)
        keys = {"id": "id", "image": "image", "patient": "patient", "report": "text"}
        items = [{keys[key]: value for key, value in row.items() if key in keys and value} for row in self.rows]
        content = {"name": "pairs", "image_root": str(self.folder), "training": items[:9], "validation": items[9:]}
        self.list.write_text(json.dumps(content), encoding="utf-8")

    def prepare(self, *options: str) -> int:
        self.write()
        return prepare(
            ["pairs", "--table", str(self.table), "--out", str(self.folder / "out"), "--workers", "1", *options]
        )

    def pack(self, *options: str) -> int:
        self.write()
        small = ("--size", "32", "--vocab-size", "120", "--workers", "1")
        return pack([str(self.list), "--out", str(self.folder / "store"), *small, *options])


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def the_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line on stderr that is no progress bar."""
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    said = [line for line in lines if line.strip() and "%|" not in line]
    assert len(said) == 1, said
    assert said[0].startswith("error: ")
    return said[0]


def check_sentence(sentence: str, *parts: str) -> None:
    missing = [part for part in parts if part not in sentence]
    assert missing == [], sentence


# ---------------------------------------------------------------------------------------------------------------------
# Images, met by preparing and by packing
# ---------------------------------------------------------------------------------------------------------------------
def write_nifti(path: Path, values: np.ndarray) -> None:
    named = path.with_suffix(".nii")
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), named)
    named.rename(path)  # the content decides what a file is, not its name


def colour(path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 255, (16, 12, 3))
    write_dicom(path, codes, 8, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)


def frames(path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 4096, (2, 16, 12))
    write_dicom(path, codes, NumberOfFrames=2, Rows=16, Columns=12)


IMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "unreadable": (lambda p: p.write_bytes(b"no image at all"), "not a DICOM, PNG, JPEG or NIfTI file"),
    "empty file": (lambda p: p.write_bytes(b""), "not a DICOM, PNG, JPEG or NIfTI file"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:900]), "damaged or unsupported PNG file"),
    "all black": (lambda p: Image.fromarray(0 * picture(0)).save(p), "every pixel has the same value"),
    "volume": (lambda p: write_nifti(p, np.ones((8, 8, 3), np.int16)), "NIfTI of shape (8, 8, 3), one 2-D radiograph"),
    "not a number": (lambda p: write_nifti(p, np.full((8, 8), np.nan, np.float32)), "some values are not finite"),
    "colour": (colour, "not a grey DICOM, its photometric interpretation is RGB"),
    "frames": (frames, "DICOM with 2 frames, a single radiograph is needed"),
    "missing": (lambda p: p.unlink(), "there is no image file"),
}


@pytest.mark.parametrize(("spoil", "reason"), IMAGES.values(), ids=IMAGES.keys())
def test_bad_image(
    source: Source, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], Any], reason: str
) -> None:
    spoil(source.image)
    assert source.prepare() == 2
    check_sentence(the_sentence(capsys), "pairs.csv row 7", str(source.image), reason, "--on-error skip")
    assert not (source.folder / "out").exists()
    assert source.pack() == 2
    check_sentence(the_sentence(capsys), "list.json", f"id{BAD}", str(source.image), reason)
    assert not (source.folder / "store").exists()


def test_bad_images_can_be_left_out(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (spoil, _) in zip((1, 5, 10), list(IMAGES.values())[2:5], strict=True):
        spoil(source.folder / f"{number}.png")
    source.rows[3]["report"] = ""
    assert source.prepare("--on-error", "skip") == 0
    assert "unusable and skipped: 4" in capsys.readouterr().out
    with open(source.folder / "out" / "skipped.csv", newline="", encoding="utf-8") as file:
        left_out = {row["item"]: row["reason"] for row in csv.DictReader(file)}
    assert [int(item.split(" row ")[1].split()[0]) for item in left_out] == [5, 3, 7, 12]
    written = json.loads((source.folder / "out" / "datalist.json").read_text(encoding="utf-8"))
    assert sum(len(written.get(split, [])) for split in ("training", "validation", "test")) == COUNT - 4


def test_packing_leaves_bad_items_out_and_packs_the_rest(source: Source, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (spoil, _) in zip((1, 5, 10), list(IMAGES.values())[2:5], strict=True):
        spoil(source.folder / f"{number}.png")
    source.rows[3]["report"] = ""
    assert source.pack("--on-error", "skip") == 0
    assert "4 items left out, see" in capsys.readouterr().out
    store = source.folder / "store"
    with open(store / "skipped.csv", newline="", encoding="utf-8") as file:
        left_out = [(row["split"], row["id"]) for row in csv.DictReader(file)]
    assert sorted(left_out) == [("training", "id1"), ("training", "id3"), ("training", "id5"), ("validation", "id10")]
    assert PackedDataset(store, "training").items["id"] == ["id0", "id2", "id4", "id6", "id7", "id8"]
    assert PackedDataset(store, "validation").items["id"] == ["id9", "id11"]


# ---------------------------------------------------------------------------------------------------------------------
# Tables and lists
# ---------------------------------------------------------------------------------------------------------------------
def set_all(name: str, value: Callable[[int], str]) -> Callable[[Source], None]:
    def change(source: Source) -> None:
        for number, row in enumerate(source.rows):
            row[name] = value(number)

    return change


def set_one(name: str, value: str) -> Callable[[Source], None]:
    return lambda source: source.rows[BAD].update({name: value})


def patient_in_two_splits(source: Source) -> None:
    set_all("split", lambda number: "train" if number < 9 else "test")(source)
    source.rows[BAD]["patient"] = source.rows[11]["patient"] = "p0"


TABLES: dict[str, tuple[Callable[[Source], None], tuple[str, ...], tuple[str, ...]]] = {
    "missing column": (
        lambda source: None,
        ("--patient-column", "mrn"),
        ("no column 'mrn'", "id, image, patient, report"),
    ),
    "empty column": (set_all("report", lambda _: ""), ("--text-column", "report"), ("the column 'report' is empty",)),
    "empty report": (set_one("report", " "), (), ("row 7", "5.png", "its report is empty")),
    "duplicate ids": (set_one("id", "id2"), (), ("row 7", "its id 'id2' is also that of", "row 4")),
    "patient in two splits": (patient_in_two_splits, (), ("row 13", "p0 is in training", "it is in test")),
}


@pytest.mark.parametrize(("spoil", "options", "parts"), TABLES.values(), ids=TABLES.keys())
def test_bad_table(
    source: Source,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Source], None],
    options: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    spoil(source)
    assert source.prepare(*options) == 2
    check_sentence(the_sentence(capsys), "pairs.csv", *parts)
    assert not (source.folder / "out").exists()


LISTS: dict[str, tuple[Callable[[Source], None], tuple[str, ...]]] = {
    "empty report": (set_one("report", ""), ("id5", "report")),
    "duplicate ids": (set_one("id", "id2"), ("item id2", "occurs 2 times")),
    "patient in two splits": (set_one("patient", "p10"), ("id10", "p10 is in both training and validation")),
}


@pytest.mark.parametrize(("spoil", "parts"), LISTS.values(), ids=LISTS.keys())
def test_bad_list(
    source: Source, capsys: pytest.CaptureFixture[str], spoil: Callable[[Source], None], parts: tuple[str, ...]
) -> None:
    spoil(source)
    assert source.pack() == 2
    check_sentence(the_sentence(capsys), "list.json", *parts)
    assert not (source.folder / "store").exists()


def test_full_disk(source: Source, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(total=10**9, used=10**9, free=1000))
    assert source.pack() == 2
    check_sentence(the_sentence(capsys), "store", "0.00 GiB free", "nothing was written")
    assert {path.name for path in source.folder.iterdir() if path.is_dir()} == set()


# ---------------------------------------------------------------------------------------------------------------------
# Stores
# ---------------------------------------------------------------------------------------------------------------------
def edit(changes: dict[str, Any]) -> Callable[[Path], None]:
    """Change fields of a store's manifest, nested names joined by dots."""

    def change(store: Path) -> None:
        path = store / "manifest.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for name, value in changes.items():
            *above, last = name.split("|")
            place = manifest
            for key in above:
                place = place[key]
            place[last] = value
        path.write_text(json.dumps(manifest), encoding="utf-8")

    return change


STORES: dict[str, tuple[Callable[[Path], None], str]] = {
    "kind": (edit({"kind": "feature cache"}), "manifest.json: kind is 'feature cache', expected 'packed store'"),
    "version": (edit({"schema_version": 99}), "schema_version: store has 99, expected"),
    "count": (edit({"splits|training|count": 61}), "its ids differ from those in the manifest"),
    "ids": (edit({"splits|training|ids_sha256": "0" * 64}), "its ids differ from those in the manifest"),
    "no JSON": (lambda store: (store / "manifest.json").write_text("{"), "manifest.json is not readable as JSON"),
    "no manifest": (lambda store: (store / "manifest.json").unlink(), "manifest.json does not exist"),
    "short file": (lambda store: os.truncate(store / "training" / "tokens.npy", 200), "tokens.npy has 200 bytes"),
}


@pytest.fixture
def copied_store(phantom_store: Path, tmp_path: Path) -> Path:
    shutil.copytree(phantom_store, tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize(("spoil", "reason"), STORES.values(), ids=STORES.keys())
def test_edited_store_is_refused_by_a_run(
    copied_store: Path, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(copied_store)
    sentence = failure_of_run(copied_store, tmp_path, {})
    check_sentence(sentence, str(copied_store), reason)


def failure_of_run(store: Path, output: Path, values: dict[str, Any]) -> str:
    """The sentence that a run ends with; it leaves no network and no checkpoint."""
    with workflow(store, output, ("pretrain", "backbone_resnet18"), {**TINY_TEXT, **values}) as made:
        with pytest.raises(Exception) as raised:  # noqa: PT011, MONAI wraps what its components raise
            made.run()
        cause = plain_cause(raised.value)
    assert isinstance(cause, DataError)
    assert not (output / "pretrain" / "g2d" / "models").exists()
    assert not list((output / "pretrain" / "g2d").rglob("checkpoint*"))
    assert len(str(cause).splitlines()) == 1
    return str(cause)


def test_changed_contents_are_found_by_verifying(copied_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(copied_store / "training" / "images.npy", "r+b") as file:
        file.seek(1000)
        file.write(b"changed")
    assert pack(["--verify", str(copied_store)]) == 2
    check_sentence(the_sentence(capsys), str(copied_store), "the content of training/images.npy has changed")


def test_another_tokenizer(phantom_store: Path, tmp_path: Path) -> None:
    train_tokenizer(["The heart is large.", "The lungs are clear."] * 3, tmp_path / "other", vocab_size=60)
    sentence = failure_of_run(phantom_store, tmp_path, {"tokenizer": str(tmp_path / "other")})
    check_sentence(sentence, str(phantom_store), "packed with another tokenizer than", str(tmp_path / "other"))


# ---------------------------------------------------------------------------------------------------------------------
# Configs
# ---------------------------------------------------------------------------------------------------------------------
def test_unknown_id_on_the_command_line() -> None:
    files = str([str(CONFIGS / "pretrain.yaml")])
    with pytest.raises(UnknownConfigId) as raised:
        check_overrides(["training", "--config_file", files, "--max_epoch", "3"])
    check_sentence(str(raised.value), "--max_epoch: the config has no id 'max_epoch'; did you mean max_epochs")


def test_unknown_id_in_a_config(phantom_store: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "pretrain.yaml"))
    parser.update({"dataset_dir": str(phantom_store), "max_gradient_norm": "@gradient_norm"})
    with pytest.raises(ValueError, match="gradient_norm") as raised:
        parser.get_parsed_content("train::handlers")
    cause = plain_cause(raised.value)
    assert cause is not None
    check_sentence(str(cause), "gradient_norm", "not defined in the config")


@pytest.mark.slow
def test_command_with_an_unknown_id_ends_in_one_sentence(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", "configs/pretrain.yaml"]
    options = ["--output_root", str(tmp_path), "--max_epoch", "3"]
    ended = subprocess.run([*command, *options], cwd=repository, capture_output=True, text=True, timeout=240)
    assert ended.returncode != 0
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if "error" in line.lower()]
    assert len(said) == 1
    assert said[0].startswith("error: --max_epoch: the config has no id 'max_epoch'; did you mean max_epochs")
    assert "Traceback" not in ended.stdout + ended.stderr
    assert list(tmp_path.iterdir()) == []
