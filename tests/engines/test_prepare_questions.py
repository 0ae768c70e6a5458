"""Batches of questions become a network's input, target and keyword arguments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from bundle.engines.prepare_questions import PrepareBlankQuestions, PrepareQuestions
from bundle.transforms.batch_augment import BatchAugment, Jitter, RandomFlip


def batch(kind: Any = torch.as_tensor) -> dict[str, Any]:
    image = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    image[0, 0, 3, 4] = 255
    return {
        "image": kind(image),
        "input_ids": torch.tensor([[2, 5, 3], [2, 3, 0], [2, 6, 3]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]]),
        "answers": torch.tensor([[1, -1], [-1, -1], [3, 0]]),
        "answer_type": torch.tensor([0, 1, 1]),
        "index": torch.tensor([4, 7, 9]),
        "patient": ["a", "b", "c"],
    }


@pytest.mark.parametrize("kind", [torch.as_tensor, MetaTensor])
def test_everything_is_in_its_place(kind: Any) -> None:
    image, target, positional, words = PrepareQuestions(0.5, 0.25, answers=4)(batch(kind), "cpu")
    assert type(image) is torch.Tensor
    assert image[0, 0, 3, 4] == 2  # (255 / 255 - .5) / .25
    assert image[1].unique().tolist() == [-2]
    assert target["label"].tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert target["label"].dtype == torch.float32
    assert target["answer_type"].tolist() == [0, 1, 1]
    assert target["index"].tolist() == [4, 7, 9]
    assert set(target) == {"label", "answer_type", "index"}
    assert positional == ()
    assert {name: value.tolist() for name, value in words.items()} == {
        name: batch()[name].tolist() for name in ("input_ids", "attention_mask")
    }


def test_augmentation_warps_the_image_alone() -> None:
    augment = BatchAugment(8, [RandomFlip(1)])
    image, target, _, _ = PrepareQuestions(0, 1, 4, augment)(batch(), "cpu")
    assert image[0, 0, 3, 3] == pytest.approx(1)  # column 4 of 8 becomes column 3
    assert target["label"].sum(1).tolist() == [1, 0, 2]


def test_blank_images_are_black_whatever_augmentation_does() -> None:
    augment = BatchAugment(6, [], [Jitter(brightness=0.5)])
    image, target, _, words = PrepareBlankQuestions(0.5, 0.25, 4, augment)(batch(), "cpu")
    assert image.shape == (3, 1, 6, 6)
    assert image.unique().tolist() == [-2]
    _, kept, _, same = PrepareQuestions(0.5, 0.25, 4)(batch(), "cpu")
    assert torch.equal(target["label"], kept["label"])
    assert torch.equal(words["input_ids"], same["input_ids"])


def test_labels_need_no_values() -> None:
    answers = torch.zeros(3, 2, dtype=torch.int64, device="meta")
    label = PrepareQuestions(0, 1, 4).label({"answers": answers}, "meta", non_blocking=False)
    assert label.shape == (3, 4)
    assert label.is_meta
