"""Batches of questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import Compose
from torch.utils.data import DataLoader

from bundle.data.answer_vocabulary import build_vocabulary
from bundle.data.question_batch import CollateQuestions
from bundle.data.questions import question_items
from bundle.data.tokenizer_files import load_tokenizer
from bundle.transforms.radiograph import FitRadiographd, LoadRadiographd
from bundle.transforms.tokenizer_training import train_tokenizer

QUESTIONS = ("Is there a nodule?", "On which side is the nodule?", "Where is the pleural effusion?")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "tokenizer"
    train_tokenizer(list(QUESTIONS) * 3, folder, 200)
    return folder


def item(question: str, *answers: int, index: int = 0) -> dict[str, Any]:
    image = torch.full((1, 2, 2), index, dtype=torch.uint8)
    return {"question": question, "answers": list(answers), "image": image, "index": index, "answer_type": 1}


def test_tokens_and_answers_are_padded(tokenizer: Path) -> None:
    items = [item(QUESTIONS[0], 4), item(QUESTIONS[1], index=1), item(QUESTIONS[2], 2, 0, index=2)]
    batch = CollateQuestions(tokenizer)(items)
    words = load_tokenizer(tokenizer)
    for question, ids, mask in zip(QUESTIONS, batch["input_ids"], batch["attention_mask"], strict=True):
        own = words(question)["input_ids"]
        assert ids.tolist() == own + [words.pad_token_id] * (len(ids) - len(own))
        assert mask.tolist() == [1] * len(own) + [0] * (len(ids) - len(own))
    assert batch["attention_mask"].sum(1).max() == batch["input_ids"].shape[1]  # no longer than the longest
    assert batch["answers"].tolist() == [[4, -1], [-1, -1], [2, 0]]
    assert batch["image"][:, 0, 0, 0].tolist() == batch["index"].tolist() == [0, 1, 2]
    assert "question" not in batch
    alone = CollateQuestions(tokenizer)([item(QUESTIONS[0])])
    assert alone["answers"].tolist() == [[-1]]


def test_phantoms_through_a_loader(tokenizer: Path, phantoms: Path) -> None:
    path = phantoms / "datalist.json"
    items = question_items(path, "test", build_vocabulary(path))
    read = Compose([LoadRadiographd("image"), FitRadiographd("image", 32)])
    loader = DataLoader([read(one) for one in items[:6]], batch_size=4, collate_fn=CollateQuestions(tokenizer))
    first, second = loader
    assert first["image"].shape == (4, 1, 32, 32)
    assert first["image"].dtype == torch.uint8
    assert second["index"].tolist() == [4, 5]
    assert first["answers"][:, 0].tolist() == [one["answer"] for one in items[:4]]
