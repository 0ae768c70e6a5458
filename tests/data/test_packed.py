from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import ThreadDataLoader
from small_images import SIZE, body_of, image_of
from small_store import LENGTHS, write_store
from torch.utils.data import DataLoader
from transformers import BertTokenizer

from bundle.data.batch_sampler import ShardedBatchSampler
from bundle.data.errors import DataError
from bundle.data.manifest import MANIFEST_NAME
from bundle.data.packed import PackedDataset, as_batch, verify_store
from bundle.transforms.tokenize import save_tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]


def save_pieces(pieces: list[str], folder: Path) -> Path:
    save_tokenizer(BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}), folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pieces(PIECES, tmp_path_factory.mktemp("tokenizer") / "a")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Path:
    return write_store(tmp_path_factory.mktemp("store") / "a", tokenizer)


@pytest.fixture
def spoilt(tmp_path: Path, tokenizer: Path) -> Path:
    """A store of its own for a test that damages it."""
    return write_store(tmp_path / "spoilt", tokenizer)


def test_a_batch_by_hand(store: Path) -> None:
    batch = PackedDataset(store, "training").__getitems__([0, 1, 3, 4])
    assert batch["lengths"] == [3, 3, 5, 6]  # reports 1 and 3 are equally long and keep their order
    assert batch["id"] == ["item1", "item3", "item0", "item4"]
    assert batch["index"].tolist() == [1, 3, 0, 4]
    assert batch["text_id"].tolist() == [8, 9, 7, 10]
    assert batch["study_id"].tolist() == [0, 1, 0, 2]
    assert batch["input_ids"].tolist() == [
        [2, 110, 3, 0, 0, 0],
        [2, 310, 3, 0, 0, 0],
        [2, 10, 11, 12, 3, 0],
        [2, 410, 411, 412, 413, 3],
    ]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 1, 0], [1] * 6]
    assert batch["sentence"].tolist() == [[-1, 0, -1, -1, -1, -1]] * 2 + [[-1, 0, 0, 1, -1, -1], [-1, 0, 0, 1, 1, -1]]
    for place, number in enumerate((1, 3, 0, 4)):
        assert np.array_equal(batch["image"][place, 0], image_of(number))
        assert np.array_equal(batch["body"][place, 0], body_of(number))


def test_reports_come_without_images_in_the_order_asked_for(store: Path) -> None:
    dataset = PackedDataset(store, "training", max_length=5)
    reports = dataset.reports([4, 1])
    assert reports["lengths"] == [5, 3]
    assert reports["input_ids"].tolist() == [[2, 410, 411, 412, 3], [2, 110, 3, 0, 0]]
    assert reports["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert set(reports) == {"input_ids", "attention_mask", "sentence", "lengths"}
    with pytest.raises(IndexError, match=r"rows must be in 0\.\."):
        dataset.reports([99])


def test_types_are_those_that_training_reads(store: Path) -> None:
    batch = PackedDataset(store, "training").__getitems__([2, 0])
    types = {name: value.dtype for name, value in batch.items() if isinstance(value, torch.Tensor)}
    assert types == {
        "image": torch.uint8,
        "body": torch.bool,
        **dict.fromkeys(("input_ids", "attention_mask", "sentence", "text_id", "study_id", "index"), torch.int64),
    }
    assert batch["image"].shape == batch["body"].shape == (2, 1, SIZE, SIZE)
    assert all(type(length) is int for length in batch["lengths"])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(2, 9))
def test_every_field_is_permuted_alike(store: Path, rows: list[int], max_length: int) -> None:
    batch = PackedDataset(store, "training", max_length=max_length).__getitems__(rows)
    assert sorted(batch["index"].tolist()) == sorted(rows)
    assert batch["lengths"] == sorted(min(LENGTHS[row], max_length) for row in rows)
    assert batch["input_ids"].shape == (len(rows), max(batch["lengths"]))
    assert batch["attention_mask"].sum(1).tolist() == batch["lengths"]
    for place, row in enumerate(batch["index"].tolist()):
        length = batch["lengths"][place]
        assert batch["id"][place] == f"item{row}"
        assert np.array_equal(batch["image"][place, 0], image_of(row))
        assert batch["input_ids"][place, :length].tolist() == [2, *range(100 * row + 10, 100 * row + 8 + length), 3]
        assert (batch["sentence"][place, length:] == -1).all()


def test_cut_reports_keep_their_closing_token(store: Path) -> None:
    batch = PackedDataset(store, "training", max_length=4).__getitems__([2, 1])
    assert batch["input_ids"].tolist() == [[2, 110, 3, 0], [2, 210, 211, 3]]
    assert batch["sentence"].tolist() == [[-1, 0, -1, -1], [-1, 0, 0, -1]]


def test_fixed_padding(store: Path) -> None:
    batch = PackedDataset(store, "training", pad_to=10).__getitems__([1])
    assert batch["input_ids"].tolist() == [[2, 110, 3, *[0] * 7]]
    with pytest.raises(ValueError, match="pad_to is 7 but reports have up to 8 tokens"):
        PackedDataset(store, "training", pad_to=7)
    with pytest.raises(ValueError, match="max_length must be at least 2, got 1"):
        PackedDataset(store, "training", max_length=1)


def test_one_pair_is_a_batch_without_its_first_dimension(store: Path) -> None:
    dataset = PackedDataset(store, "training")
    pair = dataset[-1]
    assert pair["id"] == "item4"
    assert pair["lengths"] == 6
    assert pair["image"].shape == (1, SIZE, SIZE)
    assert pair["input_ids"].tolist() == [2, 410, 411, 412, 413, 3]
    assert pair["index"].item() == 4
    assert [one["id"] for one in dataset] == [f"item{row}" for row in range(5)]


@pytest.mark.parametrize("rows", [[], [5], [-1], [0, 1, 99]])
def test_rows_outside_are_refused(store: Path, rows: list[int]) -> None:
    with pytest.raises(IndexError, match=r"rows must be in 0\.\.4"):
        PackedDataset(store, "training").__getitems__(rows)
    with pytest.raises(IndexError):
        PackedDataset(store, "training")[5]


def test_it_travels_light_and_opens_again(store: Path) -> None:
    dataset = PackedDataset(store, "training")
    used = dataset.__getitems__([0, 4])
    sent = pickle.dumps(dataset)
    assert len(sent) < 5000
    assert torch.equal(pickle.loads(sent).__getitems__([0, 4])["image"], used["image"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_yields_the_batches_of_the_sampler(store: Path, workers: int) -> None:
    dataset = PackedDataset(store, "training")
    sampler = ShardedBatchSampler(dataset, 2, seed=3)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=as_batch, num_workers=workers)
    batches = list(loader)
    assert [sorted(batch["index"].tolist()) for batch in batches] == [sorted(rows) for rows in sampler]
    assert all(batch["lengths"] == sorted(batch["lengths"]) for batch in batches)


def test_a_reading_thread_yields_the_same(store: Path) -> None:
    dataset = PackedDataset(store, "training")
    sampler = ShardedBatchSampler(dataset, 2, shuffle=False)
    loader = ThreadDataLoader(dataset, batch_sampler=sampler, collate_fn=as_batch, num_workers=0)
    assert [batch["index"].tolist() for batch in loader] == [[1, 0], [3, 2]]


def test_no_report_text_and_no_patient_name_is_stored(store: Path) -> None:
    items = json.loads((store / "training" / "items.json").read_text())
    assert items.keys() == {"id", "text_id", "study_id", "patient"}
    assert all(isinstance(value, int) for name in ("text_id", "study_id", "patient") for value in items[name])


def test_an_unknown_split_is_named(store: Path) -> None:
    with pytest.raises(DataError, match="has no split 'test', only training"):
        PackedDataset(store, "test")


def test_a_folder_without_manifest_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a finished packed store"):
        PackedDataset(tmp_path, "training")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "feature cache"}, "kind is 'feature cache', expected 'packed store'"),
        ({"schema_version": 99}, "schema_version: store has 99, expected 1"),
    ],
)
def test_another_manifest_is_refused(spoilt: Path, change: dict[str, object], reason: str) -> None:
    manifest = json.loads((spoilt / MANIFEST_NAME).read_text())
    (spoilt / MANIFEST_NAME).write_text(json.dumps({**manifest, **change}))
    with pytest.raises(DataError, match=reason):
        PackedDataset(spoilt, "training")


def test_a_shortened_file_is_found_on_opening(spoilt: Path) -> None:
    path = spoilt / "training" / "images.npy"
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(DataError, match=r"training/images\.npy has 1308 bytes, expected 1408"):
        PackedDataset(spoilt, "training")


def test_other_ids_are_found_on_opening(spoilt: Path) -> None:
    path = spoilt / "training" / "items.json"
    path.write_text(path.read_text().replace("item0", "itemX"))
    with pytest.raises(DataError, match=r"items\.json: its ids differ from those in the manifest"):
        PackedDataset(spoilt, "training")


def test_a_changed_pixel_is_found_by_verifying(spoilt: Path) -> None:
    assert verify_store(spoilt)["splits"]["training"]["count"] == 5
    path = spoilt / "training" / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    PackedDataset(spoilt, "training")
    with pytest.raises(DataError, match=r"content of training/images\.npy has changed"):
        verify_store(spoilt)


def test_another_tokenizer_is_refused(store: Path, tokenizer: Path, tmp_path: Path) -> None:
    PackedDataset(store, "training", tokenizer=tokenizer)
    PackedDataset(store, "training", tokenizer=PackedDataset(store, "training").tokenizer_folder)
    swapped = save_pieces([*PIECES[:5], "b", "a"], tmp_path / "swapped")
    with pytest.raises(DataError, match=r"another tokenizer.*tokenizer\.sha256: store has .*, expected ") as raised:
        PackedDataset(store, "training", tokenizer=swapped)
    assert "vocab_size" not in str(raised.value)
    larger = save_pieces([*PIECES, "c"], tmp_path / "larger")
    with pytest.raises(DataError, match=r"tokenizer\.vocab_size: store has 7, expected 8"):
        PackedDataset(store, "training", tokenizer=larger)
