"""Accuracy of answers to questions about images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .item_metric import ItemMetric
from .samples import Sampled, Samples
from .scored_classes import refuse

__all__ = ["AnswerAccuracy", "VqaMetric"]

_TYPES = ("closed", "open")  # by their number in batches
_RIGHT, _KNOWN, _TYPE, _LOGIT = 0, 1, 2, 3  # columns of what is kept of a question


class AnswerAccuracy(ItemMetric):
    """Accuracy of the answer with the highest logit, over all questions and over those of each type.

    A question whose answers are not in the vocabulary is answered wrongly. Each figure is the plain mean over its own
    questions; a type without a question has none.

    Args:
        suffix: what answers, as the end of the metrics' names: "_question_only" for a network that was trained and
            evaluated without images, "_blank_image" for one that was trained with them and evaluated without.

    Reference: VQA v2's scores for one right answer, as used by M3AE (arXiv 2209.07098).

    Example:
        >>> metric = AnswerAccuracy("_blank_image")
        >>> logits, label = torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> metric(logits, {"label": label, "answer_type": torch.tensor([0, 1]), "index": torch.arange(2)})
        >>> metric.aggregate()["vqa_accuracy_overall_blank_image"]
        0.5
    """

    def __init__(self, suffix: str = "") -> None:
        super().__init__()
        self.suffix = suffix

    def __call__(self, prediction: Tensor, target: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            prediction: logits `[B, K]`, one an answer of the vocabulary.
            target: `label` `[B, K]`, 1 for right answers, all 0 where none is in the vocabulary; `answer_type` `[B]`
                int64, 0 closed and 1 open; `index` `[B]` int64, number in the data set.

        Raises:
            ValueError: when the shapes are not those of one vocabulary.
        """
        label, kind = target["label"], target["answer_type"]
        if prediction.shape != label.shape or label.ndim != 2 or kind.shape != label.shape[:1]:
            raise ValueError(
                f"a metric of answers got logits {tuple(prediction.shape)}, labels {tuple(label.shape)} and answer "
                f"types {tuple(kind.shape)}; give the network as many outputs as the vocabulary has answers"
            )
        logits = prediction.detach().float()
        best = logits.max(1)
        right = label.gather(1, best.indices[:, None])[:, 0] > 0
        self.add(torch.stack([right, label.any(1), kind, best.values], 1).float(), target)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from what is kept of questions `[N, 4]`.

        Returns:
            `vqa_accuracy_overall`, `vqa_accuracy_closed`, `vqa_accuracy_open`, each with the suffix.

        Raises:
            ValueError: when a logit is not a number, or an answer type is unknown.
        """
        refuse(rows[:, _LOGIT].isnan(), index, "the prediction", "is not a number: lower the learning rate")
        strange = (rows[:, _TYPE] < 0) | (rows[:, _TYPE] >= len(_TYPES))
        refuse(strange, index, "the answer type", "is neither 0 (closed) nor 1 (open)")
        return self.accuracies(rows[:, _RIGHT], rows, index, self.suffix)

    @staticmethod
    def accuracies(right: Tensor, rows: Tensor, index: Tensor, suffix: str) -> dict[str, Sampled]:
        """Means of `[N]` values of questions `[N, 4]` over all and over each type."""
        members = {"overall": torch.ones(len(rows), dtype=torch.bool)}
        members |= {name: rows[:, _TYPE] == number for number, name in enumerate(_TYPES)}
        return {
            f"vqa_accuracy_{name}{suffix}": Samples(right[chosen], index[chosen])
            for name, chosen in members.items()
            if chosen.any()
        }


class VqaMetric(AnswerAccuracy):
    """Accuracy of answers, beside it what limits it and how far the most frequent answers get.

    Args:
        prior: of each question, by its number in the data set, 1 where the most frequent answer of its kind is right,
            else 0, as `prior_scores` returns them.
    """

    def __init__(self, prior: Sequence[float] | None = None) -> None:
        super().__init__()
        self.prior = None if prior is None else torch.tensor(prior, dtype=torch.float32)

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """As of `AnswerAccuracy`, and `vqa_out_of_vocabulary_rate`, the share of questions without a known answer.

        With `prior` also the accuracies with the suffix `_prior`.

        Raises:
            ValueError: see `AnswerAccuracy`; or when there are more questions than in `prior`.
        """
        result = super().measure(rows, index)
        result["vqa_out_of_vocabulary_rate"] = Samples(1 - rows[:, _KNOWN], index)
        if self.prior is None:
            return result
        if int(index.max()) >= len(self.prior):
            raise ValueError(
                f"the prior answers {len(self.prior)} questions, the list has {int(index.max()) + 1} or more; make "
                "both of the same split"
            )
        return result | self.accuracies(self.prior[index], rows, index, "_prior")

    def aggregate(self) -> dict[str, float]:
        """Compute the metrics of `measure`, and their numbers of questions.

        Returns:
            Also `vqa_questions`, `vqa_questions_closed` and `vqa_questions_open`.
        """
        result = super().aggregate()
        rows, _ = self.gathered()
        counts = {name: float((rows[:, _TYPE] == number).sum()) for number, name in enumerate(_TYPES)}
        result["vqa_questions"] = float(len(rows))
        return result | {f"vqa_questions_{name}": count for name, count in counts.items()}
