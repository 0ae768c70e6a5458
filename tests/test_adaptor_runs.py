"""Adaptor as a user runs it: features cached, a small module trained on them, and the run used as any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from adaptor_runs import adaptor_workflow, cached
from monai.bundle import ConfigWorkflow
from pretrained import pretrained_run
from safetensors.torch import load_file
from workflows import CONFIGS, ONE_STEP, one_step, started

from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from bundle.data.pair_features import PairFeatures
from bundle.handlers.plain_errors import plain_cause
from bundle.inferers.vision_language import VisionLanguageModel


@pytest.fixture(scope="module")
def encoders(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-training run whose encoders are taken."""
    return pretrained_run(phantom_store, tmp_path_factory.mktemp("encoders"))[0]


@pytest.fixture(scope="module")
def cache(phantom_store: Path, encoders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached(phantom_store, encoders, tmp_path_factory.mktemp("caches") / "pooled")


@pytest.fixture(scope="module")
def run(cache: Path, encoders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ConfigWorkflow, Path]:
    """A whole training of eight epochs."""
    output = tmp_path_factory.mktemp("runs")
    with adaptor_workflow(cache, encoders, output, {"max_epochs": 8, "val_interval": 4}) as made:
        assert made.check_properties() == []
        made.run()
    return made, output / "pretrain" / "adaptor"


def test_training_learns_and_leaves_retrieval_with_intervals(run: tuple[ConfigWorkflow, Path]) -> None:
    folder = run[1]
    losses = [json.loads(line)["contrastive"] for line in (folder / "losses.jsonl").read_text().splitlines()]
    assert len(losses) == 8 * 7
    assert sum(losses[-7:]) < 0.95 * sum(losses[:7])
    results = json.loads((folder / "results.json").read_text())
    recall = results["metrics"]["retrieval_r5_image_to_text"]
    assert recall["low"] <= recall["value"] <= recall["high"]
    assert (
        results["list_sha256"] == PairFeatures(run[0].parser.get("dataset_dir"), "training").manifest["list"]["sha256"]
    )
    assert not any(name.startswith("decoder") for name in results["metrics"])


def test_only_the_adaptor_is_trained_and_all_is_saved(run: tuple[ConfigWorkflow, Path], encoders: Path) -> None:
    made, folder = run
    trained = {id(p) for group in made.parser.get_parsed_content("optimizer").param_groups for p in group["params"]}
    assert trained == {id(p) for p in made.parser.get_parsed_content("adaptor").parameters()}
    saved, start = load_file(folder / "models" / "model.safetensors"), encoders / "models" / "encoder.safetensors"
    for name, tensor in load_file(start).items():
        assert torch.equal(saved[name.replace("image_encoder.", "image_encoder.encoder.")], tensor), name
    small = load_file(folder / "models" / "adaptor.safetensors")
    assert small
    assert all(name.startswith("adaptor.") for name in small)
    assert saved["adaptor.logit_scale"] != torch.tensor(2.6592)
    card = json.loads((folder / "models" / "model.json").read_text())
    assert (card["method"], card["preset"], card["width"]) == ("adaptor", "paper", 32)
    assert card["encoders"]["text"]["width"] == 32


def test_nothing_of_the_decoder_is_left_in_the_handlers(run: tuple[ConfigWorkflow, Path]) -> None:
    """They are disabled by their place in the lists of pretrain.yaml."""
    parser = run[0].parser
    names = {
        type(one).__name__ for key in ("train", "validate") for one in parser.get_parsed_content(f"{key}::handlers")
    }
    assert {"SamplerPosition", "LossTerms", "SaveNetworks", "TensorBoardStatsHandler"} <= names
    assert not names & {"DelayedDecoder", "Pictures"}


def test_the_run_embeds_as_the_adaptor_does_on_cached_features(
    run: tuple[ConfigWorkflow, Path], cache: Path, phantom_store: Path
) -> None:
    model = VisionLanguageModel.from_run(run[1], device="cpu", precision="fp32")
    adaptor = run[0].parser.get_parsed_content("adaptor").eval()
    features = PairFeatures(cache, "validation").__getitems__(range(8))
    with torch.no_grad():
        expected = adaptor(features["image_features"].float(), features["text_features"].float())
    batch = PackedDataset(phantom_store, "validation").__getitems__(range(8))
    order = batch["index"]
    image = model.embed_images(batch["image"])
    torch.testing.assert_close(image, expected["image_embedding"][order], atol=5e-3, rtol=0)
    text = model.network.encode_text(batch["input_ids"], batch["attention_mask"], batch["lengths"])
    torch.testing.assert_close(text, expected["text_embedding"][order], atol=5e-3, rtol=0)


def test_zero_shot_and_retrieval_work_on_the_run(
    run: tuple[ConfigWorkflow, Path], phantoms: Path, phantom_store: Path, tmp_path: Path
) -> None:
    given = {
        "pretrained": str(run[1]),
        "output_root": str(tmp_path),
        "device": "$torch.device('cpu')",
        "batch_size": 4,
        "resamples": 20,
    }
    prompts = {"prompts": str(CONFIGS / "prompts" / "phantom.json"), "dataset_dir": str(phantoms)}
    with started(("evaluate_zero_shot",), given | prompts, run_id="evaluating") as made:
        made.run()
    metrics = json.loads((tmp_path / "zero_shot" / "zero_shot" / "results.json").read_text())["metrics"]
    assert 0 <= metrics["zero_shot_auc_macro"]["value"] <= 1
    with started(("evaluate_retrieval",), given | {"dataset_dir": str(phantom_store)}, run_id="evaluating") as made:
        made.run()
    assert (
        "retrieval_r5_image_to_text"
        in json.loads((tmp_path / "retrieval/retrieval/results.json").read_text())["metrics"]
    )


def test_the_run_needs_neither_cache_nor_encoders_any_more(run: tuple[ConfigWorkflow, Path], tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    (folder / "models").mkdir(parents=True)
    config = yaml.safe_load((run[1] / "config.yaml").read_text())
    config |= {"dataset_dir": "gone", "encoders_of": "gone"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for path in (run[1] / "models").iterdir():
        (folder / "models" / path.name).symlink_to(path)
    model = VisionLanguageModel.from_run(folder, device="cpu", precision="fp32")
    assert model.embed_texts(["The lungs are clear."]).shape == (1, 32)


def test_a_longer_run_goes_on_from_its_checkpoint(cache: Path, encoders: Path, tmp_path: Path) -> None:
    for epochs in (2, 3):
        with adaptor_workflow(cache, encoders, tmp_path, {"max_epochs": epochs}) as made:
            made.run()
    losses = (tmp_path / "pretrain" / "adaptor" / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in losses] == list(range(1, 22))
    assert "resumed from" in (tmp_path / "pretrain" / "adaptor" / "log.txt").read_text()


def test_a_cache_of_other_encoders_is_refused(cache: Path, encoders: Path, phantom_store: Path, tmp_path: Path) -> None:
    other = pretrained_run(phantom_store, tmp_path / "other", {"seed": 1})[0]
    with (
        pytest.raises((DataError, RuntimeError)) as caught,
        adaptor_workflow(cache, other, tmp_path, {"image_mean": 0.5}) as made,
    ):
        made.run()
    cause = plain_cause(caught.value)
    assert isinstance(cause, DataError)
    assert "was cached with other encoders or settings: encoders.image.weights: store has" in str(cause)
    assert "encoders.text.weights: store has" in str(cause)
    assert "preprocessing.mean: store has 0.449, expected 0.5" in str(cause)


def test_projection_alone_is_a_baseline(cache: Path, encoders: Path, tmp_path: Path) -> None:
    with adaptor_workflow(cache, encoders, tmp_path, ONE_STEP, extra=("baseline_projection",)) as made:
        gradients = one_step(made)
    assert set(gradients) == {"image_projection.weight", "text_projection.weight", "logit_scale"}


def test_tokens_are_matched(phantom_store: Path, encoders: Path, cache: Path, tmp_path: Path) -> None:
    tokens = cached(phantom_store, encoders, tmp_path / "tokens", "--tokens")
    with adaptor_workflow(tokens, encoders, tmp_path, ONE_STEP, extra=("adaptor_tokens",)) as made:
        gradients = one_step(made)
        terms = made.parser.get_parsed_content("loss").last
    assert set(terms) == {"contrastive", "matching"}
    assert all(bool(gradient.any()) for name, gradient in gradients.items() if "attention.in_proj_weight" in name)
    with (
        pytest.raises((DataError, RuntimeError)) as caught,
        adaptor_workflow(cache, encoders, tmp_path, ONE_STEP, extra=("adaptor_tokens",)) as made,
    ):
        made.run()
    assert 'content: store has "pooled", expected "tokens"' in str(plain_cause(caught.value))


def test_tokens_are_matched_from_images_too(phantom_store: Path, encoders: Path, tmp_path: Path) -> None:
    """The network is told which reports are equal: without a negative among equal ones there is nothing to judge."""
    extra = ("adaptor_tokens", "adaptor_from_images")
    with adaptor_workflow(phantom_store, encoders, tmp_path, ONE_STEP | {"tokenizer": None}, extra=extra) as made:
        dataset = made.parser.get_parsed_content("train::dataset")
        dataset.items["text_id"][:] = 5
        made.run()
        label = made.trainer.state.output["pred"]["matching_label"]
    assert label[:8].tolist() == [1.0] * 8
    assert label[8:].isnan().all()


def test_augmented_images_train_it_without_a_cache(phantom_store: Path, encoders: Path, tmp_path: Path) -> None:
    values = ONE_STEP | {"tokenizer": None}
    with adaptor_workflow(phantom_store, encoders, tmp_path, values, extra=("adaptor_from_images",)) as made:
        network = made.parser.get_parsed_content("network")
        statistics = {name: b.clone() for name, b in network.named_buffers()}
        gradients = one_step(made)
    assert gradients
    assert all(name.startswith("adaptor.") for name in gradients)
    assert all(gradient is not None for gradient in gradients.values())
    assert all(torch.equal(statistics[name], b) for name, b in network.named_buffers())
