"""M3AE's overlays: its ablations, its control without images, the published preset, and frozen image encoders."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from m3ae_runs import M3AE, SMALL
from monai.bundle import ConfigParser
from safetensors.torch import load_file
from supervised_runs import ENCODER, UNDRAWN, results_of
from torch import Tensor, nn
from workflows import CONFIGS, ONE_STEP, one_step, started, workflow

# ---------------------------------------------------------------------------------------------------------------------
# Ablations
# ---------------------------------------------------------------------------------------------------------------------
WITHOUT = {
    "without_masked_image": ("masked_image", "image_decoder", "masked_image_error", "pictures"),
    "without_masked_language": ("masked_language", "language_head", "masked_word_accuracy", "examples"),
}


@pytest.mark.parametrize("overlay", WITHOUT)
def test_ablation_leaves_one_loss_out(phantom_store: Path, tmp_path: Path, overlay: str) -> None:
    term, part, figure, folder = WITHOUT[overlay]
    with workflow(phantom_store, tmp_path, (*M3AE, overlay), {**SMALL, **ONE_STEP}) as made:
        assert made.check_properties() == []
        gradients = one_step(made)
        losses = made.parser.get_parsed_content("loss").last
        made.evaluator.run(1)
        figures = made.evaluator.state.metrics
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []
    assert [name for name in gradients if name.startswith(part)] == []
    assert set(losses) == {"masked_language", "masked_image", "matching"} - {term}
    assert figure not in figures
    assert {"matching_accuracy", "pretraining_score"} <= set(figures)
    left = {path.name for path in (tmp_path / "pretrain" / "m3ae").iterdir() if path.is_dir()}
    assert left & {"pictures", "examples"} == {"pictures", "examples"} - {folder}


# ---------------------------------------------------------------------------------------------------------------------
# Without images
# ---------------------------------------------------------------------------------------------------------------------
def outputs(made: Any, images: Tensor) -> dict[str, Tensor]:
    """What the network says of the reports of a training batch with some images, prepared as in training."""
    network = made.parser.get_parsed_content("network_def").eval()
    batch = made.parser.get_parsed_content("train::dataset").__getitems__(range(8))
    torch.manual_seed(0)
    image, _, _, text = made.parser.get_parsed_content("train::prepare_batch")({**batch, "image": images}, "cpu")
    with torch.no_grad():
        return network(image, **text)


@pytest.mark.parametrize("overlay", [(), ("baseline_text_only",)])
def test_outputs_of_the_control_do_not_depend_on_images(
    phantom_store: Path, tmp_path: Path, overlay: tuple[str, ...]
) -> None:
    noise = torch.randint(0, 256, (2, 8, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with workflow(phantom_store, tmp_path, (*M3AE, *overlay), SMALL) as made:
        first, second = (outputs(made, images) for images in noise)
    same = {name for name in first if torch.equal(first[name], second[name])}
    drawn = {"mlm_labels", "mim_mask", "matching_label"}
    assert same == (set(first) if overlay else drawn)


def test_control_sees_black_images_in_training_and_validation(phantom_store: Path, tmp_path: Path) -> None:
    values = {**SMALL, **ONE_STEP, "image_mean": 0.5, "image_std": 0.25}
    with workflow(phantom_store, tmp_path, (*M3AE, "baseline_text_only"), values) as made:
        batch = made.parser.get_parsed_content("train::dataset").__getitems__(range(8))
        assert batch["image"].float().std() > 10
        for stage in ("train", "validate"):
            image, target, _, text = made.parser.get_parsed_content(f"{stage}::prepare_batch")(batch, "cpu")
            assert torch.equal(image, torch.full((8, 1, 64, 64), -2.0))
            assert not target["image"].any()
            assert (text["masked_ids"] != text["input_ids"]).any()
        gradients = one_step(made)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


# ---------------------------------------------------------------------------------------------------------------------
# The published preset
# ---------------------------------------------------------------------------------------------------------------------
def test_paper_is_built_in_the_published_sizes(phantom_store: Path) -> None:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in ("pretrain", "method_m3ae", "preset_m3ae_paper")])
    roberta = {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}
    given = {"dataset_dir": str(phantom_store), "tokenizer": None, "image_channels": 3, "text_source": roberta}
    parser.update({**given, "device": torch.device("meta"), "optimizer::fused": False})
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
        groups = parser.get_parsed_content("optimizer").param_groups
    assert sum(p.numel() for p in network.parameters()) == 366_179_675 - 590_592  # without RoBERTa's unused pooler
    assert (network.patch_masking.share, network.image_step, network.fusion.steps) == (0.75, 3, 6)
    assert {module.p for module in network.fusion.modules() if isinstance(module, nn.Dropout)} == {0.1}
    named = {id(p): name for name, p in network.named_parameters()}
    found = {named[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(named)
    for name, (rate, decay) in found.items():
        slow = name.startswith(("image_encoder", "text_encoder", "fusion.modality"))
        assert rate == pytest.approx(1e-5 if slow else 5e-5), name
        assert decay == (0.0 if dict(network.named_parameters())[name].ndim < 2 else 0.01), name
    assert tuple(groups[0]["betas"]) == (0.9, 0.98)


def test_paper_has_the_published_recipe(phantom_store: Path) -> None:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in ("pretrain", "method_m3ae", "preset_m3ae_paper")])
    parser.update({"dataset_dir": str(phantom_store), "tokenizer": None})
    found = parser.get_parsed_content
    assert (found("crop_size"), found("max_length"), found("batch_size"), found("warmup_share")) == (288, 64, 32, 0.1)
    assert 0 <= found("total_steps") - 100_000 < len(found("train::sampler"))
    assert found("max_gradient_norm") is None
    assert found("mask_tokens").share == 0.15
    image = torch.rand(2, 1, 300, 300)
    cut, _ = found("augment")(image, image > 0)
    assert torch.equal(cut, image[..., 6:294, 6:294])


# ---------------------------------------------------------------------------------------------------------------------
# Frozen image encoders
# ---------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Frozen:
    """A frozen image encoder.

    Attributes:
        overlay: its config.
        size: side of the images in px.
        values: overrides that make it small, in every stage.
        transformer: sizes of what is trained on top of it.
    """

    overlay: str
    size: int
    values: dict[str, Any]
    transformer: dict[str, Any]


TOP = {"width": 16, "depth": 1, "heads": 2, "mlp": 32}
TINY_DINO = {
    "_target_": "bundle.networks.encoders.frozen_image.TimmTokens",
    "name": "@image_name",
    "weights": "@image_weights",
    "embed_dim": 24,
    "depth": 1,
    "num_heads": 2,
}
FROZEN = {
    "resnet50": Frozen("encoder_resnet50", 64, {"image_encoder": ENCODER}, {"image_size": 64, "patch_size": 16, **TOP}),
    "dinov2": Frozen(
        "encoder_dinov2_s14", 56, {"frozen_image": TINY_DINO}, {"image_size": 56, "patch_size": 14, **TOP}
    ),
}


@pytest.fixture(scope="module", params=FROZEN)
def frozen(request: pytest.FixtureRequest) -> Frozen:
    return FROZEN[request.param]


@pytest.fixture(scope="module")
def trained(frozen: Frozen, phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A run on a frozen encoder, and its network as it was before."""
    output = tmp_path_factory.mktemp("frozen")
    names = ("pretrain", "method_m3ae", "frozen_m3ae", frozen.overlay)
    given = {**SMALL, **frozen.values, "crop_size": frozen.size, "vision_transformer": frozen.transformer}
    with workflow(phantom_store, output, names, given) as made:
        before = copy.deepcopy(made.parser.get_parsed_content("network_def"))
        made.run()
    return output / "pretrain" / "m3ae", before


@pytest.mark.slow
def test_frozen_encoder_stays(trained: tuple[Path, nn.Module]) -> None:
    run, network = trained
    before, after = network.state_dict(), load_file(run / "models" / "model.safetensors")
    assert before.keys() == after.keys()
    kept = {name for name in after if torch.equal(before[name], after[name])}
    assert {name for name in after if name.startswith("image_encoder.frozen.")} <= kept
    moved = {name.split(".")[1] for name in after.keys() - kept if name.startswith("image_encoder.")}
    assert moved == {"project", "positions", "blocks", "norm"}


@pytest.mark.slow
def test_run_on_a_frozen_encoder_is_evaluated_by_matching(
    trained: tuple[Path, nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    given = {"pretrained": str(trained[0]), "dataset_dir": str(phantom_store), "output_root": str(tmp_path)}
    given |= {"device": "$torch.device('cpu')", "resamples": 20}
    with started(("evaluate_matching",), given, run_id="evaluating") as made:
        made.run()
    metrics = results_of(tmp_path / "matching" / "matching")["metrics"]
    assert metrics["retrieval_pool_image_to_text"]["value"] == 7
    assert 0 <= metrics["retrieval_r5_image_to_text"]["value"] <= 1


@pytest.mark.slow
def test_run_on_a_frozen_encoder_is_taken_on_to_questions(
    frozen: Frozen, trained: tuple[Path, nn.Module], phantoms: Path, tmp_path: Path
) -> None:
    weights = trained[0] / "models" / "model.safetensors"
    given = {"dataset_dir": str(phantoms), "output_root": str(tmp_path), "start": str(weights), "name": "run"}
    given |= {"device": "$torch.device('cpu')", "precision": "fp32", "log_every": 1, "decoding_threads": 1}
    given |= {"max_epochs": 1, "fraction": 10, "test::results::resamples": 20, **UNDRAWN, **frozen.values}
    names = ("train", "train_vqa", "fusion_m3ae", "fusion_frozen_m3ae", frozen.overlay)
    with started(names, given) as made:
        assert made.check_properties() == []
        made.parser.get_parsed_content("started")
        begin = copy.deepcopy(made.parser.get_parsed_content("network_def").state_dict())
        made.run()
    source, after = load_file(weights), load_file(tmp_path / "vqa" / "run" / "models" / "best.safetensors")
    taken = [name for name in begin if name.split(".")[0] in ("image_encoder", "text_encoder", "fusion")]
    assert [name for name in taken if not torch.equal(begin[name], source[name])] == []
    moved = [name for name in taken if not torch.equal(after[name], source[name])]
    assert [name for name in moved if name.startswith("image_encoder.frozen.")] == []
    assert {name.split(".")[0] for name in moved} == {"image_encoder", "text_encoder", "fusion"}
    assert "vqa_accuracy_overall_question_only" in results_of(tmp_path / "vqa" / "run")["metrics"]
