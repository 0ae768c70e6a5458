"""Batches of images with texts."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from bundle.data.errors import DataError
from bundle.data.text_batch import CollateTexts
from bundle.data.tokenizer_files import load_tokenizer
from bundle.transforms.tokenizer_training import train_tokenizer

TEXTS = ("There is a nodule.", "On the left side there is a nodule.", "An effusion is on the right side there.")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "tokenizer"
    train_tokenizer(list(TEXTS) * 3, folder, 200)
    return folder


def item(text: str, index: int = 0) -> dict[str, Any]:
    return {"text": text, "image": torch.full((1, 2, 2), index), "label": index, "index": index, "patient": "p"}


def test_tokens_are_padded_to_the_longest(tokenizer: Path) -> None:
    batch = CollateTexts(tokenizer)([item(text, index) for index, text in enumerate(TEXTS)])
    words = load_tokenizer(tokenizer)
    for text, ids, mask in zip(TEXTS, batch["input_ids"], batch["attention_mask"], strict=True):
        own = words(text)["input_ids"]
        assert ids.tolist() == own + [words.pad_token_id] * (len(ids) - len(own))
        assert mask.tolist() == [1] * len(own) + [0] * (len(ids) - len(own))
    assert batch["attention_mask"].sum(1).max() == batch["input_ids"].shape[1]
    assert batch["label"].tolist() == batch["index"].tolist() == batch["image"][:, 0, 0, 0].tolist() == [0, 1, 2]
    assert "text" not in batch


def test_long_texts_are_cut_and_counted(tokenizer: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = load_tokenizer(tokenizer)
    short, *longer = (len(words(text)["input_ids"]) for text in TEXTS)
    assert short < min(longer)
    collate, items = CollateTexts(tokenizer, short), [item(text) for text in TEXTS]
    batch = collate(items)
    assert batch["input_ids"].shape == (3, short)
    kept = words(TEXTS[1])["input_ids"][: short - 1]
    assert batch["input_ids"][1].tolist() == [*kept, words.sep_token_id]
    assert collate.count_cut(items, "training") == 2
    assert f"2 of 3 texts of training have more than {short} tokens and are cut" in caplog.text
    assert "nodule" not in caplog.text
    caplog.clear()
    assert CollateTexts(tokenizer, max(longer)).count_cut(items, "training") == 0
    assert not caplog.text
    with pytest.raises(DataError, match="can't be cut at 2 tokens"):
        CollateTexts(tokenizer, 2)


def test_what_travels_to_workers_is_small(tokenizer: Path) -> None:
    collate = CollateTexts(tokenizer)
    before = collate([item(TEXTS[0])])
    travelled = pickle.dumps(collate)
    assert len(travelled) < 1000
    assert torch.equal(pickle.loads(travelled)([item(TEXTS[0])])["input_ids"], before["input_ids"])
