"""The configs as a whole: each is found, complete for MONAI's tools, and runs; single lines swap single parts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from safetensors.torch import load_file
from workflows import CONFIGS, ONE_STEP, TINY_TEXT, one_step, workflow

STAGES = {
    "pretrain": {"run", "training", "train::trainer", "validate::evaluator", "loss", "network"},
    "train": {"run", "training", "train::trainer", "validate::evaluator", "loss", "network"},
    "evaluate_zero_shot": {"evaluating", "evaluator", "model"},
    "evaluate_grounding": {"evaluating", "evaluator", "model"},
    "evaluate_retrieval": {"evaluating", "evaluator", "model"},
    "evaluate_matching": {"evaluating", "evaluator", "model"},
}
"""Configs that run by themselves, and ids that each has."""

ADAPTOR = ("pretrain", "method_adaptor")
ADAPTED = ("train", "train_classification", "adapted_classification")
FROZEN_M3AE = ("pretrain", "method_m3ae", "frozen_m3ae")
VQA = ("train", "train_vqa")
IMAGE_TEXT = (*VQA, "train_image_text")

BASES: dict[str, list[tuple[str, ...]]] = {
    "multi_gpu": [("pretrain",), ("train",)],
    "train_classification": [("train",)],
    "multiclass": [("train", "train_classification")],
    "train_detection": [("train",)],
    "detection_yolo": [("train", "train_detection")],
    "linear": [("train",), ("train", "train_classification"), ("train", "train_detection")],
    "linear_cached": [("train", "train_classification"), ("train", "train_classification", "multiclass")],
    "demo_segmentation": [("train", "demo")],
    "lungs": [("train",)],
    "train_matching": [("pretrain", "method_m3ae")],
    "evaluate_zero_shot_multiclass": [("evaluate_zero_shot",)],
    "evaluate": [("train",), ("train", "train_classification"), ("train", "train_detection"), VQA, IMAGE_TEXT],
    "train_vqa": [("train",)],
    "train_image_text": [VQA],
    "fusion_m3ae": [VQA, IMAGE_TEXT],
    "fusion_frozen_m3ae": [(*VQA, "fusion_m3ae"), (*IMAGE_TEXT, "fusion_m3ae")],
    **{
        name: [("pretrain", "method_m3ae")]
        for name in (
            "aligned_m3ae",
            "preset_m3ae_paper",
            "frozen_m3ae",
            "baseline_text_only",
            "without_masked_image",
            "without_masked_language",
        )
    },
    "demo_vqa": [(*VQA, "demo"), (*VQA, "fusion_m3ae", "fusion_frozen_m3ae", "encoder_resnet50", "demo")],
    "demo_text": [("pretrain", "pretrain_text", "demo")],
    "demo_m3ae": [(*FROZEN_M3AE, "encoder_resnet50", "aligned_m3ae", "demo")],
    "adapted_vqa": [VQA, IMAGE_TEXT],
    **{f"protocol_{name}": [(*VQA, "fusion_m3ae")] for name in ("vqa_rad", "slake", "vqa_med_2019")},
    "protocol_melinda": [(*IMAGE_TEXT, "fusion_m3ae")],
    **{f"init_{start}": [("train",)] for start in ("random", "imagenet", "encoder", "encoder_decoder")},
    **{f"fraction_{percent}": [("train",)] for percent in (1, 10, 100)},
    **{f"protocol_{name}": [("train",)] for name in ("mgca", "medklip")},
    **{path.stem: [("pretrain",), ("train",)] for path in CONFIGS.glob("backbone_*.yaml")},
    **{
        f"encoder_{name}": [ADAPTOR, ADAPTED, FROZEN_M3AE]
        for name in ("dinov2_s14", "dinov2_b14", "rad_dino", "resnet50")
    },
    "encoder_autoencoder": [
        ADAPTOR,
        ADAPTED,
        FROZEN_M3AE,
        ("train", "adapted_segmentation", "adapted_segmentation_autoencoder"),
    ],
    **{f"adaptor_{name}": [ADAPTOR] for name in ("tokens", "from_images")},
    "demo_adaptor": [(*ADAPTOR, "demo")],
    "demo_adapted": [
        ("train", "train_classification", "linear_cached", "adapted_classification", "adapted_cached", "demo")
    ],
    "adapted_classification": [("train", "train_classification")],
    "adapted_cached": [("train", "train_classification", "linear_cached", "adapted_classification")],
    "head_linear": [ADAPTED],
    "adapted_segmentation": [("train",)],
    "annotate": [("train",)],
    **{f"adapted_segmentation_{name}": [("train", "adapted_segmentation")] for name in ("autoencoder", "unet")},
    "adapted_tokens": [ADAPTED, ("train", "adapted_segmentation")],
    **{f"baseline_{name}": [ADAPTED, ("train", "adapted_segmentation")] for name in ("no_adaptor", "random_adaptor")},
    "baseline_projection": [ADAPTOR, ADAPTED, ("train", "adapted_segmentation")],
}
"""What each overlay is merged onto; of those that aren't here it is pretrain.yaml."""

OVERLAYS = [
    (base, path.stem)
    for path in sorted(CONFIGS.glob("*.yaml"))
    if path.stem not in STAGES
    for base in BASES.get(path.stem, [("pretrain",)])
]

DEMO = ("pretrain", "demo")


def merged(*names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in names])
    return parser


@pytest.mark.parametrize(("base", "overlay"), OVERLAYS, ids=["+".join((*base, name)) for base, name in OVERLAYS])
def test_overlay_fits_its_base(base: tuple[str, ...], overlay: str) -> None:
    text = (CONFIGS / f"{overlay}.yaml").read_text(encoding="utf-8")
    known = merged(*base)
    new = {key.split("::")[0] for key in yaml.safe_load(text) if key.lstrip("+").split("::")[0] not in known}
    strangers = {key for key in new if f"@{key}" not in text} - {"evaluating"}  # which is run by its name
    assert strangers == set(), "a key that the base lacks and nothing asks for changes nothing"
    both = merged(*base, overlay)
    both.parse()
    assert set(both.ref_resolver.items) > STAGES[base[0]] | {"initialize", "finalize"}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_has_its_ids(stage: str) -> None:
    alone = merged(stage)
    alone.parse()
    assert set(alone.ref_resolver.items) > STAGES[stage] | {"initialize", "finalize"}


def test_every_overlay_with_a_base_exists() -> None:
    assert [name for name in BASES if not (CONFIGS / f"{name}.yaml").is_file()] == []


@pytest.mark.parametrize("overlays", [(), ("demo",), ("preset_paper",), ("preset_released",), ("demo", "text_tiny")])
def test_property_check_finds_all(phantom_store: Path, tmp_path: Path, overlays: tuple[str, ...]) -> None:
    values = TINY_TEXT if overlays and overlays[0].startswith("preset") else {}
    with workflow(phantom_store, tmp_path, ("pretrain", *overlays), values) as made:
        assert made.check_properties() == []
        assert made.parser.get_parsed_content("train::trainer") is made.trainer
        assert made.val_interval == 1


@pytest.fixture(scope="module")
def run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ConfigWorkflow, Path]:
    """A whole run of one epoch, seven steps, of which the decoder takes part in the last four."""
    output = tmp_path_factory.mktemp("runs")
    with workflow(phantom_store, output, DEMO, {"pa_start_step": 3, "thin_reports": None}) as made:
        made.run()
    return made, output / "pretrain" / "demo"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_run_records_every_step_and_validation(run: tuple[ConfigWorkflow, Path]) -> None:
    _, folder = run
    losses = lines(folder / "losses.jsonl")
    assert [line["iteration"] for line in losses] == list(range(1, 8))
    assert ["pseudo_segmentation" in line for line in losses] == [False] * 3 + [True] * 4
    for line in losses:
        terms = [line["contrastive"], line.get("pseudo_segmentation", 0.0)]
        assert line["loss"] == pytest.approx(sum(terms), rel=1e-6)
    (validation,) = lines(folder / "metrics.jsonl")
    assert validation["iteration"] == 7
    assert {"retrieval_r5_text_to_image", "validation_loss", "collapse_image", "decoder_mask_dice"} <= set(validation)
    (epoch,) = [line for line in lines(folder / "training.jsonl") if line["epoch"] == 1]
    assert epoch["loss"] == losses[-1]["loss"]


def test_run_leaves_results_with_intervals(run: tuple[ConfigWorkflow, Path], phantom_store: Path) -> None:
    _, folder = run
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    manifest = json.loads((phantom_store / "manifest.json").read_text(encoding="utf-8"))
    assert results["stage"] == "pretraining"
    assert results["list_sha256"] == manifest["list"]["sha256"]
    assert results["seeds"] == [0]
    recall = results["metrics"]["retrieval_r5_image_to_text"]
    assert recall["low"] <= recall["value"] <= recall["high"]
    assert recall["value"] == lines(folder / "metrics.jsonl")[0]["retrieval_r5_image_to_text"]


def test_run_saves_its_networks_with_cards(run: tuple[ConfigWorkflow, Path]) -> None:
    made, folder = run
    network = made.parser.get_parsed_content("network_def")
    parts = {"encoder": ("image_encoder",), "encoder_decoder": ("image_encoder", "decoder"), "model": ("",)}
    for name, prefixes in parts.items():
        saved = load_file(folder / "models" / f"{name}.safetensors")
        expected = {key: value for key, value in network.state_dict().items() if key.startswith(prefixes)}
        assert saved.keys() == expected.keys()
        assert all(torch.equal(saved[key], value) for key, value in expected.items())
        card = json.loads((folder / "models" / f"{name}.json").read_text(encoding="utf-8"))
        assert card["part"] == name
        assert card["iterations"] == 7
        facts = {"method": "g2d", "preset": "default", "image_encoder": "resnet18", "image_size": 64}
        assert {key: card[key] for key in facts} == facts
        assert (card["image_mean"], card["image_std"]) == (0.449, 0.226)


def test_config_of_a_run_runs_again(run: tuple[ConfigWorkflow, Path], phantom_store: Path, tmp_path: Path) -> None:
    _, folder = run
    left = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert left["batch_size"] == 8
    assert left["dataset_dir"] == str(phantom_store)
    assert left["thin_reports"] is None
    (tmp_path / "pretrain.yaml").write_text((folder / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    with workflow(phantom_store, tmp_path, (str(tmp_path / "pretrain"),)) as made:
        made.run()
    again = tmp_path / "pretrain" / "demo" / "losses.jsonl"
    assert again.read_bytes() == (folder / "losses.jsonl").read_bytes()


def test_run_of_alignment_alone(phantom_store: Path, tmp_path: Path) -> None:
    """A start beyond the last step leaves the decoder out: it is neither scored nor trained."""
    with workflow(phantom_store, tmp_path, DEMO, {"pa_start_step": 10**9, "weight_decay": 0.0}) as made:
        decoder = made.parser.get_parsed_content("network_def").decoder
        before = [parameter.clone() for parameter in decoder.parameters()]
        made.run()
    assert all(torch.equal(old, new) for old, new in zip(before, decoder.parameters(), strict=True))
    losses = lines(tmp_path / "pretrain" / "demo" / "losses.jsonl")
    assert all(set(line) == {"iteration", "loss", "contrastive", "gradient_norm"} for line in losses)


def test_neither_reports_nor_patients_are_left_by_a_run(run: tuple[ConfigWorkflow, Path], phantoms: Path) -> None:
    _, folder = run
    datalist = json.loads((phantoms / "datalist.json").read_text(encoding="utf-8"))
    item = datalist["validation"][0]
    private = [item["patient"], *(item[key].split(".")[0] for key in ("text", "findings", "impression") if key in item)]
    assert len(private) >= 2
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [word for word in private if len(word) > 3 and word.encode() in content] == [], path


ATTENTION = "bundle.networks.blocks.attention_pool.AttentionPool"
MASKS = "bundle.transforms.pseudo_mask"
LINES: dict[str, dict[str, Any]] = {
    "pooling of projected values": {"network_def#pool#_target_": ATTENTION},
    "output stride 16": {"image_encoder#output_stride": 16},
    "bilinear area": {"pseudo_mask#area": {"_target_": f"{MASKS}.BilinearQuantileArea", "quantile": 0.85}},
    "guided edges": {"pseudo_mask#edges": {"_target_": f"{MASKS}.GuidedEdges"}},
    "hard mask": {"pseudo_mask#rebinarize": 0.5},
    "mean pooling": {"text_pooling": "mean"},
    "layer norm": {"network_def#text_projection#norm": "layer"},
    "bf16": {"precision": "bf16"},
    "thin reports": {"thin_reports": {"_target_": "bundle.transforms.sentence_subset.SentenceSubset", "p": 0.5}},
    "one study": {"loss#terms#contrastive#exclude_same": "study_id"},
    "other weights": {"loss#weights": {"contrastive": 0.5, "pseudo_segmentation": 2.0}},
}


@pytest.mark.parametrize("values", LINES.values(), ids=LINES.keys())
def test_one_line_swaps_one_part(phantom_store: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    with workflow(phantom_store, tmp_path, ("pretrain", "backbone_resnet18", "text_tiny"), values | ONE_STEP) as made:
        gradients = one_step(made)
        loss = made.trainer.state.output["loss"].item()
    assert math.isfinite(loss)
    assert [name for name, gradient in gradients.items() if gradient is None] == []
