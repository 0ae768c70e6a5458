"""Zero-shot classification as a user runs it: from a run's folder and a data list, by the config alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from monai.bundle import ConfigWorkflow
from pretrained import pretrained_run
from sklearn.metrics import roc_auc_score
from supervised_runs import edited_list, one_class_each, results_of
from torch.nn import functional as F
from workflows import CONFIGS, started

from bundle.data.errors import DataError
from bundle.data.labelled import labelled_items
from bundle.data.prompts import load_prompts
from bundle.inferers.vision_language import VisionLanguageModel
from bundle.inferers.zero_shot import ZeroShotClassifier
from bundle.networks.weights.errors import WeightsError

PROMPTS = CONFIGS / "prompts" / "phantom.json"
CLASSES = ["consolidation", "pleural effusion", "pneumothorax", "nodule", "cardiomegaly"]
EXCLUSIVE = ("evaluate_zero_shot", "evaluate_zero_shot_multiclass")


@pytest.fixture(scope="module")
def run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained_run(phantom_store, tmp_path_factory.mktemp("runs"))[0]


@contextmanager
def zero_shot(
    run: Path,
    lists: Path,
    output: Path,
    values: Mapping[str, Any] | None = None,
    names: tuple[str, ...] = ("evaluate_zero_shot",),
) -> Iterator[ConfigWorkflow]:
    given = {
        "pretrained": str(run),
        "dataset_dir": str(lists),
        "output_root": str(output),
        "prompts": str(PROMPTS),
        "device": "$torch.device('cpu')",
        "batch_size": 3,
        "resamples": 50,
    }
    with started(names, given | dict(values or {}), run_id="evaluating") as made:
        yield made


@pytest.fixture(scope="module")
def evaluated(run: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A whole evaluation, and how often images and texts went through the network."""
    output = tmp_path_factory.mktemp("evaluated")
    calls = {"images": 0, "texts": 0}
    with zero_shot(run, phantoms, output) as made:
        network = made.parser.get_parsed_content("model").network
        embed_image, encode_text = network.embed_image, network.encode_text

        def counting_images(image: torch.Tensor) -> Any:
            calls["images"] += len(image)
            return embed_image(image)

        def counting_texts(ids: torch.Tensor, *others: Any) -> Any:
            calls["texts"] += len(ids)
            return encode_text(ids, *others)

        network.embed_image, network.encode_text = counting_images, counting_texts
        made.run()
    return output / "zero_shot" / "zero_shot", calls


def test_results_have_one_schema_and_all_figures(evaluated: tuple[Path, Any]) -> None:
    results = results_of(evaluated[0])
    assert results["stage"] == "zero_shot"
    assert results["protocol"] == "zero-shot, prompts phantom, version 1, MeanPrompts"
    metrics = results["metrics"]
    assert {
        "zero_shot_auc_macro",
        "zero_shot_ap_macro",
        "zero_shot_f1_macro_05",
        "zero_shot_accuracy_macro_05",
        "zero_shot_f1_macro_val",
        "zero_shot_auc_macro_prompt_deviation",
        "zero_shot_auc_macro_shuffled",
        "prompt_polarity",
    } <= set(metrics)
    assert metrics["zero_shot_auc_macro_blank_image"]["value"] == 0.5
    assert metrics["zero_shot_auc_macro"]["n"] == 7
    assert metrics["zero_shot_auc_macro"]["low"] <= metrics["zero_shot_auc_macro"]["high"]
    chosen_by = results_of(evaluated[0] / "validation")
    assert chosen_by["protocol"].endswith(", validation list")
    assert not any(name.endswith("_val") for name in chosen_by["metrics"])
    assert {path.name for path in evaluated[0].iterdir()} == {
        "config.yaml",
        "versions.json",
        "log.txt",
        "results.json",
        "validation",
    }


def test_scores_are_those_computed_from_the_network(run: Path, phantoms: Path, evaluated: tuple[Path, Any]) -> None:
    model = VisionLanguageModel.from_run(run, device="cpu")
    items = labelled_items(phantoms / "datalist.json", "test", "classification")
    squares = torch.stack([torch.from_numpy(model.load(item["image"])[0]) for item in items])[:, None]
    image = model.network.encode_image((squares / 255 - 0.449) / 0.226)["image_embedding"]
    labels = torch.tensor([item["label"] for item in items])
    areas = []
    for k, sides in enumerate(load_prompts(PROMPTS, CLASSES).values()):
        positive, negative = (F.normalize(model.embed_texts(sides[s]).mean(0), dim=0) for s in ("pos", "neg"))
        if 0 < labels[:, k].sum() < len(items):
            areas.append(roc_auc_score(labels[:, k], image @ positive - image @ negative))
    metrics = results_of(evaluated[0])["metrics"]
    assert metrics["zero_shot_auc_macro"]["value"] == pytest.approx(sum(areas) / len(areas))


def test_each_image_and_prompt_is_encoded_once(evaluated: tuple[Path, dict[str, int]]) -> None:
    sides = load_prompts(PROMPTS, CLASSES).values()
    texts = {text for side in sides for texts in side.values() for text in texts}
    assert evaluated[1] == {"images": 8 + 7 + 1, "texts": len(texts)}  # both lists, and a black image


def test_more_classes_take_no_more_encoding(run: Path, phantoms: Path) -> None:
    """What a class costs beside its prompts: a few dot products."""
    paths = [item["image"] for item in labelled_items(phantoms / "datalist.json", "test", "classification")]
    model = VisionLanguageModel.from_run(run, device="cpu")
    counted, embed_image = [0], model.network.embed_image

    def counting(image: torch.Tensor) -> Any:
        counted[0] += len(image)
        return embed_image(image)

    model.network.embed_image = counting
    findings = CONFIGS / "prompts" / "findings.json"
    images = []
    for count in (1, 14):
        counted[0] = 0
        names = list(json.loads(findings.read_text())["classes"])[:count]
        probabilities = ZeroShotClassifier(model, load_prompts(findings, names)).probabilities(paths)
        assert probabilities.shape == (7, count)
        assert ((probabilities > 0) & (probabilities < 1)).all()
        images.append(counted[0])
    assert images == [8, 8]


def test_two_evaluations_leave_the_same_file(
    run: Path, phantoms: Path, tmp_path: Path, evaluated: tuple[Path, Any]
) -> None:
    with zero_shot(run, phantoms, tmp_path) as made:
        made.run()
    again = tmp_path / "zero_shot" / "zero_shot"
    for name in ("results.json", "validation/results.json"):
        assert (again / name).read_bytes() == (evaluated[0] / name).read_bytes()


def test_property_check_finds_all(run: Path, phantoms: Path, tmp_path: Path) -> None:
    files = [str(CONFIGS / "evaluate_zero_shot.yaml")]
    values = {
        "pretrained": str(run),
        "dataset_dir": str(phantoms),
        "output_root": str(tmp_path),
        "prompts": str(PROMPTS),
    }
    made = ConfigWorkflow(files, logging_file=False, workflow_type="infer", **values)
    made.parser["initialize"] = []
    made.initialize()
    assert made.check_properties() == []


def test_log_sum_exp_is_one_line_away(run: Path, phantoms: Path, tmp_path: Path) -> None:
    values = {"aggregate::_target_": "bundle.inferers.prompt_scores.LogSumExpPrompts", "name": "alternatives"}
    with zero_shot(run, phantoms, tmp_path, values) as made:
        made.run()
    results = results_of(tmp_path / "zero_shot" / "alternatives")
    assert results["protocol"].endswith("LogSumExpPrompts")


def test_exclusive_classes(run: Path, phantoms: Path, tmp_path: Path) -> None:
    lists = edited_list(phantoms, tmp_path, one_class_each)
    content = json.loads(PROMPTS.read_text())
    content["classes"]["normal"] = {"pos": ["Normal chest radiograph."]}
    (tmp_path / "prompts.json").write_text(json.dumps(content))
    values = {"prompts": str(tmp_path / "prompts.json")}
    with zero_shot(run, lists, tmp_path, values, EXCLUSIVE) as made:
        made.run()
    results = results_of(tmp_path / "zero_shot" / "zero_shot")
    assert results["protocol"].endswith("ExclusivePrompts")
    assert 0 <= results["metrics"]["zero_shot_accuracy"]["value"] <= 1
    assert results["metrics"]["zero_shot_auc_macro_blank_image"]["value"] == 0.5
    assert not (tmp_path / "zero_shot" / "zero_shot" / "validation").exists()


def test_test_list_alone(run: Path, phantoms: Path, tmp_path: Path) -> None:
    with zero_shot(run, phantoms, tmp_path, {"evaluating": ["$@evaluator.run()"]}) as made:
        made.run()
    metrics = results_of(tmp_path / "zero_shot" / "zero_shot")["metrics"]
    assert "zero_shot_f1_macro_05" in metrics
    assert "zero_shot_f1_macro_val" not in metrics


def process(rank: int, run: str, lists: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    names = ("evaluate_zero_shot", "multi_gpu")
    with zero_shot(Path(run), Path(lists), Path(folder), {"batch_size": 2}, names) as made:
        made.run()


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_equal_one(run: Path, phantoms: Path, tmp_path: Path, evaluated: tuple[Path, Any]) -> None:
    """Their shards are of 4 and 3 images; thresholds come from the whole validation list in both."""
    mp.spawn(process, args=(str(run), str(phantoms), str(tmp_path)), nprocs=2)
    together, alone = results_of(tmp_path / "zero_shot" / "zero_shot"), results_of(evaluated[0])
    values = {name: figure["value"] for name, figure in together["metrics"].items()}
    assert values == pytest.approx({name: figure["value"] for name, figure in alone["metrics"].items()})


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"pretrained": "nowhere"}, WeightsError, "nowhere: this is no finished pre-training run"),
        ({"prompts": "nowhere.json"}, DataError, r"nowhere\.json: the prompt file can't be read"),
        ({"prompts": str(CONFIGS / "prompts" / "chexzero.json")}, DataError, "no prompts for the class 'nodule'"),
        ({"dataset_dir": "nowhere"}, DataError, r"nowhere/datalist\.json: the data list can't be read"),
    ],
)
def test_errors_name_what_is_wrong(
    run: Path, phantoms: Path, tmp_path: Path, values: Mapping[str, str], error: type[Exception], message: str
) -> None:
    with (
        pytest.raises(Exception) as raised,  # noqa: PT011, MONAI wraps what a component raises
        zero_shot(run, phantoms, tmp_path, values) as made,
    ):
        made.run()
    cause: BaseException | None = raised.value
    while cause is not None and not isinstance(cause, error):
        cause = cause.__cause__ or cause.__context__
    assert cause is not None
    assert re.search(message, str(cause))
    assert not (tmp_path / "zero_shot" / "zero_shot" / "results.json").exists()
