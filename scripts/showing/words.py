"""A pre-trained run, asked in words about one radiograph at a time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from bundle.data.prompts import load_prompts, prompts_identity
from bundle.inferers.vision_language import VisionLanguageModel
from bundle.inferers.zero_shot import ZeroShotClassifier
from scripts.ask import Answer, answers_of, negation_of

__all__ = ["Finding", "Words"]


@dataclass(frozen=True)
class Finding:
    """What a model says of one class.

    Attributes:
        name: of the class.
        score: of the affirming against the denying sentences, in [0, 1]; not calibrated.
        blank: the same of a black image, on which there is nothing to see.
    """

    name: str
    score: float
    blank: float


class Words:
    """A pre-trained vision-language model that is loaded once and asked often.

    Args:
        run: folder of the pre-training run.
        prompts: file of `configs/prompts/` whose classes are the findings.

    Raises:
        WeightsError: the folder holds no finished run with a text encoder.
        DataError: the prompts can't be used.

    Example:
        >>> words = Words(Path("runs/pretrain/g2d"), Path("configs/prompts/findings.json"))  # doctest: +SKIP
        >>> words.findings("chest.dcm")[0].score  # doctest: +SKIP
        0.62
    """

    def __init__(self, run: Path, prompts: Path) -> None:
        self._model = VisionLanguageModel.from_run(run)
        self.prompts = prompts_identity(prompts)
        names = list(json.loads(prompts.read_text(encoding="utf-8"))["classes"])
        self._classifier = ZeroShotClassifier(self._model, load_prompts(prompts, names))

    @torch.inference_mode()
    def findings(self, path: str | os.PathLike[str]) -> list[Finding]:
        """Score every class of the prompts on a radiograph, in the order of the file.

        Raises:
            DataError: the radiograph can't be used.
        """
        square, _ = self._model.load(path)
        image = self._model.prepare(torch.from_numpy(square.copy())[None, None])
        output = self._classifier(image)
        scores, blank = (self._classifier.aggregate.probabilities(output[key])[0] for key in ("scores", "blank"))
        return [Finding(*one) for one in zip(self._classifier.classes, scores.tolist(), blank.tolist(), strict=True)]

    @torch.inference_mode()
    def ask(self, path: str | os.PathLike[str], phrase: str) -> Answer:
        """How likely is a phrase against its negation, and where is it seen?

        Args:
            path: of the radiograph.
            phrase: worded as reports are.

        Raises:
            DataError: the radiograph can't be used, or the phrase is empty.
        """
        (answer,) = answers_of(self._model, [Path(path)], phrase, negation_of(phrase))
        return answer
