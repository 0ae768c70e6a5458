"""Retrieval by the matching head as a user runs it: zero-shot, fine-tuned, and evaluated again."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from m3ae_runs import M3AE, SMALL, m3ae_run
from monai.bundle import ConfigWorkflow
from pretrained import pretrained_run
from safetensors.torch import load_file
from supervised_runs import lines_of, results_of
from workflows import CONFIGS, ONE_STEP, one_step, started, workflow

from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from bundle.handlers.plain_errors import plain_cause
from bundle.inferers.pretraining_run import PretrainingRun
from bundle.metrics.retrieval import score_ranks
from bundle.networks.weights.errors import WeightsError

CPU = {"device": "$torch.device('cpu')", "resamples": 50}
DIRECTIONS = ("image_to_text", "text_to_image")
PARTS = ("image_encoder.", "text_encoder.", "fusion.", "matching_head.")


@pytest.fixture(scope="module")
def trained(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A run on crops of the store's images, with the network as it was."""
    return m3ae_run(
        phantom_store, tmp_path_factory.mktemp("runs"), {"crop_size": 48, "learning_rate": 3.0e-3}, epochs=3
    )


@contextmanager
def evaluation(
    run: Path, store: Path, output: Path, values: Mapping[str, Any] | None = None, extra: tuple[str, ...] = ()
) -> Iterator[ConfigWorkflow]:
    given = {"pretrained": str(run), "dataset_dir": str(store), "output_root": str(output), **CPU, **(values or {})}
    with started(("evaluate_matching", *extra), given, run_id="evaluating") as made:
        yield made


def evaluated(run: Path, store: Path, output: Path, **values: Any) -> dict[str, Any]:
    """The metrics that an evaluation writes."""
    with evaluation(run, store, output, values) as made:
        made.run()
    return results_of(output / "matching" / "matching")["metrics"]


@pytest.fixture(scope="module")
def metrics(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Of the training split, which has items enough."""
    return evaluated(trained[0], phantom_store, tmp_path_factory.mktemp("evaluated"), split="training")


def scored(network: Any, store: Path, side: int = 48) -> torch.Tensor:
    """The training split's scores, all pairs of an image and its own or another's text at once."""
    dataset, start = PackedDataset(store, "training"), (64 - side) // 2
    batch = dataset.__getitems__(range(len(dataset)))
    order, window = batch["index"].argsort(), slice(start, start + side)
    image = (batch["image"][order][..., window, window].float() / 255 - 0.449) / 0.226
    with torch.no_grad():
        images = network.encode_image(image)
        mask = batch["attention_mask"][order]
        texts = network.encode_text(batch["input_ids"][order], mask)
        return torch.stack([network.match(one.expand_as(images), texts, mask == 0) for one in images[:, None]])


def test_recall_is_that_of_the_network(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, metrics: dict[str, Any]
) -> None:
    scores, numbers = scored(trained[1], phantom_store), torch.arange(60)  # all sixty texts differ
    for direction, matrix in zip(DIRECTIONS, (scores, scores.T), strict=True):
        found = score_ranks(matrix, numbers, numbers)
        recall = metrics[f"retrieval_r5_{direction}"]
        assert recall["value"] == pytest.approx(float((found <= 5).double().mean()), abs=0.04)  # equal but for rounding
        assert recall["low"] <= recall["value"] <= recall["high"]
        assert recall["n"] == metrics[f"retrieval_pool_{direction}"]["value"] == 60


def test_controls_stand_beside_the_figures(metrics: dict[str, Any]) -> None:
    for direction in DIRECTIONS:
        for k in (1, 5, 10):
            name = f"retrieval_r{k}_{direction}"
            for control in ("", "_shuffled", "_blank_image"):
                entry = metrics[name + control]
                assert 0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1
            assert metrics[f"{name}_chance"]["value"] == pytest.approx(k / 60)
            assert metrics[f"{name}_over_chance"]["value"] == pytest.approx(60 / k * metrics[name]["value"])
            # One order of the texts for all images, of whose texts each is there once; and of texts all images tie.
            assert metrics[f"{name}_blank_image"]["value"] == pytest.approx(k / 60)
        assert metrics[f"retrieval_median_rank_{direction}"]["low"] is None
        assert metrics[f"retrieval_median_rank_{direction}_blank_image"]["value"] == 30.5


def test_blocks_and_places_do_not_matter(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    first = evaluated(trained[0], phantom_store, tmp_path / "first")
    other = evaluated(trained[0], phantom_store, tmp_path / "second", block=[3, 2], kept_on="cpu", num_workers=1)
    assert other == first
    seeded = evaluated(trained[0], phantom_store, tmp_path / "third", seed=5)
    assert {name for name in seeded if seeded[name] != first[name]} <= {name for name in first if "_shuffled" in name}


def test_log_tells_how_many_pairs_remain(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="bundle.handlers.pair_progress"):
        evaluated(trained[0], phantom_store, tmp_path, log_seconds=0, block=[4, 4])
    lines = [line for line in caplog.messages if "pairs/s" in line]
    assert [line.split("  ")[0] for line in lines] == ["24 of 49 pairs", "49 of 49 pairs"]  # two batches of the seven


def test_property_check_finds_all(trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path) -> None:
    values = {
        "pretrained": str(trained[0]),
        "dataset_dir": str(phantom_store),
        "output_root": str(tmp_path),
        "initialize": [],
    }
    file = str(CONFIGS / "evaluate_matching.yaml")
    made = ConfigWorkflow(file, workflow_type="inference", run_id="evaluating", logging_file=False, **values)
    made.initialize()
    assert made.check_properties() == []
    assert len(made.dataset) == 7


def process(rank: int, run: str, store: str, output: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{output}/rendezvous", rank=rank, world_size=2)
    with evaluation(Path(run), Path(store), Path(output), extra=("multi_gpu",)) as made:
        made.run()


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_give_the_result_of_one(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "two").mkdir()
    mp.spawn(process, args=(str(trained[0]), str(phantom_store), str(tmp_path / "two")), nprocs=2)
    together = results_of(tmp_path / "two" / "matching" / "matching")["metrics"]
    assert together == evaluated(trained[0], phantom_store, tmp_path / "one")


def failure(made: ConfigWorkflow) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011, MONAI wraps what its components raise
        made.run()
    cause = plain_cause(raised.value)
    assert isinstance(cause, DataError | WeightsError | ValueError)
    return str(cause)


def edited_card(run: Path, folder: Path, edit: Mapping[str, Mapping[str, Any]]) -> Path:
    """A copy of a run whose card differs."""
    copy = Path(shutil.copytree(run, folder / "run"))
    card = copy / "models" / "model.json"
    content = json.loads(card.read_text())
    for name, values in edit.items():
        content[name] |= values
    card.write_text(json.dumps(content))
    return copy


def test_other_stores_are_refused(trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path) -> None:
    run = edited_card(trained[0], tmp_path / "a", {"store": {"size": 96}})
    with evaluation(run, phantom_store, tmp_path) as made:
        said = failure(made)
    assert "was packed in another way than the images of" in said
    assert "parameters.size: store has 64, expected 96" in said
    run = edited_card(trained[0], tmp_path / "b", {"tokenizer": {"sha256": "0" * 64}})
    with evaluation(run, phantom_store, tmp_path) as made:
        assert "store/tokenizer: is not the one that" in failure(made)
    with evaluation(trained[0], phantom_store, tmp_path, {"split": "testing"}) as made:
        assert "the store has no split 'testing', only" in failure(made)
    assert not (tmp_path / "matching" / "matching" / "results.json").exists()


def test_a_run_without_matching_head_is_refused(phantom_store: Path, tmp_path: Path) -> None:
    run, _ = pretrained_run(phantom_store, tmp_path)
    with evaluation(run, phantom_store, tmp_path) as made:
        said = failure(made)
    assert said.startswith(f"{run}: the network of this run has no matching head to judge pairs by; give a run of")
    with evaluation(tmp_path / "nowhere", phantom_store, tmp_path) as made:
        assert "nowhere: this is no finished pre-training run" in failure(made)


def test_a_run_without_vectors_is_refused_where_vectors_are_compared(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    given = {"pretrained": str(trained[0]), "dataset_dir": str(phantom_store), "output_root": str(tmp_path), **CPU}
    with started(("evaluate_retrieval",), given, run_id="evaluating") as made:
        assert "the run's M3AE gives no vectors of images and texts to be compared" in failure(made)


TUNING = {"crop_size": 48, "batch_size": 20, "negatives": 7, "learning_rate": 3.0e-3}


@pytest.fixture(scope="module")
def tuned(trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fine-tuned for two epochs over the config that pre-training has left."""
    output = tmp_path_factory.mktemp("tuned")
    values = {**TUNING, "max_epochs": 2, "start": str(trained[0] / "models" / "model.safetensors")}
    with workflow(phantom_store, output, (str(trained[0] / "config"), "train_matching"), values) as made:
        made.run()
    return output / "train_matching" / "matching"


def test_fine_tuning_starts_from_the_weights_and_keeps_their_names(
    trained: tuple[Path, torch.nn.Module], tuned: Path
) -> None:
    before = load_file(trained[0] / "models" / "model.safetensors")
    after = load_file(tuned / "models" / "model.safetensors")
    assert set(after) == {name for name in before if name.startswith(PARTS)}
    changed = {name.split(".")[0] + "." for name in after if not torch.equal(before[name], after[name])}
    assert changed == set(PARTS)
    moved = [(after[name] - before[name]).norm() / before[name].norm() for name in after if name.endswith("weight")]
    assert 0 < float(torch.stack(moved).median()) < 0.5, "far from the start"


def test_fine_tuning_has_the_ranking_loss_alone(tuned: Path) -> None:
    losses = lines_of(tuned / "losses.jsonl")
    assert len(losses) == 6
    assert all(set(line) == {"iteration", "loss", "ranking", "gradient_norm"} for line in losses)
    assert losses[0]["ranking"] < 2 * math.log(8)
    validation = lines_of(tuned / "metrics.jsonl")[-1]
    assert validation["candidate_accuracy_chance"] == pytest.approx(1 / 8)
    assert 0 <= validation["candidate_accuracy"] <= 1
    assert validation["validation_loss"] == validation["validation_ranking"]
    assert not (tuned / "pictures").exists()


def test_first_scores_are_those_of_pre_training(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    values = {**SMALL, **TUNING, **ONE_STEP, "start": str(trained[0] / "models" / "model.safetensors")}
    values |= {"learning_rate": 0.0, "warmup_share": 0.0}
    with workflow(phantom_store, tmp_path, (*M3AE, "train_matching"), values) as made:
        gradients = one_step(made)
        network = made.parser.get_parsed_content("network_def").eval()
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    torch.testing.assert_close(scored(network, phantom_store), scored(trained[1], phantom_store), rtol=0, atol=1e-6)


def test_fine_tuned_run_is_evaluated_as_any(tuned: Path, phantom_store: Path, tmp_path: Path) -> None:
    network = PretrainingRun(tuned).network("fp32")
    found = evaluated(tuned, phantom_store, tmp_path, split="training")
    recall = (score_ranks(scored(network, phantom_store), torch.arange(60), torch.arange(60)) <= 5).double().mean()
    assert found["retrieval_r5_image_to_text"]["value"] == pytest.approx(float(recall), abs=0.04)


def test_fine_tuning_at_another_size_interpolates_positions(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    values = {**TUNING, "crop_size": 64, "max_epochs": 1, "start": str(trained[0] / "models" / "model.safetensors")}
    names = (str(trained[0] / "config"), "train_matching")
    with workflow(phantom_store, tmp_path, names, values) as made:
        assert "pos_embed" in failure(made)
    with workflow(phantom_store, tmp_path, names, values | {"vision_transformer#image_size": 48}) as made:
        made.run()
    run = tmp_path / "train_matching" / "matching"
    card = json.loads((run / "models" / "model.json").read_text())
    assert (card["image_size"], card["vision_transformer"]["image_size"]) == (64, 48)
    assert evaluated(run, phantom_store, tmp_path)["retrieval_pool_image_to_text"]["value"] == 7


def test_starts_and_batches_that_do_not_fit_are_refused(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    names = (str(trained[0] / "config"), "train_matching")
    encoder, whole = (str(trained[0] / "models" / f"{name}.safetensors") for name in ("encoder", "model"))
    with workflow(phantom_store, tmp_path, names, {**TUNING, "start": encoder}) as made:
        assert "matching_head cannot be taken from these weights" in failure(made)
    with workflow(phantom_store, tmp_path, names, {**TUNING, "start": whole, "batch_size": 7}) as made:
        assert "A batch of 7 pairs has no 7 other texts for an image; raise batch_size above 7" in failure(made)


def test_property_check_of_fine_tuning_finds_all(phantom_store: Path, tmp_path: Path) -> None:
    with workflow(phantom_store, tmp_path, (*M3AE, "train_matching"), SMALL) as made:
        assert made.check_properties() == []


def tuning_process(rank: int, store: str, start: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    values = {**SMALL, **TUNING, "start": start, "max_epochs": 1, "name": "matching"}
    with workflow(Path(store), Path(folder), (*M3AE, "train_matching", "multi_gpu"), values) as made:
        made.run()
        assert not made.parser.get_parsed_content("network").find_unused_parameters


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_fine_tune(trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path) -> None:
    """Every parameter takes part, and both have the same weights at the end."""
    start = str(trained[0] / "models" / "model.safetensors")
    mp.spawn(tuning_process, args=(str(phantom_store), start, str(tmp_path)), nprocs=2)
    run = tmp_path / "train_matching" / "matching"
    assert len(lines_of(run / "losses.jsonl")) == 1  # 60 items, two processes with batches of 20
    assert set(load_file(run / "models" / "model.safetensors")) == set(PretrainingRun(run).network("fp32").state_dict())
