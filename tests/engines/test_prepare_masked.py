"""Batches with masked words: the mask is drawn once, on the host, and images are shown or blacked out."""

from __future__ import annotations

import torch
from torch import Tensor

from bundle.engines.prepare_masked import PrepareMaskedBatch, PrepareMaskedText


def batch() -> dict:
    image = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    image[0, 0, 3, 4] = 255
    return {
        "image": image,
        "body": image > 0,
        "input_ids": torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "sentence": torch.tensor([[-1, 0, 1, -1], [-1, 0, -1, -1]]),
        "lengths": [4, 3],
        "text_id": torch.tensor([4, 5]),
        "study_id": torch.tensor([6, 7]),
        "index": torch.tensor([8, 9]),
    }


def second(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Masks the second token with 99."""
    places = torch.ones(len(ids), 1, dtype=torch.int64)
    return {
        "masked_ids": ids.scatter(1, places, 99),
        "masked_positions": places,
        "masked_labels": ids.gather(1, places),
    }


def test_words_go_in_whole_and_masked() -> None:
    image, target, args, words = PrepareMaskedBatch(0.5, 0.25, second)(batch(), "cpu")
    assert image[0, 0, 3, 4] == 2
    assert args == ()
    assert words["input_ids"].tolist() == [[1, 5, 6, 2], [1, 7, 2, 0]]
    assert words["masked_ids"].tolist() == [[1, 99, 6, 2], [1, 99, 2, 0]]
    assert words["masked_labels"].tolist() == [[5], [7]]
    assert words["masked_positions"].tolist() == [[1], [1]]
    assert words["lengths"] == [4, 3]
    assert words["text_id"].tolist() == target["text_id"].tolist() == [4, 5]


def test_what_is_masked_is_what_thinning_left() -> None:
    def first_words(ids: Tensor, mask: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        return ids[:, :2], mask[:, :2], [2, 2]

    words = PrepareMaskedBatch(0, 1, second, thin=first_words)(batch(), "cpu")[3]
    assert words["masked_ids"].tolist() == [[1, 99], [1, 99]]


def test_no_place_lies_behind_the_longest_report() -> None:
    """Thinned reports keep their columns, which the network cuts off; places to be named are not among those."""

    def first_word(ids: Tensor, mask: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        kept = torch.arange(ids.shape[1]) < 2
        return ids * kept, mask * kept, [2, 2]

    def all_places(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        places = torch.arange(ids.shape[1]).expand_as(ids)
        return {"masked_ids": ids, "masked_positions": places, "masked_labels": ids}

    words = PrepareMaskedBatch(0, 1, all_places, thin=first_word)(batch(), "cpu")[3]
    assert words["input_ids"].shape == (2, 4)
    assert words["masked_ids"].shape == (2, 2)
    assert words["masked_positions"].tolist() == [[0, 1], [0, 1]]


def test_the_control_sees_no_image() -> None:
    image, target, _, words = PrepareMaskedText(0.5, 0.25, second)(batch(), "cpu")
    assert image.unique().tolist() == [-2]
    assert not target["image"].any()
    assert words["masked_ids"][0, 1] == 99
