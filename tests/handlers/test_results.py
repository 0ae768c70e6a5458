from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.handlers import ValidationHandler
from toy_training import make_evaluator, make_trainer

from bundle.handlers.named_metrics import NamedMetrics
from bundle.handlers.results import Results
from bundle.handlers.revision import git_revision
from bundle.metrics.bootstrap import bootstrap_interval
from bundle.metrics.ranking import AreaUnderCurve, Ranking
from bundle.metrics.retrieval import RetrievalMetric
from bundle.metrics.samples import Samples, value_of

PATIENTS = ["p0", "p0", "p0", "p0", "p1", "p1", "p1", "p2"]


def evaluator() -> SupervisedEvaluator:
    return make_evaluator(metrics={"retrieval": NamedMetrics(RetrievalMetric(ks=(1, 2)))})


def results_of(engine: SupervisedEvaluator, folder: Path, **options: Any) -> Results:
    datalist = {"name": "toys", "sha256": "ab12"}
    path = folder / "run" / "results.json"
    return Results(path, "pretraining", datalist, "retrieval", **({"evaluator": engine} | options))


def read(results: Results) -> dict[str, Any]:
    return json.loads(results.path.read_text())


def test_the_file_follows_the_schema(tmp_path: Path) -> None:
    engine = evaluator()
    results = results_of(engine, tmp_path, seeds=[7])
    results.attach(engine)
    engine.run()
    content = read(results)
    assert content.keys() == {"stage", "list", "list_sha256", "protocol", "seeds", "git", "metrics"}
    assert content["list"] == "toys"
    assert content["list_sha256"] == "ab12"
    assert content["seeds"] == [7]
    assert content["git"] == git_revision()
    assert content["metrics"].keys() == engine.state.metrics.keys()
    for name, entry in content["metrics"].items():
        assert entry.keys() == {"value", "low", "high", "n"}
        assert entry["value"] == engine.state.metrics[name]


def test_intervals_resample_patients(tmp_path: Path) -> None:
    engine = evaluator()
    engine.run()
    name = "retrieval_r2_image_to_text"
    hits = engine.state.samples[name].values
    for options, groups in (({}, None), ({"groups": PATIENTS}, PATIENTS)):
        results = results_of(engine, tmp_path, **options)
        results(engine)
        entry = read(results)["metrics"][name]
        expected = bootstrap_interval(Samples(hits, torch.arange(8)).resampled, 8, groups)
        assert (entry["low"], entry["high"]) == expected
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert entry["n"] == 8
    ratio = read(results)["metrics"][f"{name}_over_chance"]
    assert ratio["high"] == pytest.approx(entry["high"] * 8 / 2)  # chance: two of eight


def test_patients_are_found_by_number_not_by_place(tmp_path: Path) -> None:
    engine = evaluator()
    engine.run()
    sample = engine.state.samples["retrieval_r1_image_to_text"]
    turned = type(sample)(sample.values.flip(0), sample.index.flip(0))
    first, second = results_of(engine, tmp_path, groups=PATIENTS), results_of(engine, tmp_path, groups=PATIENTS)
    first(engine)
    expected = read(first)
    engine.state.samples = dict.fromkeys(engine.state.samples, turned)
    second(engine)
    name = "retrieval_r1_image_to_text"
    assert read(second)["metrics"][name] == expected["metrics"][name]


def test_a_median_has_no_interval_and_nan_no_value(tmp_path: Path) -> None:
    engine = evaluator()
    engine.run()
    engine.state.metrics["strange"] = math.nan
    results = results_of(engine, tmp_path)
    results(engine)
    metrics = read(results)["metrics"]
    assert metrics["strange"] == {"value": None, "low": None, "high": None, "n": None}
    assert metrics["retrieval_median_rank_image_to_text"]["value"] >= 1
    assert metrics["retrieval_median_rank_image_to_text"]["low"] is None


def test_a_run_writes_its_last_validation_when_it_is_complete(tmp_path: Path) -> None:
    engine = evaluator()
    results = results_of(engine, tmp_path)
    trainer = make_trainer([ValidationHandler(1, engine), results], network=engine.network, epochs=3)
    torch.manual_seed(0)
    trainer.run()
    value = read(results)["metrics"]["retrieval_r1_image_to_text"]["value"]
    assert value == engine.state.metrics["retrieval_r1_image_to_text"]
    assert engine.state.epoch == 3


def test_an_evaluation_alone_needs_no_evaluator_named(tmp_path: Path) -> None:
    engine = evaluator()
    results = results_of(engine, tmp_path, evaluator=None)
    results.attach(engine)
    engine.run()
    assert read(results)["metrics"]["retrieval_r1_image_to_text"]["n"] == 8


def test_metrics_that_are_no_mean_have_intervals_of_their_own(tmp_path: Path) -> None:
    engine = evaluator()
    engine.run()
    scores, labels = np.array([0.1, 0.4, 0.4, 0.9, 0.3, 0.8]), np.array([0, 0, 1, 1, 0, 1], dtype=bool)
    area = AreaUnderCurve(Ranking.of(scores, labels, torch.tensor([0, 1, 2, 4, 5, 7])))
    never = AreaUnderCurve(Ranking.of(scores[:1], labels[:1], torch.tensor([3])))
    engine.state.metrics |= {"auc": value_of(area), "never": math.nan}
    engine.state.samples |= {"auc": area, "never": never}
    results = results_of(engine, tmp_path, groups=PATIENTS)
    results(engine)
    metrics = read(results)["metrics"]
    patients = [PATIENTS[number] for number in area.index.tolist()]
    low, high = bootstrap_interval(area.resampled, 6, patients)
    assert metrics["auc"] == {"value": 8.5 / 9, "low": low, "high": high, "n": 6}
    assert low < high
    assert metrics["never"] == {"value": None, "low": None, "high": None, "n": 1}


def test_without_validation_there_is_a_warning_and_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = evaluator()
    results = results_of(engine, tmp_path)
    with caplog.at_level(logging.WARNING):
        make_trainer([results]).run()
    assert "before any validation" in caplog.text
    assert not results.path.exists()


def test_unknown_patients_are_patients_of_their_own():
    evaluator = SimpleNamespace(state=SimpleNamespace(metrics={"x": 0.5}))
    samples = Samples(torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.arange(4))
    datalist = {"name": "l", "sha256": "0"}
    known = Results("r.json", "s", datalist, "p", evaluator, groups=[7, 7, 7, 7])._entry(0.5, samples)
    unknown = Results("r.json", "s", datalist, "p", evaluator, groups=[-1, -1, -1, -1])._entry(0.5, samples)
    assert known["low"] == known["high"] == 0.5
    assert unknown["low"] < 0.5 < unknown["high"]
