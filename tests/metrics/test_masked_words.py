"""Accuracy and perplexity of masked words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bundle.losses.masked_modeling import MaskedLanguageLoss
from bundle.metrics.bootstrap import bootstrap_interval
from bundle.metrics.masked_words import MaskedWordMetric, Perplexity
from bundle.metrics.samples import value_of

# Probabilities of four words at each masked place of three reports, the right word of each being word 0.
REPORTS = [[[0.5, 0.3, 0.1, 0.1]], [[0.25, 0.5, 0.15, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]], []]


def prediction(rows: list[int]) -> dict[str, Tensor]:
    """Three places a report, those that are not used in front, with logits that would be right."""
    logits, labels = torch.zeros(len(rows), 3, 4), torch.full((len(rows), 3), -100)
    logits[..., 0] = 9.0
    for place, row in enumerate(rows):
        for number, probabilities in enumerate(REPORTS[row], start=3 - len(REPORTS[row])):
            logits[place, number] = torch.tensor(probabilities).log() + row  # shifted logits are the same
            labels[place, number] = 0
    return {"mlm_logits": logits, "mlm_labels": labels}


def filled(*batches: list[int]) -> MaskedWordMetric:
    metric = MaskedWordMetric()
    for rows in batches:
        metric(prediction(rows), {"index": torch.tensor(rows)})
    return metric


@pytest.mark.parametrize("batches", [[[0, 1, 2]], [[2], [1], [0]], [[1, 0], [2, 1]]])
def test_over_all_words_however_batched(batches: list[list[int]]) -> None:
    """Not a mean of batches, nor of reports; report 1 coming twice, as in a padded shard, counts once."""
    figures = filled(*batches).aggregate()
    assert figures["masked_word_accuracy"] == 2 / 4
    assert figures["masked_word_perplexity"] == pytest.approx((0.5 * 0.25 * 0.7 * 0.1) ** (-1 / 4))


def test_logarithm_is_the_loss_of_one_batch() -> None:
    loss = MaskedLanguageLoss()(prediction([0, 1, 2]))
    assert math.log(filled([0, 1, 2]).aggregate()["masked_word_perplexity"]) == pytest.approx(float(loss))


def test_a_bootstrap_draws_reports() -> None:
    metric = filled([0, 1, 2])
    metric.aggregate()
    samples = metric.samples()
    accuracy, perplexity = samples["masked_word_accuracy"], samples["masked_word_perplexity"]
    assert accuracy.index.tolist() == perplexity.index.tolist() == [0, 1]  # report 2 has no masked word
    drawn = np.array([[2, 0], [0, 2], [3, 1]])
    np.testing.assert_allclose(accuracy.resampled(drawn), [1, 1 / 3, 4 / 6])
    entropies = [math.log(2), -math.log(0.25 * 0.7 * 0.1) / 3, (3 * math.log(2) - math.log(0.25 * 0.7 * 0.1)) / 6]
    np.testing.assert_allclose(perplexity.resampled(drawn), np.exp(entropies), rtol=1e-6)
    low, high = bootstrap_interval(perplexity.resampled, 2)
    assert (low, high) == pytest.approx((2, (0.25 * 0.7 * 0.1) ** (-1 / 3)), rel=1e-5)


def test_a_list_without_masked_words_has_no_figures() -> None:
    assert filled([2]).aggregate() == {}


def test_an_endless_perplexity_is_told_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert value_of(Perplexity(np.array([2000.0]), np.array([2]), torch.arange(1))) == math.inf
    assert not recwarn.list


def test_what_is_no_number_is_refused() -> None:
    metric, given = MaskedWordMetric(), prediction([0, 1])
    given["mlm_logits"][1] = float("nan")
    metric(given, {"index": torch.tensor([4, 7])})
    with pytest.raises(ValueError, match=r"prediction of item 7 .* is not a number"):
        metric.aggregate()


def test_half_precision_and_gradients_are_left_behind() -> None:
    given: dict[str, Any] = prediction([0, 1])
    given["mlm_logits"] = given["mlm_logits"].bfloat16().requires_grad_()
    rows = MaskedWordMetric.rows(given)
    assert rows.dtype == torch.float32
    assert not rows.requires_grad
    assert rows[:, 1:].tolist() == [[1, 1], [1, 3]]
