from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundle.data.datalist import write_datalist
from bundle.data.manifest import sha256_file
from bundle.data.packed import PackedDataset, verify_store
from bundle.data.radiograph_reader import read_radiograph
from bundle.transforms.body_mask import body_mask
from bundle.transforms.geometry import Geometry, fit
from bundle.transforms.tokenize import load_tokenizer, tokenizer_sha256, train_tokenizer
from scripts.pack import main

FINDINGS = ("The lungs are clear.", "There is a small left pleural effusion.", "The heart is enlarged.")
IMPRESSIONS = ("No acute process.", "Mild cardiomegaly.", "Findings suggest pneumonia at the right base.")


def write_image(path: Path, number: int, side: int = 40) -> None:
    """A coarse random picture, taller than wide, with a black border."""
    coarse = np.random.default_rng(number).integers(20, 256, (8, 6), np.uint8)
    picture = np.pad(np.kron(coarse, np.ones((side // 8, side // 8), np.uint8)), 3)
    Image.fromarray(picture).save(path)


def item_of(number: int, **changes: Any) -> dict[str, Any]:
    """An item of the list; a change to None takes the key out."""
    item = {
        "id": f"id{number}",
        "image": f"{number}.png",
        "patient": f"patient{number}",
        "findings": FINDINGS[number % 3],
        "impression": IMPRESSIONS[number // 3 % 3],
    }
    return {key: value for key, value in {**item, **changes}.items() if value is not None}


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Path]:
    """Writes images and a data list of so many training and validation items."""

    def write(training: int = 6, validation: int = 2, side: int = 40, **changes: dict[str, Any]) -> Path:
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        items = [item_of(number, **changes.get(f"item{number}", {})) for number in range(training + validation)]
        for number in range(len(items)):
            write_image(folder / f"{number}.png", number, side)
        splits = {"training": items[:training], "validation": items[training:]}
        write_datalist(tmp_path / "list.json", {"name": "made", "image_root": "raw", **splits})
        return tmp_path / "list.json"

    return write


def run(*arguments: object) -> int:
    return main(["--size=32", "--vocab-size=120", "--workers=1", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pairs_are_what_reader_fit_mask_and_tokenizer_make(
    listed: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = listed()
    assert run(path, "--out", tmp_path / "store") == 0
    assert "packed: 6 training, 2 validation, 32 px" in capsys.readouterr().out
    dataset = PackedDataset(tmp_path / "store", "validation", tokenizer=tmp_path / "store" / "tokenizer")
    pair = dataset[1]
    radiograph = read_radiograph(tmp_path / "raw" / "7.png")
    image, geometry = fit(radiograph.pixels, 32)
    assert pair["id"] == "id7"
    assert np.array_equal(pair["image"][0], image)
    assert np.array_equal(pair["body"][0], body_mask(image))
    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    assert pair["input_ids"].tolist() == tokenizer(f"{FINDINGS[1]} {IMPRESSIONS[2]}")["input_ids"]
    first = len(tokenizer(FINDINGS[1])["input_ids"]) - 2
    assert pair["sentence"].tolist() == [-1, *[0] * first, *[1] * (pair["lengths"] - first - 2), -1]
    row = dataset.geometry[1].tolist()
    assert Geometry((row[0], row[1]), tuple(row[2:6]), tuple(row[6:8]), tuple(row[8:10]), 32) == geometry


def test_the_manifest_tells_what_the_store_was_made_from(listed: Callable[..., Path], tmp_path: Path) -> None:
    path = listed()
    assert run(path, "--out", tmp_path / "store", "--fit=stretch", "--max-length=16") == 0
    manifest = verify_store(tmp_path / "store")
    assert manifest["list"] == {"name": "made", "sha256": sha256_file(path)}
    assert manifest["parameters"] == {
        "size": 32,
        "fit": "stretch",
        "report": "sections",
        "max_length": 16,
        "splits": ["training", "validation"],
        "limit": None,
        "tokenizer": {"trained_vocab_size": 120},
    }
    tokenizer = load_tokenizer(tmp_path / "store" / "tokenizer")
    assert manifest["tokenizer"]["sha256"] == tokenizer_sha256(tokenizer)
    assert manifest["tokenizer"]["vocab_size"] == len(tokenizer) <= 120
    assert {split: record["count"] for split, record in manifest["splits"].items()} == {"training": 6, "validation": 2}
    image = PackedDataset(tmp_path / "store", "training")[0]["image"]
    assert np.array_equal(image[0], fit(read_radiograph(tmp_path / "raw" / "0.png").pixels, 32, "stretch")[0])


def test_the_vocabulary_knows_the_training_reports_only(listed: Callable[..., Path], tmp_path: Path) -> None:
    item = {"findings": "Zzyzx qqqq.", "impression": "Zzyzx qqqq."}
    assert run(listed(item6=item, item7=item), "--out", tmp_path / "store") == 0
    dataset = PackedDataset(tmp_path / "store", "validation")
    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    assert not {piece for piece in tokenizer.get_vocab() if "z" in piece}
    assert tokenizer.unk_token_id in dataset[0]["input_ids"]


def test_a_part_has_the_vocabulary_of_the_whole(listed: Callable[..., Path], tmp_path: Path) -> None:
    path = listed()
    assert run(path, "--out", tmp_path / "whole") == 0
    assert run(path, "--out", tmp_path / "part", "--limit=1", "--splits", "validation") == 0
    assert [record["count"] for record in verify_store(tmp_path / "part")["splits"].values()] == [1]
    name = "tokenizer/tokenizer.json"
    assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_given_tokenizer_is_used_and_copied(listed: Callable[..., Path], tmp_path: Path) -> None:
    given = train_tokenizer(["lungs clear heart effusion"] * 3, tmp_path / "given", vocab_size=90)
    path = listed()
    assert main([str(path), "--out", str(tmp_path / "a"), "--size=32", "--tokenizer", str(tmp_path / "given")]) == 0
    dataset = PackedDataset(tmp_path / "a", "training", tokenizer=tmp_path / "given")
    assert dataset.manifest["tokenizer"]["sha256"] == tokenizer_sha256(given)
    assert dataset[0]["input_ids"].tolist() == given(f"{FINDINGS[0]} {IMPRESSIONS[0]}")["input_ids"]


def test_codes_tell_equal_texts_studies_and_patients(listed: Callable[..., Path], tmp_path: Path) -> None:
    same = {"findings": "Lungs  clear.", "impression": "NO acute process."}
    path = listed(
        item0={**same, "study": "s1", "patient": "p"},
        item1={"study": "s1", "patient": "p"},
        item6={"findings": "lungs clear.\nNo acute process.", "impression": None},
        item7={"text": "Lungs clear. No acute process.", "patient": None},
    )
    assert run(path, "--out", tmp_path / "store") == 0
    training, validation = (PackedDataset(tmp_path / "store", split).items for split in ("training", "validation"))
    texts = [*training["text_id"], *validation["text_id"]]
    assert [text == texts[0] for text in texts] == [True, False, False, False, False, False, True, True]
    studies = [*training["study_id"], *validation["study_id"]]
    assert studies[0] == studies[1]
    assert len(set(studies)) == 7
    patients = [*training["patient"], *validation["patient"]]
    assert patients[0] == patients[1] == 0
    assert patients[-1] == -1
    assert len(set(patients)) == 7


def test_neither_reports_nor_patients_are_in_any_file(listed: Callable[..., Path], tmp_path: Path) -> None:
    assert run(listed(), "--out", tmp_path / "store") == 0
    everything = b"".join(contents(tmp_path / "store").values()).lower()
    assert b"pleural effusion" not in everything
    assert b"patient1" not in everything


def test_the_released_report_text_is_a_choice(listed: Callable[..., Path], tmp_path: Path) -> None:
    assert run(listed(), "--out", tmp_path / "store", "--report=released") == 0
    dataset = PackedDataset(tmp_path / "store", "training")
    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    assert tokenizer.decode(dataset[0]["input_ids"], skip_special_tokens=True).startswith("no acute process")


def test_an_unusable_image_stops_in_one_sentence_and_can_be_mended(
    listed: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = listed()
    assert run(path, "--out", tmp_path / "whole") == 0
    good = (tmp_path / "raw" / "3.png").read_bytes()
    (tmp_path / "raw" / "3.png").write_bytes(b"no image")
    assert run(path, "--out", tmp_path / "store") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"^error: .*list\.json: item id3: .*3\.png: not a .*--on-error skip$", error)
    assert not (tmp_path / "store").exists()
    (tmp_path / "raw" / "3.png").write_bytes(good)
    assert run(path, "--out", tmp_path / "store") == 0
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_unusable_items_can_be_left_out(
    listed: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = listed(item1={"findings": None, "impression": None})
    (tmp_path / "raw" / "0.png").unlink()
    assert run(path, "--out", tmp_path / "store") == 2
    assert run(path, "--out", tmp_path / "store", "--on-error=skip") == 0
    assert "2 items left out, see" in capsys.readouterr().out
    with open(tmp_path / "store" / "skipped.csv", newline="") as file:
        listed_items = [(row["split"], row["id"]) for row in csv.DictReader(file)]
    assert listed_items == [("training", "id1"), ("training", "id0")]
    dataset = PackedDataset(tmp_path / "store", "training")
    assert dataset.items["id"] == ["id2", "id3", "id4", "id5"]
    assert np.array_equal(dataset[0]["image"][0], fit(read_radiograph(tmp_path / "raw" / "2.png").pixels, 32)[0])


def test_a_finished_store_is_not_overwritten_unasked(
    listed: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = listed()
    assert run(path, "--out", tmp_path / "store") == 0
    before = contents(tmp_path / "store")
    assert run(path, "--out", tmp_path / "store", "--limit=2") == 2
    assert "is a finished packed store already" in capsys.readouterr().err
    assert contents(tmp_path / "store") == before
    assert run(path, "--out", tmp_path / "store", "--limit=2", "--overwrite") == 0
    assert len(PackedDataset(tmp_path / "store", "training")) == 2


def test_verifying_says_what_changed(
    listed: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(listed(), "--out", tmp_path / "store") == 0
    assert main(["--verify", str(tmp_path / "store")]) == 0
    with open(tmp_path / "store" / "tokenizer" / "tokenizer.json", "r+b") as file:
        file.write(b" ")
    assert main(["--verify", str(tmp_path / "store")]) == 2
    assert "content of tokenizer/tokenizer.json has changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["list.json"],
        ["--out", "store"],
        ["list.json", "--out", "s", "--size=100"],
        ["list.json", "--out", "s", "--limit=0"],
    ],
)
def test_incomplete_or_impossible_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert re.search("give a data list|must be", capsys.readouterr().err)


def test_missing_lists_and_splits_are_one_sentence(
    listed: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "none.json", "--out", tmp_path / "store") == 2
    assert run(listed(), "--out", tmp_path / "store", "--splits", "test") == 2
    errors = capsys.readouterr().err.splitlines()
    assert "none.json" in errors[0]
    assert "has no split test, only training, validation" in errors[1]
    assert not (tmp_path / "store.partial").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(listed: Callable[..., Path], tmp_path: Path, repository: Path) -> None:
    path = listed(training=200, validation=8, side=1200)
    arguments = [str(path), "--out", str(tmp_path / "store"), "--size=32", "--vocab-size=120", "--workers=2"]
    packing = subprocess.Popen(
        [sys.executable, "-m", "scripts.pack", *arguments], cwd=repository, start_new_session=True
    )
    done = tmp_path / "store.partial" / ".progress" / "training.npy"
    _wait_until(
        lambda: (done.exists() and done.stat().st_size > 200 and np.load(done).any()) or packing.poll() is not None
    )
    os.kill(packing.pid, signal.SIGKILL)
    packing.wait()
    assert 0 < np.load(done).sum() < 200
    assert not (tmp_path / "store").exists()
    _wait_until(lambda: _group_is_gone(packing.pid))  # the workers end with their parent

    assert main(arguments) == 0
    assert run(path, "--out", tmp_path / "whole") == 0
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def _wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def _group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.real
def test_real_pairs(data_root: Path, tmp_path: Path) -> None:
    with open(data_root / "cxr_pairs" / "pairs.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:12]
    items = [
        {"id": row["image"], "image": row["image"], "patient": row["patient_id"], "text": row["report"]} for row in rows
    ]
    header = {"name": "pairs", "image_root": str(data_root / "cxr_pairs")}
    write_datalist(tmp_path / "list.json", {**header, "training": items})
    assert main([str(tmp_path / "list.json"), "--out", str(tmp_path / "store"), "--vocab-size=600", "--workers=1"]) == 0
    batch = PackedDataset(tmp_path / "store", "training").__getitems__(list(range(12)))
    assert batch["image"].shape == (12, 1, 256, 256)
    assert (batch["image"].flatten(1).amax(1) > 150).all()
    share = batch["body"].float().mean((1, 2, 3))
    assert ((share > 0.2) & (share <= 1)).all()
    assert batch["lengths"][0] >= 3
