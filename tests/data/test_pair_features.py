from __future__ import annotations

import json
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from made_features import IDENTITY, write_cache
from torch.utils.data import DataLoader

from bundle.data.batch_sampler import ShardedBatchSampler
from bundle.data.errors import DataError
from bundle.data.manifest import read_manifest, write_json, write_manifest
from bundle.data.packed import as_batch
from bundle.data.pair_feature_layout import CACHE_KIND
from bundle.data.pair_feature_writer import PairFeatureWriter, PairRows
from bundle.data.pair_features import PairFeatures, verify_cache

IDS = ["a", "b", "c", "d", "e"]
REPORTS = [0, 1, 0, 2, 1]  # a and c share one, b and e another
IMAGE = np.arange(5)[:, None, None] + np.array([[0.25, 0.5]])  # [5, 1, 2]: the whole part names the image
TEXTS = [np.full((length, 3), 10 * number) + np.arange(length)[:, None] for number, length in enumerate([1, 3, 2])]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return write_cache(tmp_path / "cache", IDS, REPORTS, IMAGE, TEXTS, shard_bytes=8)


def test_image_and_report_of_a_pair_come_together(cache: Path) -> None:
    batch = PairFeatures(cache, "training").__getitems__([3, 0, 4])
    assert batch["id"] == ["d", "a", "e"]
    assert batch["image_features"].dtype == batch["text_features"].dtype == torch.float16
    assert batch["image_features"].tolist() == [[[3.25, 3.5]], [[0.25, 0.5]], [[4.25, 4.5]]]
    assert batch["text_features"][..., 0].tolist() == [[20, 21, 0], [0, 0, 0], [10, 11, 12]]
    assert batch["text_mask"].tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert batch["lengths"] == [2, 1, 3]
    assert batch["text_id"].tolist() == [2, 0, 1]
    assert batch["index"].tolist() == [3, 0, 4]


def test_a_shared_report_is_stored_once(cache: Path) -> None:
    rows = sum(len(np.load(path)) for path in (cache / "training" / "texts").iterdir())
    assert rows == 1 + 3 + 2
    dataset = PairFeatures(cache, "training")
    assert torch.equal(dataset[1]["text_features"], dataset[4]["text_features"])
    assert dataset[0]["text_features"].tolist() == dataset[2]["text_features"].tolist() == [[0.0, 0.0, 0.0]]


def test_rows_are_joined_by_id_in_whatever_order_they_lie(cache: Path, tmp_path: Path) -> None:
    """The rows of images and of reports are each put into another order: the pairs stay what they were."""
    before = PairFeatures(cache, "training").__getitems__(range(5))
    folder, order, text_order = cache / "training", [4, 2, 0, 3, 1], [2, 0, 1]
    np.save(tmp_path / "images.npy", IMAGE[order].astype(np.float16))
    for path in (folder / "images").iterdir():
        path.unlink()
    (tmp_path / "images.npy").rename(folder / "images" / "00000.npy")
    write_json(folder / "images.json", {"id": [IDS[row] for row in order]})
    for path in (folder / "texts").iterdir():
        path.unlink()
    np.save(folder / "texts" / "00000.npy", np.concatenate([TEXTS[row] for row in text_order]).astype(np.float16))
    np.save(folder / "offsets.npy", np.cumsum([0, *(len(TEXTS[row]) for row in text_order)]))
    write_json(folder / "texts.json", {"key": [f"report{row}" for row in text_order]})
    manifest = read_manifest(cache, CACHE_KIND)
    write_manifest(cache, manifest | {"files": {}})
    after = PairFeatures(cache, "training").__getitems__(range(5))
    assert all(torch.equal(before[name], after[name]) for name in ("image_features", "text_features", "text_mask"))
    assert before["id"] == after["id"]


def test_pairs_are_chosen_by_id(cache: Path) -> None:
    dataset = PairFeatures(cache, "training", ids=["e", "a"])
    assert len(dataset) == 2
    assert dataset.items["id"] == ["e", "a"]
    assert dataset.items["patient"].tolist() == [4, 0]
    batch = dataset.__getitems__([0, 1])
    assert batch["image_features"][:, 0, 0].tolist() == [4.25, 0.25]
    assert batch["text_features"][:, 0, 0].tolist() == [10, 0]
    assert batch["index"].tolist() == [0, 1]


def test_missing_items_are_told(cache: Path) -> None:
    with pytest.raises(DataError, match=r"training: the cache has no features of item x and 1 others: cache the list"):
        PairFeatures(cache, "training", ids=["a", "x", "b", "y"])


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [("images.json", "id", r"images.json: has no row of item c:"), ("texts.json", "key", r"has no report with key")],
)
def test_a_row_that_was_lost_is_told(cache: Path, name: str, key: str, message: str) -> None:
    path = cache / "training" / name
    content = json.loads(path.read_text())
    content[key] = ["gone" if entry in ("c", "report2") else entry for entry in content[key]]
    write_json(path, content)
    write_manifest(cache, read_manifest(cache, CACHE_KIND) | {"files": {}})
    with pytest.raises(DataError, match=message):
        PairFeatures(cache, "training")


def test_another_encoder_is_refused_with_what_differs(cache: Path) -> None:
    PairFeatures(cache, "training", expected={"encoders": IDENTITY["encoders"], "content": "pooled"})
    expected = {"encoders": {"image": {"weights": "12"}, "text": {"weights": "22"}}, "preprocessing": {"mean": 0.449}}
    with pytest.raises(DataError) as caught:
        PairFeatures(cache, "training", expected=expected)
    assert str(caught.value) == (
        f'{cache} was cached with other encoders or settings: encoders.image.weights: store has "11", expected "12"; '
        "preprocessing.mean: store has 0.5, expected 0.449"
    )


def test_damage_is_told(cache: Path) -> None:
    part = cache / "training" / "images" / "00001.npy"
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"is damaged: training/images/00001.npy has \d+ bytes"):
        PairFeatures(cache, "training")
    part.write_bytes(content[:-1] + b"x")
    PairFeatures(cache, "training")
    with pytest.raises(DataError, match=r"content of training/images/00001.npy has changed"):
        verify_cache(cache)


def test_absent_caches_and_splits_are_told(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a finished pair feature cache"):
        PairFeatures(tmp_path / "none", "training")
    with pytest.raises(DataError, match="has no split 'test', only training"):
        PairFeatures(cache, "test")
    with pytest.raises(IndexError, match=r"indices must be in 0..4"):
        PairFeatures(cache, "training").__getitems__([5])


def test_loaders_share_it_with_their_workers(cache: Path) -> None:
    dataset = PairFeatures(cache, "training")
    assert len(dataset[-1]["text_features"]) == 3
    assert len(pickle.dumps(dataset)) < 5000
    sampler = ShardedBatchSampler(dataset, batch_size=2, shuffle=False, drop_last=False)
    batches = list(DataLoader(dataset, batch_sampler=sampler, collate_fn=as_batch, num_workers=1))
    assert [batch["id"] for batch in batches] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_cache_with_open_rows_is_not_published(tmp_path: Path) -> None:
    pairs = PairRows(["a"], ["k"], {"text_id": [0], "study_id": [0], "patient": [0]}, ["k"], np.array([0, 1]))
    (tmp_path / "tokenizer").mkdir()
    with PairFeatureWriter(tmp_path / "cache", IDENTITY) as writer:
        writer.begin({"training": pairs}, (1, 2), 2, 4)
        with pytest.raises(DataError, match="training: rows are missing; start again"):
            writer.publish(tmp_path / "tokenizer")
    assert not (tmp_path / "cache").exists()


def test_an_unfinished_cache_of_other_encoders_is_refused(tmp_path: Path) -> None:
    pairs = PairRows(["a"], ["k"], {"text_id": [0], "study_id": [0], "patient": [0]}, ["k"], np.array([0, 1]))
    with PairFeatureWriter(tmp_path / "cache", IDENTITY) as writer:
        writer.begin({"training": pairs}, (1, 2), 2, 4)
    with pytest.raises(DataError, match=r"begun with other parameters: content: store has \"pooled\", expected"):
        PairFeatureWriter(tmp_path / "cache", IDENTITY | {"content": "tokens"})


def test_reading_takes_little_of_an_epoch(tmp_path: Path) -> None:
    """20,000 pairs of 768 numbers, in shuffled batches of 1,024: a fraction of a second a core."""
    count = 20_000
    generator = np.random.default_rng(0)
    image = generator.standard_normal((count, 1, 768), np.float32).astype(np.float16)
    reports = list(generator.standard_normal((count // 2, 1, 768), np.float32).astype(np.float16))
    cache = write_cache(
        tmp_path / "cache", [str(row) for row in range(count)], [row // 2 for row in range(count)], image, reports
    )
    dataset = PairFeatures(cache, "training")
    sampler = ShardedBatchSampler(dataset, batch_size=1024)
    began = time.perf_counter()
    batches = list(DataLoader(dataset, batch_sampler=sampler, collate_fn=as_batch))
    assert time.perf_counter() - began < 3
    assert len(batches) == 19
    index = batches[5]["index"][7].item()
    assert batches[5]["image_features"][7, 0].tolist() == image[index, 0].tolist()
    assert batches[5]["text_features"][7, 0].tolist() == reports[index // 2][0].tolist()
