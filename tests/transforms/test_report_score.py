"""Scores that reports condition, against the score of whole pairs."""

from __future__ import annotations

import torch

from bundle.networks.blocks.attention_pool import IdentityAttentionPool
from bundle.transforms.report_score import ContributionScore, SimilarityScore


def test_contributions_of_all_cells_are_the_score_of_the_pair() -> None:
    torch.manual_seed(0)
    patches, text = torch.randn(5, 16, 4, 4), torch.randn(5, 16)
    pool = IdentityAttentionPool(16, 4, (4, 4))
    pooled, attention = pool(patches)
    prediction = {"patch_values": pool.patch_values(patches), "attention": attention, "text_embedding": text}
    score = ContributionScore()(prediction)
    assert score.shape == (5, 4, 4)
    torch.testing.assert_close(score.sum((1, 2)), (pooled * (text - text.mean(0))).sum(1))
    assert not score.requires_grad


def test_the_cell_that_shows_what_only_its_report_says_scores_highest() -> None:
    said, common = torch.eye(8)[:2]
    text = torch.stack([said + common, common, common, common])
    patches = common[None, :, None, None].repeat(4, 1, 3, 3)
    patches[0, :, 1, 2] = said + common
    prediction = {"patch_values": patches, "attention": torch.full((4, 2, 3, 3), 1 / 9), "text_embedding": text}
    for source in (ContributionScore(), SimilarityScore()):
        score = source(prediction)[0]
        assert score.argmax() == 5
        assert (score.flatten()[[0, 1, 2, 3, 4, 6, 7, 8]] <= 1e-6).all()  # what all reports say counts for nothing


def test_attention_weighs_contributions_and_not_similarities() -> None:
    attention = torch.rand(3, 2, 2, 2)
    prediction = {"patch_values": torch.ones(3, 4, 2, 2), "attention": attention, "text_embedding": torch.rand(3, 4)}
    along = (prediction["text_embedding"] - prediction["text_embedding"].mean(0)).sum(1)[:, None, None]
    torch.testing.assert_close(ContributionScore()(prediction), attention.mean(1) * along)
    assert (SimilarityScore()(prediction).flatten(1).std(1) < 1e-6).all()
