"""Question answering and image-text classification from the bundle's own configs, small enough to train in seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervised_runs import Stage, edited_list, items_of
from workflows import NO_DROPOUT

VQA = ("train", "train_vqa")
IMAGE_TEXT = (*VQA, "train_image_text")

SIDES = ["none", "left", "right"]

TINY: dict[str, Any] = {
    "text_source": NO_DROPOUT["text_source"],
    "fusion::width": 16,
    "fusion::dropout": 0.0,
    "augment": None,
}
"""Values that make both networks small, without dropout."""


def stages(store: Path) -> dict[str, Stage]:
    """Both stages without start, with the tokenizer of a packed store."""
    values = {**TINY, "tokenizer": str(store / "tokenizer")}
    texts = {"text_keys": ["impression"], "max_length": 24}
    return {
        "vqa": Stage(VQA, "vqa/vqa", "vqa_accuracy_overall", values),
        "image_text": Stage(IMAGE_TEXT, "image_text/image_text", "accuracy", {**values, **texts}),
    }


def sided(datalist: dict[str, Any]) -> None:
    """Turn the labels into one class: the side of the first finding that has one."""
    datalist |= {"classes": SIDES, "multilabel": False, "box_classes": datalist["classes"]}
    del datalist["prompts"]
    for item in items_of(datalist):
        answers = [asked["answer"] for asked in item["questions"] if asked["question"].startswith("On which side")]
        item["label"] = SIDES.index(answers[0]) if answers else 0


def lists_of(stage: str, phantoms: Path, folder: Path) -> Path:
    """Folder of the data list that a stage can read."""
    return phantoms if stage == "vqa" else edited_list(phantoms, folder, sided)


def questions_of(datalist: Mapping[str, Any], split: str) -> list[dict[str, str]]:
    return [asked for item in datalist[split] for asked in item["questions"]]


def read_list(lists: Path) -> dict[str, Any]:
    return json.loads((lists / "datalist.json").read_text(encoding="utf-8"))
