"""Prompts as vectors, embedded once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bundle.data.errors import DataError
from bundle.inferers.vision_language import VisionLanguageModel

__all__ = ["PromptEmbeddings"]

Prompts = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class PromptEmbeddings:
    """Vectors of the prompts of K classes, each of length 1, on one device.

    A side (affirming, denying) is an ensemble: the mean of its normalised vectors, normalised again, as in CheXzero.

    Attributes:
        classes: names of the K classes.
        positives: for each class its affirming prompts `[P_k, D]`.
        negatives: for each class its denying prompts `[N_k, D]`, N_k may be 0.
        positive: ensembles of `positives`, `[K, D]`.
        negative: ensembles of `negatives`, `[K, D]`, nan where there is none.
        left: ensembles of the affirming prompts that say "left" and not "right", `[K, D]`, nan where there is none.
        right: the same with the two words exchanged.
    """

    classes: tuple[str, ...]
    positives: tuple[Tensor, ...]
    negatives: tuple[Tensor, ...]
    positive: Tensor
    negative: Tensor
    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, model: VisionLanguageModel, prompts: Prompts) -> PromptEmbeddings:
        """Embed prompts, each distinct text once.

        Args:
            model: what embeds them.
            prompts: by class the texts `pos` and `neg`, as `load_prompts` returns them.

        Raises:
            DataError: if there is no class, a class has no affirming prompt, or a text is empty.
        """
        if not prompts or not all(sides.get("pos") for sides in prompts.values()):
            raise DataError("zero-shot classification needs at least one class and for each class a prompt in 'pos'")
        texts = [text for sides in prompts.values() for side in ("pos", "neg") for text in sides.get(side, ())]
        embedded = dict(zip(texts, model.embed_texts(texts), strict=True))
        width = embedded[texts[0]].new_zeros(0, len(embedded[texts[0]]))

        def rows(chosen: Sequence[str]) -> Tensor:
            return torch.stack([embedded[text] for text in chosen]) if chosen else width

        positives = tuple(rows(sides["pos"]) for sides in prompts.values())
        negatives = tuple(rows(sides.get("neg", ())) for sides in prompts.values())
        sided = {
            word: [_ensemble(rows(_saying(word, sides["pos"]))) for sides in prompts.values()]
            for word in ("left", "right")
        }
        return cls(
            tuple(prompts),
            positives,
            negatives,
            *(torch.stack([_ensemble(one) for one in side]) for side in (positives, negatives)),
            *(torch.stack(sided[word]) for word in ("left", "right")),
        )

    @property
    def without_negatives(self) -> list[str]:
        """Classes that have no denying prompt."""
        return [name for name, negatives in zip(self.classes, self.negatives, strict=True) if not len(negatives)]

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Single prompts in place of ensembles: for each pair an affirming and a denying prompt of each class.

        There are as many pairs as the class with the most prompts of a side has; others begin again with their first.

        Yields:
            Twice `[K, D]`, as `positive` and `negative`.
        """
        count = max(len(side) for side in (*self.positives, *self.negatives))
        for number in range(count):
            yield _numbered(number, self.positives, self.positive), _numbered(number, self.negatives, self.negative)


def _numbered(number: int, prompts: Sequence[Tensor], ensembles: Tensor) -> Tensor:
    """One prompt of each class `[K, D]`; of a class without prompts what stands for its ensemble."""
    chosen = [side[number % len(side)] if len(side) else none for side, none in zip(prompts, ensembles, strict=True)]
    return torch.stack(chosen)


def _ensemble(vectors: Tensor) -> Tensor:
    """The normalised mean `[D]` of vectors `[n, D]`; nan of none."""
    return F.normalize(vectors.mean(0), dim=-1)


def _saying(word: str, texts: Sequence[str]) -> list[str]:
    """Those texts that speak of that side alone."""
    return [text for text in texts if set(re.findall(r"\b(left|right)\b", text.lower())) == {word}]
