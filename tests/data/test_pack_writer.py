from __future__ import annotations

import csv
import errno
from pathlib import Path

import numpy as np
import pytest
from small_images import SIZE, body_of, image_of, render_dying
from small_store import IDENTITY, contents, write_store
from transformers import BertTokenizer

from bundle.data.errors import DataError
from bundle.data.pack_images import CHUNK_ROWS
from bundle.data.packed import PackedDataset, verify_store
from bundle.transforms.tokenize import save_tokenizer

MANY = tuple(str(number) for number in range(3 * CHUNK_ROWS))


class Interrupted(Exception):
    """Stands for a kill between two chunks."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer") / "a"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    save_tokenizer(BertTokenizer(vocab={piece: number for number, piece in enumerate(vocabulary)}), folder)
    return folder


def interrupt_after(chunks: int) -> object:
    """A progress callback that raises after so many chunks; its first call tells what earlier runs did."""
    calls = iter(range(chunks + 1))

    def advanced(count: int) -> None:
        if next(calls) == chunks:
            raise Interrupted

    return advanced


def test_files_are_plain_numpy_arrays(tmp_path: Path, tokenizer: Path) -> None:
    store = write_store(tmp_path / "store", tokenizer)
    names = ("images", "body", "geometry", "tokens", "sentences", "offsets")
    arrays = {name: np.load(store / "training" / f"{name}.npy", mmap_mode="r") for name in names}
    assert arrays["images"].shape == (5, 1, SIZE, SIZE)
    assert arrays["images"].dtype == arrays["body"].dtype == np.uint8
    assert np.array_equal(arrays["images"][3, 0], image_of(3))
    assert np.array_equal(np.unpackbits(arrays["body"][3], axis=-1).astype(bool), body_of(3))
    assert arrays["geometry"][2].tolist() == list(range(2, 12))
    assert arrays["offsets"].tolist() == [0, 5, 8, 16, 19, 25]
    assert arrays["offsets"].dtype == np.int64
    assert arrays["tokens"].dtype == np.uint16
    assert arrays["tokens"][5:8].tolist() == [2, 110, 3]
    assert arrays["sentences"][8:16].tolist() == [-1, 0, 0, 1, 1, 2, 2, -1]
    assert {path.name for path in store.iterdir()} == {"manifest.json", "tokenizer", "training"}
    verify_store(store)


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path, tokenizer: Path) -> None:
    whole = write_store(tmp_path / "whole", tokenizer, MANY)
    with pytest.raises(Interrupted):
        write_store(tmp_path / "store", tokenizer, MANY, advanced=interrupt_after(2))
    assert not (tmp_path / "store").exists()
    told: list[int] = []
    resumed = write_store(tmp_path / "store", tokenizer, MANY, advanced=told.append)
    assert told[0] == 2 * CHUNK_ROWS
    assert sum(told) == len(MANY)
    assert contents(resumed) == contents(whole)


def test_processes_write_the_same_bytes(tmp_path: Path, tokenizer: Path) -> None:
    alone = write_store(tmp_path / "alone", tokenizer, MANY)
    together = write_store(tmp_path / "together", tokenizer, MANY, workers=2)
    assert contents(together) == contents(alone)


def test_unusable_rows_are_left_out_and_listed(tmp_path: Path, tokenizer: Path) -> None:
    failed: list[tuple[int, str]] = []
    store = write_store(
        tmp_path / "store", tokenizer, ("0", "bad1", "2", "bad3", "4"), failed=lambda *failure: failed.append(failure)
    )
    assert failed == [(1, "bad1: not an image"), (3, "bad3: not an image")]
    with open(store / "skipped.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["split", "id", "reason"],
            ["training", "item1", "bad1: not an image"],
            ["training", "item3", "bad3: not an image"],
        ]
    assert verify_store(store)["splits"]["training"]["skipped"] == 2
    dataset = PackedDataset(store, "training")
    assert len(dataset) == 3
    for row, number in enumerate((0, 2, 4)):
        pair = dataset[row]
        assert pair["id"] == f"item{number}"
        assert np.array_equal(pair["image"][0], image_of(number))
        assert np.array_equal(pair["body"][0], body_of(number))
        assert pair["input_ids"][1] == 100 * number + 10
        assert dataset.geometry[row, 0] == number


def test_dropping_rows_survives_an_interruption(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ("0", "bad1", "2", "bad3", "4")
    whole = write_store(tmp_path / "whole", tokenizer, paths)
    with monkeypatch.context() as patch:
        patch.setattr("bundle.data.pack_writer._write_reports", lambda *_: (_ for _ in ()).throw(Interrupted))
        with pytest.raises(Interrupted):
            write_store(tmp_path / "store", tokenizer, paths)
    assert np.load(tmp_path / "store.partial" / "training" / "images.npy").shape[0] == 3
    assert contents(write_store(tmp_path / "store", tokenizer, paths)) == contents(whole)


def test_a_split_of_unusable_rows_only_is_an_error(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(DataError, match="not one item of training could be packed; the first: bad1: not an image"):
        write_store(tmp_path / "store", tokenizer, ("bad1", "bad2"))
    assert not (tmp_path / "store").exists()


def test_other_parameters_or_another_version_do_not_go_on(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(Interrupted):
        write_store(tmp_path / "store", tokenizer, MANY, advanced=interrupt_after(1))
    other = {**IDENTITY, "parameters": {"size": SIZE, "max_length": 9}}
    with pytest.raises(DataError, match=r"parameters\.max_length: store has 8, expected 9"):
        write_store(tmp_path / "store", tokenizer, MANY, identity=other)


@pytest.mark.parametrize("call", ["pwrite", "posix_fallocate"])
def test_a_disk_that_fills_up_is_one_sentence(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"os.{call}", full)
        with pytest.raises(DataError, match="No space left on device: free some space"):
            write_store(tmp_path / "store", tokenizer)
    verify_store(write_store(tmp_path / "store", tokenizer))


def test_a_dying_worker_is_one_sentence(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(DataError, match=r"a worker process died.*fewer workers"):
        write_store(tmp_path / "store", tokenizer, MANY, workers=2, renderer=render_dying)
