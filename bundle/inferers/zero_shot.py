"""Zero-shot classification: a radiograph has what its vector says, asked in sentences."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from bundle.data.errors import DataError
from bundle.inferers.prompt_embeddings import PromptEmbeddings
from bundle.inferers.prompt_scores import MeanPrompts
from bundle.inferers.vision_language import VisionLanguageModel

__all__ = ["ZeroShotClassifier"]


class ZeroShotClassifier(nn.Module):
    """Scores classes by prompts that affirm and deny them. Prompts are embedded once, when this is made.

    Args:
        model: what embeds radiographs and prompts.
        prompts: by class the texts `pos` and `neg`, as `load_prompts` returns them.
        aggregate: how several prompts become a score; by default `MeanPrompts`.

    Attributes:
        classes: names of the K classes.

    Raises:
        DataError: if there are no prompts, a text is empty, or a class has no denying prompt where one is needed.

    Example:
        >>> model = VisionLanguageModel.from_run("runs/pretrain/g2d")  # doctest: +SKIP
        >>> prompts = load_prompts("configs/prompts/findings.json", ["Edema", "Fracture"])  # doctest: +SKIP
        >>> classifier = ZeroShotClassifier(model, prompts)  # doctest: +SKIP
        >>> classifier.probabilities(["a.dcm", "b.png", "c.jpg"]).shape  # doctest: +SKIP
        torch.Size([3, 2])
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        prompts: Mapping[str, Mapping[str, Sequence[str]]],
        aggregate: MeanPrompts | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.aggregate = aggregate or MeanPrompts()
        self.embeddings = PromptEmbeddings.of(model, prompts)
        self.classes = list(self.embeddings.classes)
        if self.aggregate.needs_negatives and self.embeddings.without_negatives:
            raise DataError(
                f"the class '{self.embeddings.without_negatives[0]}' has no prompt in 'neg', which independent classes "
                "need; write one, or take ExclusivePrompts if an image has exactly one class"
            )
        self._pairs = tuple(self.embeddings.pairs())
        black = torch.zeros(1, 1, model.image_size, model.image_size, dtype=torch.uint8)
        self._blank = self._scores(model.embed_images(black))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Score normalised images `[B, 1, S, S]`, each encoded once.

        Returns:
            - `scores` `[B, K]` of the classes, as `aggregate` makes them of s+ and s-;
            - `positive`, `negative` `[B, K]`: s+ and s-;
            - `pairs` `[B, K, M]`: scores of single prompts, see `PromptEmbeddings.pairs`;
            - `side` `[B, K]`: similarity to the prompts of the left less that to those of the right side, nan for a
              class that does not have both;
            - `blank` `[B, K]`: scores of a black image, the same in every row.
        """
        embedded = self.model.embed(image)
        positive, negative = self.aggregate.similarities(embedded, self.embeddings)
        pairs = [self.aggregate.scores(embedded @ one.T, embedded @ other.T) for one, other in self._pairs]
        return {
            "scores": self.aggregate.scores(positive, negative),
            "positive": positive,
            "negative": negative,
            "pairs": torch.stack(pairs, -1),
            "side": embedded @ (self.embeddings.left - self.embeddings.right).T,
            "blank": self._blank.expand(len(image), -1),
        }

    def probabilities(self, paths: Iterable[str | os.PathLike[str]]) -> Tensor:
        """Classify radiographs from files: probabilities `[N, K]`, fp32, on the CPU.

        Raises:
            DataError: if a file cannot be used, or there is none.
        """
        return self.aggregate.probabilities(self._scores(self.model.embed_files(paths))).cpu()

    def _scores(self, embedded: Tensor) -> Tensor:
        return self.aggregate.scores(*self.aggregate.similarities(embedded, self.embeddings))
