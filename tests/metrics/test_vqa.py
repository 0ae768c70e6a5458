"""Accuracy of answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundle.metrics.bootstrap import bootstrap_interval
from bundle.metrics.vqa import AnswerAccuracy, VqaMetric

# Five questions with three answers: chosen answer, right answers, type.
CHOSEN = [0, 1, 2, 2, 0]
RIGHT: list[list[int]] = [[0], [2], [1, 2], [], [0]]
KIND = [0, 0, 1, 1, 0]


def batch(rows: list[int]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    logits, label = torch.full((len(rows), 3), -9.0), torch.zeros(len(rows), 3)
    for place, row in enumerate(rows):
        logits[place, CHOSEN[row]] = -1.0  # the highest of negative logits is the answer, too
        label[place, RIGHT[row]] = 1.0
    kinds = torch.tensor([KIND[row] for row in rows])
    return logits, {"label": label, "answer_type": kinds, "index": torch.tensor(rows)}


@pytest.mark.parametrize("batches", [[[0, 1, 2, 3, 4]], [[4, 2], [3, 1, 0]], [[0, 1], [2, 3], [4, 0]]])
def test_hand_computed(batches: list[list[int]]) -> None:
    """Whatever the batches; question 0 coming twice, as in a padded shard, counts once."""
    metric = VqaMetric(prior=[1.0, 0.0, 0.0, 0.0, 1.0])
    for rows in batches:
        metric(*batch(rows))
    assert metric.aggregate() == {
        "vqa_accuracy_overall": pytest.approx(3 / 5),
        "vqa_accuracy_closed": pytest.approx(2 / 3),
        "vqa_accuracy_open": pytest.approx(1 / 2),
        "vqa_out_of_vocabulary_rate": pytest.approx(1 / 5),
        "vqa_accuracy_overall_prior": pytest.approx(2 / 5),
        "vqa_accuracy_closed_prior": pytest.approx(2 / 3),
        "vqa_accuracy_open_prior": 0.0,
        "vqa_questions": 5.0,
        "vqa_questions_closed": 3.0,
        "vqa_questions_open": 2.0,
    }


def test_a_type_without_questions_has_no_accuracy() -> None:
    metric = VqaMetric()
    metric(*batch([2, 3]))
    figures = metric.aggregate()
    assert figures["vqa_accuracy_open"] == figures["vqa_accuracy_overall"] == 0.5
    assert "vqa_accuracy_closed" not in figures
    assert figures["vqa_questions_closed"] == 0
    assert not any(name.endswith("_prior") for name in figures)


def test_baselines_have_names_of_their_own() -> None:
    for suffix in ("_question_only", "_blank_image"):
        metric = AnswerAccuracy(suffix)
        metric(*batch([0, 1, 2]))
        assert metric.aggregate() == {
            f"vqa_accuracy_overall{suffix}": pytest.approx(2 / 3),
            f"vqa_accuracy_closed{suffix}": 0.5,
            f"vqa_accuracy_open{suffix}": 1.0,
        }


def test_samples_are_those_of_the_type() -> None:
    metric = VqaMetric(prior=[1.0, 0.0, 0.0, 0.0, 1.0])
    metric(*batch([0, 1, 2, 3, 4]))
    metric.aggregate()
    closed = metric.samples()["vqa_accuracy_closed"]
    assert closed.index.tolist() == [0, 1, 4]
    np.testing.assert_allclose(closed.resampled(np.array([[0, 3, 0], [1, 1, 2]])), [0, 3 / 4])
    low, high = bootstrap_interval(closed.resampled, 3, groups=["p", "q", "p"])
    assert (low, high) == (0, 1)
    assert metric.samples()["vqa_accuracy_overall_prior"].index.tolist() == [0, 1, 2, 3, 4]
    assert "vqa_questions" not in metric.samples()


def test_a_prior_goes_by_the_place_in_the_list() -> None:
    metric = VqaMetric(prior=[1.0, 0.0, 1.0, 0.0, 1.0])
    metric(*batch([3, 1]))
    assert metric.aggregate()["vqa_accuracy_overall_prior"] == 0


def test_refused() -> None:
    logits, target = batch([0, 1])
    with pytest.raises(ValueError, match="as many outputs as the vocabulary has answers"):
        AnswerAccuracy()(logits[:, :2], target)
    with pytest.raises(ValueError, match="as many outputs"):
        AnswerAccuracy()(logits, target | {"answer_type": target["answer_type"][:, None]})
    with pytest.raises(ValueError, match="before any item was added"):
        VqaMetric().aggregate()
    broken = AnswerAccuracy()
    broken(logits.masked_fill(torch.tensor([[False], [True]]), float("nan")), target)
    with pytest.raises(ValueError, match=r"prediction of item 1 .* is not a number"):
        broken.aggregate()
    strange = AnswerAccuracy()
    strange(logits, target | {"answer_type": torch.tensor([0, 2])})
    with pytest.raises(ValueError, match=r"answer type of item 1 .* neither 0"):
        strange.aggregate()
    short = VqaMetric(prior=[1.0])
    short(logits, target)
    with pytest.raises(ValueError, match="the prior answers 1 questions, the list has 2 or more"):
        short.aggregate()


def test_bf16_logits() -> None:
    logits, target = batch([0, 1, 2, 3, 4])
    metric = AnswerAccuracy()
    metric(logits.bfloat16(), target)
    assert metric.aggregate()["vqa_accuracy_overall"] == pytest.approx(3 / 5)
