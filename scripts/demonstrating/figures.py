"""The figures of the whole demo: gathered from its runs, and as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bundle.handlers.atomic import replacing

__all__ = ["ROWS", "gather", "table"]

ROWS = (
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
"""What the table shows: titles, and names of figures."""


def gather(runs: Path, evaluations: Iterable[Path], segmentations: Mapping[str, Path]) -> Path:
    """Write the figures of all steps into one file, in the schema of a run's results.

    Args:
        runs: folder of the runs; the file is `demo/results.json` in it.
        evaluations: folders of pre-training and of the evaluations, whose figures have names of their own.
        segmentations: folders of trainings by what they start from, which their `dice_pos` is named after.

    Returns:
        The file.
    """
    first, *others = [_results(folder) for folder in evaluations]
    metrics = {name: entry for results in (first, *others) for name, entry in results["metrics"].items()}
    metrics |= {f"dice_pos_{start}": _results(run)["metrics"]["dice_pos"] for start, run in segmentations.items()}
    path = runs / "demo" / "results.json"
    with replacing(path) as partial:
        content = first | {"stage": "demo", "metrics": metrics}
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def table(path: Path) -> str:
    """The figures of a gathered file that matter, with their intervals; a ratio to a prior of 0 has no value."""
    return "\n".join(_lines(json.loads(path.read_text(encoding="utf-8"))["metrics"]))


def _lines(metrics: Mapping[str, Mapping[str, float | None]]) -> Iterator[str]:
    yield f"\n{'held-out phantoms':38}{'value':>9}   95 % interval"
    for title, name in ROWS:
        entry = metrics.get(name, {"value": None})
        if entry["value"] is None:
            yield f"{title:38}{'-':>9}"
        else:
            interval = f"{entry['low']:.3g} to {entry['high']:.3g}" if entry["low"] is not None else ""
            yield f"{title:38}{entry['value']:9.3g}   {interval}"


def _results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text(encoding="utf-8"))
