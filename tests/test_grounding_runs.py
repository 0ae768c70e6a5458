"""Grounding as a user runs it: from a run's folder and a data list, by the config alone."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml
from bright_model import BrightModel
from monai.bundle import ConfigWorkflow
from pretrained import PROJECTED, pretrained_run
from supervised_runs import edited_list, items_of, results_of
from torch.nn import functional as F
from workflows import CONFIGS, started

from bundle.data.datalist import write_datalist
from bundle.data.errors import DataError
from bundle.handlers.plain_errors import plain_cause
from bundle.inferers.grounding import GroundingModel
from bundle.inferers.map_sources import ProjectedPatches
from bundle.inferers.vision_language import VisionLanguageModel
from bundle.networks.weights.errors import WeightsError

SOURCES = "bundle.inferers.map_sources"
PROCESSING = "bundle.inferers.map_processing"
CONTROLS = ("", "_random", "_over_random", "_prior", "_moved")


@contextmanager
def grounding(
    run: Path | str, lists: Path, output: Path, values: Mapping[str, Any] | None = None, extra: tuple[str, ...] = ()
) -> Iterator[ConfigWorkflow]:
    given = {
        "pretrained": str(run),
        "dataset_dir": str(lists),
        "output_root": str(output),
        "device": "$torch.device('cpu')",
        "batch_size": 3,
        "resamples": 50,
        "pictures": 2,
    }
    with started(("evaluate_grounding", *extra), given | dict(values or {}), run_id="evaluating") as made:
        yield made


def evaluated(run: Path | str, lists: Path, output: Path, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The metrics that a whole evaluation writes."""
    with grounding(run, lists, output, values) as made:
        made.run()
    return {name: entry["value"] for name, entry in results_of(output / "grounding" / "grounding")["metrics"].items()}


@pytest.fixture(scope="module")
def run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained_run(phantom_store, tmp_path_factory.mktemp("runs"), PROJECTED)[0]


@pytest.fixture(scope="module")
def folder(run: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a whole evaluation leaves."""
    output = tmp_path_factory.mktemp("evaluated")
    with grounding(run, phantoms, output) as made:
        made.run()
    return output / "grounding" / "grounding"


def test_property_check_of_monai_finds_all(run: Path, phantoms: Path, tmp_path: Path) -> None:
    values = {"pretrained": str(run), "dataset_dir": str(phantoms), "output_root": str(tmp_path), "initialize": []}
    files = [str(CONFIGS / "evaluate_grounding.yaml")]
    made = ConfigWorkflow(files, logging_file=False, workflow_type="infer", run_id="evaluating", **values)
    made.initialize()
    assert made.check_properties() == []
    assert made.parser.get_parsed_content("evaluator") is made.evaluator


def test_results_have_one_schema_and_all_controls(folder: Path) -> None:
    results = results_of(folder)
    assert results["stage"] == "grounding"
    assert results["protocol"].startswith("ValuePatches, Plain, upsampling Bilinear, smoothing None, MaskTruth in ")
    metrics = results["metrics"]
    assert {f"pointing_game{control}" for control in CONTROLS} <= set(metrics)
    assert {"dice", "oracle_dice", "iou", "pixel_precision", "pixel_recall", "cnr", "pixel_ap", "miou"} <= set(metrics)
    assert 0 < metrics["pointing_game_random"]["low"] <= metrics["pointing_game_random"]["high"] < 1
    validation = results_of(folder / "validation")["metrics"]
    assert metrics["threshold"]["value"] == validation["oracle_threshold"]["value"]
    assert "dice" not in validation
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.yaml", "versions.json", "log.txt", "results.json", "pictures", "validation"}
    assert [path.name for path in (folder / "pictures").iterdir()] == ["epoch_0001.png"]


def test_figures_are_those_computed_from_the_network(run: Path, phantoms: Path, folder: Path) -> None:
    """Pointing, area and recall of every phrase, by numpy and OpenCV."""
    model = VisionLanguageModel.from_run(run, device="cpu")
    threshold = results_of(folder)["metrics"]["threshold"]["value"]
    hits, areas, recalls = [], [], []
    for item in json.loads((phantoms / "datalist.json").read_text())["test"]:
        image = (cv2.imread(str(phantoms / item["image"]), cv2.IMREAD_GRAYSCALE) / 255 - 0.449) / 0.226
        _, patches = model.network.encode_patches(torch.from_numpy(image[None, None]).float())
        for finding in item["truth"]:
            heat = F.normalize(patches[0].flatten(1), dim=0).T @ model.embed_texts([finding["phrase"]])[0]
            heat = cv2.resize(heat.view(patches.shape[2:]).numpy(), (64, 64), interpolation=cv2.INTER_LINEAR)
            shift = np.float32([[1, 0, model.cell_offset], [0, 1, model.cell_offset]])
            heat = cv2.warpAffine(heat, shift, (64, 64), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
            path = str(phantoms / item["finding_masks"][finding["name"]])
            mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE) > 0
            hits.append((mask & (heat >= heat.max() - 1e-6)).any())
            areas.append(mask.mean())
            recalls.append((heat[mask] > threshold).mean())
    metrics = results_of(folder)["metrics"]
    assert metrics["pointing_game"]["n"] == len(hits) > 3
    assert metrics["pointing_game"]["value"] == pytest.approx(np.mean(hits))
    assert metrics["pointing_game_random"]["value"] == pytest.approx(np.mean(areas))
    assert metrics["pixel_recall"]["value"] == pytest.approx(np.mean(recalls), abs=2e-3)


def test_neither_reports_nor_patients_are_left(folder: Path, phantoms: Path) -> None:
    datalist = json.loads((phantoms / "datalist.json").read_text())
    items = [*datalist["validation"], *datalist["test"]]
    private = [item[key] for item in items for key in ("patient", "findings", "impression")]
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [text for text in private if text.encode() in content] == [], path


OPTIONS: dict[str, dict[str, Any]] = {
    "proj": {"map_source::_target_": f"{SOURCES}.ProjectedPatches"},
    "gradcam": {"map_source::_target_": f"{SOURCES}.GradCam"},
    "contrast": {"query::_target_": f"{PROCESSING}.Contrast"},
    "smoothing": {"smoothing": {"_target_": f"{PROCESSING}.GaussianSmoothing", "sigma": 1.5}},
    "nearest": {"upsampling::_target_": f"{PROCESSING}.Nearest"},
    "original": {"eval_space::_target_": f"{PROCESSING}.OriginalImage"},
    "boxes": {"truth": {"_target_": "bundle.data.grounding_truth.BoxTruth"}},
    "one class": {"classes": ["pleural effusion"]},
}


@pytest.mark.parametrize("values", OPTIONS.values(), ids=OPTIONS)
def test_one_line_swaps_one_part(
    run: Path, phantoms: Path, folder: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    metrics = evaluated(run, phantoms, tmp_path, values)
    assert {"pointing_game", "pointing_game_prior", "oracle_dice", "dice"} <= set(metrics)
    before = {name: entry["value"] for name, entry in results_of(folder)["metrics"].items()}
    same = {name for name in metrics if metrics[name] == pytest.approx(before.get(name), abs=1e-9)}
    if "eval_space::_target_" in values:
        assert same == set(before), "these phantoms have the network's size"
    else:
        assert not {"pixel_ap", "cnr"} & same


@pytest.mark.parametrize("source", ["AttentionMap", "DecoderMap"])
def test_text_independent_maps_are_not_reported_as_grounding(
    run: Path, phantoms: Path, tmp_path: Path, source: str
) -> None:
    metrics = evaluated(run, phantoms, tmp_path, {"map_source::_target_": f"{SOURCES}.{source}"})
    assert "text_independent_pointing_game" in metrics
    assert [name for name in metrics if not name.startswith("text_independent_")] == []


def bright_lists(folder: Path) -> Path:
    """Radiographs of changing sizes in black borders, of which half have a bright square, where their masks are."""
    rng = np.random.default_rng(0)
    splits: dict[str, list[dict[str, Any]]] = {"validation": [], "test": []}
    for number in range(16):
        height, width, border = 64 + 16 * (number % 3), 128 - 16 * (number % 4), 8 * (number % 5)
        top, left = (int(rng.integers(0, side // 16)) * 16 for side in (height, width))
        pixels, mask = np.zeros((2, height + border, width + border), np.uint8)
        pixels[border:, border:] = 40
        pixels[-1, -1] = 41  # a picture of one value would be refused
        name = f"{number}.png"
        item: dict[str, Any] = {"id": name, "image": name, "patient": f"p{number}", "size": [*pixels.shape]}
        if number % 2:
            square = slice(border + top, border + top + 16), slice(border + left, border + left + 16)
            pixels[square], mask[square] = 200, 255
            cv2.imwrite(str(folder / f"mask{name}"), mask)
            item["mask"] = f"mask{name}"
        cv2.imwrite(str(folder / name), pixels)
        item |= {"label": [number % 2]}
        splits["validation" if number < 8 else "test"].append(item)
    header = {"name": "bright", "classes": ["square"], "prompts": {"square": {"pos": ["bright"], "neg": ["dark"]}}}
    write_datalist(folder / "datalist.json", header | splits)
    return folder


@pytest.mark.parametrize("space", ["FittedSquare", "OriginalImage"])
def test_model_that_sees_the_findings_hits_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: str
) -> None:
    """The padded and cropped sizes leave no pixel astray."""
    monkeypatch.setattr(VisionLanguageModel, "from_run", lambda *_: BrightModel(128))
    (tmp_path / "lists").mkdir()
    values = {
        "mask_key": "mask",
        "map_source::_target_": f"{SOURCES}.ProjectedPatches",
        "upsampling::_target_": f"{PROCESSING}.Nearest",
        "eval_space::_target_": f"{PROCESSING}.{space}",
    }
    metrics = evaluated("seeing", bright_lists(tmp_path / "lists"), tmp_path / "runs", values)
    assert metrics["pointing_game"] == 1
    assert metrics["pointing_game_prior"] < 1
    assert metrics["pixel_ap"] > 0.6  # patches that the square fills in part are less bright
    assert metrics["dice"] > 0.6
    assert "pointing_game_moved" not in metrics


def test_five_lines_of_python(run: Path, phantoms: Path) -> None:
    model = VisionLanguageModel.from_run(run, device="cpu")
    item = json.loads((phantoms / "datalist.json").read_text())["test"][0]
    (maps,) = GroundingModel(model, ProjectedPatches()).heat_maps(
        [phantoms / item["image"]], ["There is cardiomegaly.", "There is a left pneumothorax."]
    )
    assert maps.shape == (2, 64, 64)
    square, _ = model.load(phantoms / item["image"])
    patches, _ = model.patches(model.prepare(torch.from_numpy(square)[None, None]))
    expected = F.normalize(patches[0], dim=0)[:, 0, -1] @ model.embed_texts(["There is a left pneumothorax."])[0]
    assert maps[1, 0, -1] == pytest.approx(expected.item(), abs=1e-6)


def no_marks(datalist: dict[str, Any]) -> None:
    for item in items_of(datalist):
        for key in ("mask", "finding_masks", "boxes", "box_label"):
            item.pop(key, None)


def no_phrases(datalist: dict[str, Any]) -> None:
    datalist["prompts"] = {}
    for item in items_of(datalist):
        del item["truth"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (no_marks, r"none of the \d items of \w+ has a mask \('finding_masks' or 'rle'\) of a finding of the classes"),
        (no_phrases, r"there is no phrase for its '[\w ]+'; give the item a 'phrase', or its class 'prompts'"),
    ],
)
def test_lists_that_lack_something_are_refused(
    run: Path, phantoms: Path, tmp_path: Path, edit: Any, message: str
) -> None:
    lists = edited_list(phantoms, tmp_path / "lists", edit)
    with pytest.raises((DataError, RuntimeError)) as caught:
        evaluated(run, lists, tmp_path)
    cause = plain_cause(caught.value)
    assert isinstance(cause, DataError)
    assert re.search(message, str(cause))


def test_model_without_text_encoder_is_refused(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints", "pictures")))
    config = yaml.safe_load((copy / "config.yaml").read_text())
    del config["network_def"]["text_encoder"]
    (copy / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with pytest.raises(WeightsError, match=r"the network of this run has no text encoder; give a run of"):
        GroundingModel(VisionLanguageModel.from_run(copy))


def evaluate_together(rank: int, run: Path, lists: Path, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.set_num_threads(1)
    with grounding(run, lists, folder, extra=("multi_gpu",)) as made:
        made.run()


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_give_the_figures_of_one(run: Path, phantoms: Path, folder: Path, tmp_path: Path) -> None:
    mp.spawn(evaluate_together, (run, phantoms, tmp_path), nprocs=2)
    alone, together = results_of(folder)["metrics"], results_of(tmp_path / "grounding" / "grounding")["metrics"]
    assert together.keys() == alone.keys()
    for name, entry in alone.items():
        assert together[name] == pytest.approx(entry, abs=1e-4), name  # pixels that tie but for rounding
