"""Batches of images with texts become a network's input, target and keyword arguments."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor

from bundle.engines.prepare_image_texts import PrepareBlankImageTexts, PrepareImageTexts
from bundle.transforms.batch_augment import BatchAugment, RandomFlip


def batch() -> dict[str, Any]:
    image = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    image[0, 0, 3, 4] = 255
    return {
        "image": MetaTensor(image),
        "input_ids": torch.tensor([[2, 5, 3], [2, 3, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
        "label": torch.tensor([3, 0], dtype=torch.int32),
        "index": torch.tensor([4, 7]),
        "patient": ["a", "b"],
    }


def test_everything_is_in_its_place() -> None:
    image, target, positional, words = PrepareImageTexts(0.5, 0.25)(batch(), "cpu")
    assert type(image) is torch.Tensor
    assert image[0, 0, 3, 4] == 2  # (255 / 255 - .5) / .25
    assert image[1].unique().tolist() == [-2]
    assert (target["label"].dtype, target["label"].tolist()) == (torch.int64, [3, 0])
    assert target["index"].tolist() == [4, 7]
    assert set(target) == {"label", "index"}
    assert positional == ()
    assert set(words) == {"input_ids", "attention_mask"}
    assert torch.equal(words["input_ids"], batch()["input_ids"])


def test_augmentation_warps_the_image() -> None:
    image, _, _, _ = PrepareImageTexts(0, 1, BatchAugment(8, [RandomFlip(1)]))(batch(), "cpu")
    assert image[0, 0, 3].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]  # column 4 of 8 becomes column 3


def test_blank_images_are_black_and_nothing_else_changes() -> None:
    image, target, _, words = PrepareBlankImageTexts(0.5, 0.25)(batch(), "cpu")
    assert image.unique().tolist() == [-2]
    _, kept, _, same = PrepareImageTexts(0.5, 0.25)(batch(), "cpu")
    assert torch.equal(target["label"], kept["label"])
    assert torch.equal(words["input_ids"], same["input_ids"])
