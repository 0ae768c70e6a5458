"""The supervised stages from the bundle's own configs, small enough to train in a second."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from workflows import started

from bundle.data.datalist import read_datalist, write_datalist

ENCODER = {
    "_target_": "bundle.networks.image_encoder.TimmEncoder",
    "name": "@image_name",
    "weights": "@image_weights",
    "channels": [16, 32, 64, 128],
    "stem_type": "deep",
    "stem_width": 8,
    "out_indices": [0, 1, 2, 3],
}
"""A quarter of ResNet-18's widths; up to stride 16, a map of 4 x 4 at 64 px."""

SMALL: dict[str, Any] = {
    "image_name": "resnet18",
    "image_encoder": ENCODER,
    "decoder_channels": [32, 16, 8, 8],
    "image_size": 64,
    "batch_size": 16,
    "max_epochs": 1,
    "log_every": 1,
    "precision": "fp32",
    "device": "$torch.device('cpu')",
    "decoding_threads": 1,
    "test::results::resamples": 50,
}


@dataclass(frozen=True)
class Stage:
    """A supervised stage as a user composes it.

    Attributes:
        configs: files to merge.
        folder: of its runs, below the output root.
        key: its key metric.
        values: what makes its head small.
        exclusive: whether it needs a list with one class index an image.
    """

    configs: tuple[str, ...]
    folder: str
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    exclusive: bool = False


NARROW_RETINA = {"task_network::width": 16}
NARROW_YOLO = {"task_network::widths": [16, 16, 16], "batch_size": 16}

STAGES = {
    "segmentation": Stage(("train",), "segmentation/segmentation", "dice_pos"),
    "classes": Stage(
        ("train",),
        "segmentation/segmentation",
        "dice_pos",
        {"mask_key": "finding_masks", "classes": "$list_classes(@datalist, 'segmentation')"},
    ),
    "mgca": Stage(("train", "protocol_mgca"), "segmentation/segmentation", "dice_pos"),
    "medklip": Stage(("train", "protocol_medklip"), "segmentation/segmentation", "dice_pos"),
    "classification": Stage(("train", "train_classification"), "classification/classification", "auc_macro"),
    "multiclass": Stage(
        ("train", "train_classification", "multiclass"),
        "classification/classification",
        "accuracy",
        exclusive=True,
    ),
    "linear": Stage(("train", "train_classification", "linear"), "classification/classification", "auc_macro"),
    "linear_cached": Stage(
        ("train", "train_classification", "linear_cached"), "classification/classification", "auc_macro"
    ),
    "detection": Stage(("train", "train_detection"), "detection/detection", "map_40_75", NARROW_RETINA),
    "yolo": Stage(("train", "train_detection", "detection_yolo"), "detection/detection", "map_40_75", NARROW_YOLO),
}


@contextmanager
def supervised(
    stage: Stage, lists: Path, output: Path, values: Mapping[str, Any] | None = None, extra: tuple[str, ...] = ()
) -> Iterator[ConfigWorkflow]:
    """A workflow of a stage, initialised.

    Args:
        stage: what to run.
        lists: folder of the data list.
        output: what stands for `runs`.
        values: further overrides.
        extra: further configs, such as ("multi_gpu",).
    """
    given = {"dataset_dir": str(lists), "output_root": str(output), **SMALL, **stage.values, **(values or {})}
    with started((*stage.configs, *extra), given) as made:
        yield made


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def edited_list(phantoms: Path, folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Folder with a changed copy of the phantoms' data list, which names the same images."""
    datalist = copy.deepcopy(dict(read_datalist(phantoms / "datalist.json")))
    datalist["image_root"] = str(phantoms)
    edit(datalist)
    write_datalist(folder / "datalist.json", datalist)
    return folder


def one_class_each(datalist: dict[str, Any]) -> None:
    """Turn the labels into class numbers: normal, or the first finding."""
    datalist["classes"] = ["normal", *datalist["classes"]]
    datalist["multilabel"] = False
    del datalist["prompts"]
    for split in ("training", "validation", "test"):
        for item in datalist[split]:
            item["label"] = item["label"].index(1) + 1 if 1 in item["label"] else 0
            item.pop("box_label", None)
