"""G2D: findings without labels, what phrases point at, and segmentation with ten labels."""

from __future__ import annotations

from pathlib import Path

from scripts.demonstrating.demonstration import Demonstration, Step
from scripts.demonstrating.figures import gather

__all__ = ["G2D"]

STARTS = ("random", "encoder", "encoder_decoder")
LABELS = 10
POINTED_AT = ["consolidation", "pleural effusion", "pneumothorax", "nodule"]
"""The findings that grounding is asked for: an enlarged heart is always in one place, so its map proves nothing."""


class G2D(Demonstration):
    """What `make demo` shows."""

    rows = (
        ("image to report, recall at 5", "retrieval_r5_image_to_text"),
        ("report to image, recall at 5", "retrieval_r5_text_to_image"),
        ("  the first, over chance", "retrieval_r5_image_to_text_over_chance"),
        ("  the second, over chance", "retrieval_r5_text_to_image_over_chance"),
        ("decoder against pseudo mask, Dice", "decoder_mask_dice"),
        ("zero-shot AUC, mean of findings", "zero_shot_auc_macro"),
        ("  consolidation", "zero_shot_auc_consolidation"),
        ("  pleural effusion", "zero_shot_auc_pleural_effusion"),
        ("  pneumothorax", "zero_shot_auc_pneumothorax"),
        ("  nodule", "zero_shot_auc_nodule"),
        ("  cardiomegaly", "zero_shot_auc_cardiomegaly"),
        ("  left or right, AUC", "side_auc"),
        ("  control: labels shuffled", "zero_shot_auc_macro_shuffled"),
        ("  control: blank image", "zero_shot_auc_macro_blank_image"),
        ("pointing game, no cardiomegaly", "pointing_game"),
        ("  a random pixel", "pointing_game_random"),
        ("  same phrase, normal image (prior)", "pointing_game_prior"),
        ("  over the random pixel", "pointing_game_over_random"),
        ("  over the prior", "pointing_game_over_prior"),
        ("10 labels, Dice: from random weights", "dice_pos_random"),
        ("  from the encoder", "dice_pos_encoder"),
        ("  from encoder and decoder", "dice_pos_encoder_decoder"),
    )

    def commands(self) -> list[Step]:
        """See `Demonstration.commands`."""
        datalist, few = self.data / "datalist.json", self.data / f"{LABELS}_labels" / "datalist.json"
        subset = ["scripts.subset", str(datalist), "--out", str(few), "--count", str(LABELS)]
        return [
            *self.pairs(),
            self.pretraining(),
            self._unlabelled("zero_shot", "--prompts", "configs/prompts/phantom.json"),
            self._unlabelled("grounding", "--classes", str(POINTED_AT)),
            (["python", "-m", *subset, "--annotated", "mask", "--positive"], few),
            *(self._segmentation(few.parent, start) for start in STARTS),
        ]

    def gather(self) -> Path:
        """See `Demonstration.gather`."""
        evaluations = [self.g2d, self.runs / "zero_shot" / "demo", self.runs / "grounding" / "demo"]
        renamed = {f"dice_pos_{start}": (self._segmented(start), "dice_pos") for start in STARTS}
        return gather(self.runs / "demo" / "results.json", evaluations, renamed)

    def pictures(self) -> dict[str, Path]:
        """See `Demonstration.pictures`."""
        return {
            "Curves": self.g2d / "curves.png",
            "Attention, pseudo mask, decoder": self.g2d / "pictures",
            "What phrases point at": self.runs / "grounding" / "demo" / "pictures",
            "Ten labels": self._segmented("encoder_decoder") / "pictures",
        }

    def _unlabelled(self, stage: str, *options: str) -> Step:
        return self.evaluation(stage, self.runs / stage / "demo", self.g2d, self.data, *options)

    def _segmentation(self, listed: Path, start: str) -> Step:
        """Ten labels, from random weights or from those that pre-training has left under the name of the start."""
        configs = ("train", "demo", "demo_segmentation", f"init_{start}")
        weights = [] if start == "random" else ["--start", str(self.g2d / "models" / f"{start}.safetensors")]
        return self.training(configs, self._segmented(start), listed, self.steps, *weights)

    def _segmented(self, start: str) -> Path:
        return self.runs / "segmentation" / f"demo_{start}"
