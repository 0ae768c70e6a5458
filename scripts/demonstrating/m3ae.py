"""M3AE: words named with and without images, pairs told from strangers, questions answered."""

from __future__ import annotations

from pathlib import Path

from scripts.demonstrating.demonstration import Demonstration, Step
from scripts.demonstrating.figures import gather

__all__ = ["M3AE"]

PRETRAINING = ("pretrain", "method_m3ae", "frozen_m3ae", "encoder_resnet50", "aligned_m3ae", "demo", "demo_m3ae")
WORDS = ("pretrain", "pretrain_text", "demo", "demo_text")
QUESTIONS = ("train", "train_vqa", "fusion_m3ae", "fusion_frozen_m3ae", "encoder_resnet50", "demo", "demo_vqa")


class M3AE(Demonstration):
    """M3AE on the image encoder that G2D has left and a text encoder of its own, beside it the same without images."""

    rows = (
        ("masked words, perplexity", "masked_word_perplexity"),
        ("  the same, images black", "masked_word_perplexity_text_only"),
        ("masked words, accuracy", "masked_word_accuracy"),
        ("  the same, images black", "masked_word_accuracy_text_only"),
        ("removed patches, error (1: nothing)", "masked_image_error"),
        ("pair or stranger, accuracy", "matching_accuracy"),
        ("  the same, images black", "matching_accuracy_text_only"),
        ("image to report, recall at 5", "retrieval_r5_image_to_text"),
        ("report to image, recall at 5", "retrieval_r5_text_to_image"),
        ("  the first, over chance", "retrieval_r5_image_to_text_over_chance"),
        ("  the second, over chance", "retrieval_r5_text_to_image_over_chance"),
        ("questions, accuracy", "vqa_accuracy_overall"),
        ("  yes or no", "vqa_accuracy_closed"),
        ("  open", "vqa_accuracy_open"),
        ("  control: question alone", "vqa_accuracy_overall_question_only"),
        ("  control: blank image", "vqa_accuracy_overall_blank_image"),
        ("  control: most frequent answer", "vqa_accuracy_overall_prior"),
    )

    def commands(self) -> list[Step]:
        """See `Demonstration.commands`."""
        encoders = ("--images_of", str(self.g2d), "--words_of", str(self._words))
        tokenizer = ("--tokenizer", str(self._captions / "tokenizer"))
        start = ("--start", str(self._run / "models" / "model.safetensors"))
        blind = (*PRETRAINING, "baseline_text_only")
        return [
            *self.pairs(),
            self.packing(self._captions, "--report", "impression"),
            self.pretraining(),
            self.training(WORDS, self._words, self.data, self.epochs, *tokenizer),
            self.training(PRETRAINING, self._run, self._captions, self.epochs, *encoders),
            self.training(blind, self._text_only, self._captions, self.epochs, *encoders),
            self.evaluation("matching", self._matching, self._run, self._captions),
            self.training(QUESTIONS, self._questions, self.data, self.steps, *start),
        ]

    def gather(self) -> Path:
        """See `Demonstration.gather`."""
        names = ("masked_word_perplexity", "masked_word_accuracy", "matching_accuracy")
        blind = {f"{name}_text_only": (self._text_only, name) for name in names}
        evaluations = [self._run, self._matching, self._questions]
        return gather(self.runs / "demo_m3ae" / "results.json", evaluations, blind)

    def pictures(self) -> dict[str, Path]:
        """See `Demonstration.pictures`."""
        return {
            "Curves": self._run / "curves.png",
            "Patches removed and painted": self._run / "pictures",
            "Words masked and named": self._run / "examples",
        }

    @property
    def _captions(self) -> Path:
        return self.data / "captions"

    @property
    def _words(self) -> Path:
        return self.runs / "pretrain_text" / "demo"

    @property
    def _run(self) -> Path:
        return self.runs / "pretrain" / "m3ae"

    @property
    def _text_only(self) -> Path:
        return self.runs / "pretrain" / "m3ae_text_only"

    @property
    def _matching(self) -> Path:
        return self.runs / "matching" / "m3ae"

    @property
    def _questions(self) -> Path:
        return self.runs / "vqa" / "demo_m3ae"
