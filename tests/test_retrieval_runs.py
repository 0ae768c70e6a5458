"""Retrieval as a user runs it: a pre-trained run is evaluated, fine-tuned, and evaluated again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import yaml
from monai.bundle import ConfigWorkflow
from pretrained import SMALL, pretrained_run
from safetensors.torch import load_file
from supervised_runs import edited_list, items_of, lines_of, results_of
from workflows import CONFIGS, started, workflow

from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from bundle.handlers.plain_errors import plain_cause
from bundle.metrics.retrieval import retrieval_ranks
from bundle.networks.weights.errors import WeightsError

CPU = {"device": "$torch.device('cpu')", "resamples": 50}
DIRECTIONS = ("image_to_text", "text_to_image")


@pytest.fixture(scope="module")
def trained(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A run on crops of the store's images, with the network as it was."""
    return pretrained_run(phantom_store, tmp_path_factory.mktemp("runs"), {"crop_size": 48})


@contextmanager
def evaluation(
    run: Path, store: Path, output: Path, values: Mapping[str, Any] | None = None, extra: tuple[str, ...] = ()
) -> Iterator[ConfigWorkflow]:
    given = {"pretrained": str(run), "dataset_dir": str(store), "output_root": str(output), **CPU, **(values or {})}
    with started(("evaluate_retrieval", *extra), given, run_id="evaluating") as made:
        yield made


def evaluated(run: Path, store: Path, output: Path, **values: Any) -> dict[str, Any]:
    """The metrics that an evaluation writes."""
    with evaluation(run, store, output, values) as made:
        made.run()
    return results_of(output / "retrieval" / "retrieval")["metrics"]


@pytest.fixture(scope="module")
def metrics(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Of the training split, which has items enough, with the classes of the list."""
    values = {"split": "training", "datalist": str(phantoms / "datalist.json"), "precision_at": [2, 5, 1000]}
    return evaluated(trained[0], phantom_store, tmp_path_factory.mktemp("evaluated"), **values)


def test_recall_is_that_of_the_network(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, metrics: dict[str, Any]
) -> None:
    """Computed apart, from the store's own arrays and the network that was trained."""
    dataset, network = PackedDataset(phantom_store, "training"), trained[1]
    batch = dataset.__getitems__(range(len(dataset)))
    image = (batch["image"][..., 8:56, 8:56].float() / 255 - 0.449) / 0.226
    with torch.no_grad():
        embedded = network(image, batch["input_ids"], batch["attention_mask"], batch["lengths"])
    order = batch["index"].argsort()
    vectors = (embedded[name][order] for name in ("image_embedding", "text_embedding"))
    ranks = dict(zip(DIRECTIONS, retrieval_ranks(*vectors, batch["text_id"][order]), strict=True))
    for direction, found in ranks.items():
        recall = metrics[f"retrieval_r5_{direction}"]
        assert recall["value"] == pytest.approx(float((found <= 5).double().mean()), abs=0.04)  # equal but for rounding
        assert recall["low"] <= recall["value"] <= recall["high"]
        assert recall["n"] == len(found)
        assert metrics[f"retrieval_pool_{direction}"]["value"] == (60 if direction == "text_to_image" else len(found))


def test_controls_stand_beside_the_figures(metrics: dict[str, Any]) -> None:
    for direction in DIRECTIONS:
        for figure in ("r1", "r5", "r10", "p2", "p5"):
            name = f"retrieval_{figure}_{direction}"
            for control in ("", "_shuffled", "_blank_image"):
                entry = metrics[name + control]
                assert 0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1
            assert 0 < metrics[f"{name}_chance"]["value"] < 1
        assert metrics[f"retrieval_median_rank_{direction}"]["low"] is None
        assert metrics[f"retrieval_r5_{direction}_chance"]["value"] == pytest.approx(5 / 60, abs=0.03)
        assert metrics[f"retrieval_r5_{direction}_blank_image"]["value"] < 0.25
    assert not [name for name in metrics if "p1000" in name]


def test_precision_looks_at_phantoms_with_one_finding(metrics: dict[str, Any], phantoms: Path) -> None:
    items = json.loads((phantoms / "datalist.json").read_text(encoding="utf-8"))["training"]
    one = [item["label"].index(1) for item in items if item["label"].count(1) == 1]
    assert metrics["retrieval_p5_image_to_text"]["n"] == len(one)
    expected = sum(one.count(number) for number in one) / len(one) ** 2
    assert metrics["retrieval_p5_text_to_image_chance"]["value"] == pytest.approx(expected)


def test_two_evaluations_are_equal(trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path) -> None:
    first = evaluated(trained[0], phantom_store, tmp_path / "first")
    assert evaluated(trained[0], phantom_store, tmp_path / "second", batch_size=3) == first
    assert not [name for name in first if "_p5_" in name], "there is no list with groups"
    other = evaluated(trained[0], phantom_store, tmp_path / "third", seed=5)
    assert {name for name in other if other[name] != first[name]} <= {name for name in other if "_shuffled" in name}


def test_group_of_the_list_comes_before_its_classes(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, phantoms: Path, tmp_path: Path
) -> None:
    def one_group(datalist: dict[str, Any]) -> None:
        for item in items_of(datalist):
            item["group"] = "same"

    lists = edited_list(phantoms, tmp_path / "lists", one_group)
    values = {"datalist": str(lists / "datalist.json"), "precision_at": [5]}
    found = evaluated(trained[0], phantom_store, tmp_path, **values)
    assert found["retrieval_p5_image_to_text"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 7}


def test_property_check_finds_all(trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path) -> None:
    values = {
        "pretrained": str(trained[0]),
        "dataset_dir": str(phantom_store),
        "output_root": str(tmp_path),
        "initialize": [],
    }
    made = ConfigWorkflow(
        str(CONFIGS / "evaluate_retrieval.yaml"),
        workflow_type="inference",
        run_id="evaluating",
        logging_file=False,
        **values,
    )
    made.initialize()
    assert made.check_properties() == []
    assert made.evaluator is made.parser.get_parsed_content("evaluator")
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
    together = results_of(tmp_path / "two" / "retrieval" / "retrieval")["metrics"]
    assert together == evaluated(trained[0], phantom_store, tmp_path / "one")


def failure(made: ConfigWorkflow) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011, MONAI wraps what its components raise
        made.run()
    cause = plain_cause(raised.value)
    assert isinstance(cause, DataError | WeightsError)
    return str(cause)


def test_store_packed_in_another_way_is_refused(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    card = run / "models" / "model.json"
    content = json.loads(card.read_text())
    content["store"] |= {"size": 96, "fit": "stretch"}
    card.write_text(json.dumps(content))
    with evaluation(run, phantom_store, tmp_path) as made:
        said = failure(made)
    assert "was packed in another way than the images of" in said
    assert "parameters.size: store has 64, expected 96" in said
    assert "parameters.fit: store has" in said


def test_store_of_another_tokenizer_is_refused(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    card = run / "models" / "model.json"
    content = json.loads(card.read_text())
    content["tokenizer"]["sha256"] = "0" * 64
    card.write_text(json.dumps(content))
    with evaluation(run, phantom_store, tmp_path) as made:
        assert "store/tokenizer: is not the one that" in failure(made)


def test_absent_run_split_and_list_are_named(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    with evaluation(tmp_path / "nowhere", phantom_store, tmp_path) as made:
        assert "nowhere: this is no finished pre-training run" in failure(made)
    with evaluation(trained[0], phantom_store, tmp_path, {"split": "testing"}) as made:
        assert "the store has no split 'testing', only" in failure(made)
    with evaluation(trained[0], phantom_store, tmp_path, {"datalist": str(tmp_path / "none.json")}) as made:
        assert "none.json: the data list can't be read" in failure(made)
    assert not (tmp_path / "retrieval" / "retrieval" / "results.json").exists()


@pytest.fixture(scope="module")
def tuned(trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fine-tuned for two epochs over the config that pre-training has left."""
    output = tmp_path_factory.mktemp("tuned")
    start = str(trained[0] / "models" / "model.safetensors")
    values = {"crop_size": 48, "max_epochs": 2, "start": start, "weight_decay": 0.05}
    with workflow(phantom_store, output, (str(trained[0] / "config"), "train_retrieval"), values) as made:
        made.run()
    return output / "train_retrieval" / "retrieval"


def test_fine_tuning_starts_from_the_weights_and_leaves_the_decoder(
    trained: tuple[Path, torch.nn.Module], tuned: Path
) -> None:
    before = load_file(trained[0] / "models" / "model.safetensors")
    after = load_file(tuned / "models" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"image_encoder", "image_projection", "pool", "text_encoder", "text_projection"}
    moved = [(after[name] - before[name]).norm() / before[name].norm() for name in before if name.endswith("weight")]
    assert 0 < float(torch.stack(moved).median()) < 0.05, "far from the start"
    assert {path.stem for path in (tuned / "models").glob("*.safetensors")} == {"encoder", "encoder_decoder", "model"}


def test_fine_tuning_has_the_alignment_loss_alone(tuned: Path) -> None:
    losses = lines_of(tuned / "losses.jsonl")
    assert all(set(line) == {"iteration", "loss", "contrastive", "gradient_norm"} for line in losses)
    validations = lines_of(tuned / "metrics.jsonl")
    assert "retrieval_r5_image_to_text" in validations[-1]
    assert "decoder_mask_dice" not in validations[-1]
    assert validations[-1]["validation_loss"] == validations[-1]["validation_contrastive"]


def test_fine_tuned_run_is_evaluated_as_any(tuned: Path, phantom_store: Path, tmp_path: Path) -> None:
    found = evaluated(tuned, phantom_store, tmp_path, split="validation")
    validated = lines_of(tuned / "metrics.jsonl")[-1]
    for direction in DIRECTIONS:
        assert found[f"retrieval_r1_{direction}"]["value"] == pytest.approx(validated[f"retrieval_r1_{direction}"])


def test_weights_of_another_network_are_refused(
    trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path
) -> None:
    start = str(trained[0] / "models" / "model.safetensors")
    values = {**SMALL, "start": start, "crop_size": 48, "width": 64}
    with workflow(phantom_store, tmp_path, ("pretrain", "demo", "train_retrieval"), values) as made:
        assert "Weights and network differ" in failure(made)
    assert not (tmp_path / "train_retrieval" / "retrieval" / "models").exists()


def test_property_check_of_fine_tuning_finds_all(phantom_store: Path, tmp_path: Path) -> None:
    with workflow(phantom_store, tmp_path, ("pretrain", "demo", "train_retrieval"), SMALL) as made:
        assert made.check_properties() == []


def test_encoder_alone_is_no_start(trained: tuple[Path, torch.nn.Module], phantom_store: Path, tmp_path: Path) -> None:
    start = str(trained[0] / "models" / "encoder.safetensors")
    values = {**SMALL, "start": start, "crop_size": 48}
    with workflow(phantom_store, tmp_path, ("pretrain", "demo", "train_retrieval"), values) as made:
        assert "missing" in failure(made)


def test_config_of_fine_tuning_names_its_start(tuned: Path, trained: tuple[Path, torch.nn.Module]) -> None:
    left = yaml.safe_load((tuned / "config.yaml").read_text(encoding="utf-8"))
    assert left["start"] == str(trained[0] / "models" / "model.safetensors")
    assert left["image_weights"] is None
