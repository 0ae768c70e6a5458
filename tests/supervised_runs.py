"""The supervised stages from the bundle's own configs, small enough to train in a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from workflows import started

ENCODER = {
    "_target_": "bundle.networks.encoders.image_encoder.TimmEncoder",
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


UNDRAWN = {
    "train::trainer::train_handlers": "$[x for x in @train::handlers if type(x).__name__ != 'Curves']",
    "test::evaluator::val_handlers": "$[x for x in @test::handlers if not type(x).__name__.endswith('Pictures')]",
}
"""Values for a run without pictures, whose drawing takes longer than all the rest."""


@dataclass(frozen=True)
class Stage:
    """A supervised stage as a user composes it.

    Attributes:
        configs: files to merge.
        folder: of its runs, below the output root.
        key: its key metric.
        values: what makes its head small.
        scored: phantoms of the test list that the key metric looks at.
        exclusive: whether it needs a list with one class index an image.
    """

    configs: tuple[str, ...]
    folder: str
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    scored: int = 7
    exclusive: bool = False


NARROW_RETINA = {"task_network::width": 16}
NARROW_YOLO = {"task_network::widths": [16, 16, 16], "batch_size": 16}

STAGES = {
    "segmentation": Stage(("train",), "segmentation/segmentation", "dice_pos", scored=4),
    "classes": Stage(
        ("train",),
        "segmentation/segmentation",
        "dice_pos",
        {"mask_key": "finding_masks", "classes": "$list_classes(@datalist, 'segmentation')"},
        scored=4,
    ),
    "mgca": Stage(("train", "protocol_mgca"), "segmentation/segmentation", "dice_pos", scored=4),
    "medklip": Stage(("train", "protocol_medklip"), "segmentation/segmentation", "dice_pos", scored=4),
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


@contextmanager
def evaluated(
    run: Path, output: Path, values: Mapping[str, Any] | None = None, extra: tuple[str, ...] = ()
) -> Iterator[ConfigWorkflow]:
    """A workflow that evaluates the network of a run from the config that the run has left."""
    given = {"output_dir": str(output), **(values or {})}
    with started((str(run / "config"), "evaluate", *extra), given, run_id="evaluating") as made:
        yield made


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def edited_list(phantoms: Path, folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Folder with a copy of the phantoms' data list, changed by hand, which names the same images."""
    datalist = json.loads((phantoms / "datalist.json").read_text(encoding="utf-8"))
    for name in ("sha256", "numTraining", "numValidation", "numTest"):
        del datalist[name]
    datalist["image_root"] = str(phantoms)
    edit(datalist)
    folder.mkdir(exist_ok=True)
    (folder / "datalist.json").write_text(json.dumps(datalist), encoding="utf-8")
    return folder


def one_class_each(datalist: dict[str, Any]) -> None:
    """Turn the labels into class numbers: normal, or the first finding."""
    datalist["classes"] = ["normal", *datalist["classes"]]
    datalist["box_classes"] = datalist["classes"][1:]
    datalist["multilabel"] = False
    del datalist["prompts"]
    for item in items_of(datalist):
        item["label"] = item["label"].index(1) + 1 if 1 in item["label"] else 0


def many_to_test(datalist: dict[str, Any]) -> None:
    """Share out 30, 20 and 25 items, 28, 19 and 23 of them annotated; some labels and spacings are unknown."""
    items = items_of(datalist)
    for item in items:
        item.pop("subset", None)
    for item in items[4::3]:
        item["spacing"] = [0.5, 0.4]
    for item in items[1::5]:
        item["label"][0] = None
    for item in items[2::7]:
        item["label"][1] = -1
    for number in (5, 17, 33, 60, 71):
        for key in ("label", "mask", "finding_masks", "boxes", "box_label"):
            items[number].pop(key, None)
    del datalist["subsets"]
    datalist |= {"training": items[:30], "validation": items[30:50], "test": items[50:]}


def items_of(datalist: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [item for split in ("training", "validation", "test") for item in datalist[split]]
