"""Pairs for image-text matching: halves, texts that are no negatives, and how likely hard ones are."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.networks.blocks.matching_pairs import MatchingPairs, RandomPairs, SimilarPairs


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.booleans(), st.sampled_from([RandomPairs, SimilarPairs]))
def test_labels_say_what_images_are(numbers: list[int], training: bool, kind: type[MatchingPairs]) -> None:
    ids, size = torch.tensor(numbers), len(numbers)
    image, label = kind().train(training)(torch.randn(size, 4), torch.randn(size, 5), ids)
    assert (label == 1).sum() == size // 2
    for row, (chosen, judged) in enumerate(zip(image.tolist(), label.tolist(), strict=True)):
        if judged == 0:
            assert numbers[chosen] != numbers[row]
        else:
            assert chosen == row
            assert judged == 1 or (math.isnan(judged) and len(set(numbers)) == 1)


def test_random_pairs_are_uniform() -> None:
    torch.manual_seed(0)
    pairs, ids = RandomPairs(), torch.tensor([0, 0, 1, 2])
    drawn = [pairs(torch.zeros(4, 1), torch.zeros(4, 1), ids) for _ in range(3000)]
    first = torch.stack([image[0] for image, label in drawn if label[0] == 0])
    shares = torch.bincount(first, minlength=4) / len(first)
    torch.testing.assert_close(shares, torch.tensor([0, 0, 0.5, 0.5]), rtol=0, atol=0.04)
    own = torch.stack([label for _, label in drawn]).mean(0)
    torch.testing.assert_close(own, torch.full((4,), 0.5), rtol=0, atol=0.04)


def test_similar_pairs_by_hand() -> None:
    # About their mean, 0, the images point right, right, left, left, and the texts up, down, up, down.
    images = torch.tensor([[1.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [-3.0, 0.0]])
    texts = torch.tensor([[0.0, 2.0], [0.0, -2.0], [0.0, 2.0], [0.0, -2.0]])
    logits = SimilarPairs(temperature=0.5).logits(images + 7, texts - 5)
    assert logits[0].tolist() == pytest.approx([2, 0, 0, -2], abs=1e-5)
    assert logits[3].tolist() == pytest.approx([-2, 0, 0, 2], abs=1e-5)


def test_hard_negatives_are_drawn_by_their_likeness() -> None:
    torch.manual_seed(0)
    images, pairs = torch.tensor([[1.0], [2.0], [-1.0], [-2.0]]), SimilarPairs(temperature=1.0)
    # Row 0 likes image 1 with 1 and the others, as equal texts have no direction, with -1, each halved.
    drawn = [pairs(images, torch.ones(4, 1), torch.arange(4)) for _ in range(3000)]
    first = torch.stack([image[0] for image, label in drawn if label[0] == 0])
    shares = torch.bincount(first, minlength=4) / len(first)
    near, far = math.exp(0.5), math.exp(-0.5)
    expected = torch.tensor([0, near, far, far]) / (near + 2 * far)
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.04)


def test_features_get_no_gradient_and_evaluation_repeats() -> None:
    images = torch.randn(6, 3, requires_grad=True)
    pairs = SimilarPairs().eval()
    first = pairs(images, images, torch.arange(6))
    assert not first[1].requires_grad
    assert torch.equal(first[0], pairs(images, images, torch.arange(6))[0])
