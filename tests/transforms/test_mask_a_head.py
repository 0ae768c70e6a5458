from __future__ import annotations

import torch

from bundle.transforms.mask_a_head import MaskAHead
from bundle.transforms.pseudo_mask import AttentionScore, BilateralEdges, PseudoMask, QuantileArea, StoredBody


def test_each_mask_is_that_of_its_head_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    merged = PseudoMask(AttentionScore(), StoredBody(), QuantileArea(0.85), BilateralEdges(1.0, 4.0, 7))
    attention = torch.rand(2, 3, 8, 8, generator=generator)
    target = {
        "body": torch.rand(2, 1, 64, 64, generator=generator) < 0.7,
        "image": torch.rand(2, 1, 64, 64, generator=generator),
    }
    masks = MaskAHead(merged)({"attention": attention}, target)
    assert masks.shape == (2, 3, 64, 64)
    for head in range(3):
        alone = merged({"attention": attention[:, head : head + 1]}, target)
        assert torch.equal(masks[:, head : head + 1], alone)
    assert not torch.equal(masks[:, 0], masks[:, 1])


def test_one_head_is_the_merged_mask() -> None:
    merged = PseudoMask(AttentionScore(), StoredBody(), QuantileArea(0.5))
    attention = torch.rand(4, 1, 8, 8)
    target = {"body": torch.ones(4, 1, 32, 32, dtype=torch.bool), "image": torch.rand(4, 1, 32, 32)}
    assert torch.equal(MaskAHead(merged)({"attention": attention}, target), merged({"attention": attention}, target))
