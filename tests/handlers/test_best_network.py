from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
import torch
from monai.handlers import ValidationHandler
from safetensors.torch import load_file
from toy_supervised import CARD, Run, make_evaluator, make_network, make_trainer

from bundle.handlers.best_network import BestNetwork, differing_facts
from bundle.networks.weights.checkpoint import read_card

RISING_THEN_FALLING = {1: 0.2, 2: 0.5, 3: 0.9, 4: 0.3, 5: 0.8}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run."""
    return Run(tmp_path_factory.mktemp("whole"), RISING_THEN_FALLING).go()


def test_the_file_holds_the_weights_of_the_best_epoch(whole: Run) -> None:
    assert same(load_file(whole.path), whole.weights[3])
    assert not same(whole.weights[3], whole.weights[5])


def test_the_card_names_run_metrics_and_epoch(whole: Run) -> None:
    card = read_card(whole.path)
    assert {name: card[name] for name in CARD} == CARD
    assert card["best"] == {"metric": "score", "value": 0.9, "epoch": 3}
    assert card["metrics"].keys() == {"score", "answer"}
    assert card["iterations"] == 6
    assert "git" in card


@pytest.mark.parametrize("kill_at", [1, 2, 3, 4, 5])
def test_killed_between_file_and_checkpoint_ends_with_the_right_file(tmp_path: Path, whole: Run, kill_at: int) -> None:
    Run(tmp_path, RISING_THEN_FALLING, kill_at=kill_at).go()
    again = Run(tmp_path, RISING_THEN_FALLING).go()
    assert same(load_file(again.path), whole.weights[3])
    assert again.evaluator.state.best_metric == 0.9
    assert again.evaluator.state.best_metric_epoch == 3
    assert read_card(again.path) == read_card(whole.path)


def test_killed_twice(tmp_path: Path, whole: Run) -> None:
    for kill_at in (3, 4):
        Run(tmp_path, RISING_THEN_FALLING, kill_at=kill_at).go()
    assert same(load_file(Run(tmp_path, RISING_THEN_FALLING).go().path), whole.weights[3])


def test_where_an_epoch_does_not_come_out_again_the_validated_file_stays(tmp_path: Path, whole: Run) -> None:
    """Not every device repeats a step exactly: the lost epoch 3 was better than anything after the restart."""
    Run(tmp_path, RISING_THEN_FALLING, kill_at=3).go()
    again = Run(tmp_path, RISING_THEN_FALLING | {3: 0.4}).go()
    assert same(load_file(again.path), whole.weights[3])
    assert read_card(again.path)["best"]["value"] == again.evaluator.state.best_metric == 0.9


@pytest.mark.parametrize("at", ["before the weights", "after the weights"])
def test_killed_while_writing_leaves_weights_without_card(tmp_path: Path, whole: Run, at: str) -> None:
    """The card goes before the weights change and comes after them."""
    before = Run(tmp_path, {1: 0.2, 2: 0.5}).go().path.read_bytes()
    Run(tmp_path, RISING_THEN_FALLING, kill_at=3).go()
    path = tmp_path / "models" / "best.safetensors"
    path.with_suffix(".json").unlink()
    if at == "before the weights":
        path.write_bytes(before)
    again = Run(tmp_path, RISING_THEN_FALLING).go()
    assert same(load_file(again.path), whole.weights[3])
    assert read_card(again.path)["best"]["epoch"] == 3


def test_a_torn_newest_checkpoint_leaves_the_better_file(tmp_path: Path, whole: Run) -> None:
    Run(tmp_path, RISING_THEN_FALLING, kill_at=4).go()
    newest = max((tmp_path / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:100])
    assert same(load_file(Run(tmp_path, RISING_THEN_FALLING).go().path), whole.weights[3])


def test_a_file_of_an_older_run_goes_when_a_new_one_begins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = Run(tmp_path, {1: 0.99}).go()
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        checkpoint.unlink()
    with caplog.at_level(logging.WARNING):
        Run(tmp_path, {1: math.nan}).go()
    assert "anew" in caplog.text
    assert not old.path.exists()
    assert not old.path.with_suffix(".json").exists()


def test_a_file_with_other_facts_is_not_taken_for_this_runs(tmp_path: Path) -> None:
    Run(tmp_path, RISING_THEN_FALLING, kill_at=3).go()
    path = tmp_path / "models" / "best.safetensors"
    card = read_card(path)
    path.with_suffix(".json").write_text(json.dumps(card | {"preset": "other"}))
    again = Run(tmp_path, RISING_THEN_FALLING | {3: 0.4}).go()
    assert read_card(again.path)["best"] == {"metric": "score", "value": 0.8, "epoch": 5}
    assert same(load_file(again.path), again.weights[5])


def test_a_finished_run_leaves_the_file_alone(tmp_path: Path) -> None:
    first = Run(tmp_path, {1: 0.2, 2: 0.5}).go()
    before = first.path.read_bytes(), first.path.with_suffix(".json").read_bytes(), first.path.stat().st_mtime_ns
    again = Run(tmp_path, {1: 0.2, 2: 0.7}).go()  # its last validation comes out better this time
    assert (again.path.read_bytes(), again.path.with_suffix(".json").read_bytes(), again.path.stat().st_mtime_ns) == (
        before
    )
    assert again.evaluator.state.best_metric == 0.5


def test_a_longer_run_goes_on_from_the_best_so_far(tmp_path: Path) -> None:
    Run(tmp_path, {1: 0.6, 2: 0.5}).go()
    again = Run(tmp_path, {1: 0.6, 2: 0.5, 3: 0.55}).go()
    assert read_card(again.path)["best"]["epoch"] == 1
    again = Run(tmp_path, {1: 0.6, 2: 0.5, 3: 0.55, 4: 0.61}).go()
    assert read_card(again.path)["best"]["epoch"] == 4


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_never_wins(tmp_path: Path, broken: float) -> None:
    run = Run(tmp_path, {1: broken, 2: 0.1, 3: math.nan}).go()
    assert read_card(run.path)["best"] == {"metric": "score", "value": 0.1, "epoch": 2}
    assert same(load_file(run.path), run.weights[2])


def test_without_a_finite_metric_there_is_no_file(tmp_path: Path) -> None:
    run = Run(tmp_path, {1: math.nan, 2: math.nan}).go()
    assert not run.path.exists()
    assert run.evaluator.state.best_metric_epoch == -1


def test_epochs_without_validation_do_not_write(tmp_path: Path) -> None:
    run = Run(tmp_path, {2: 0.4, 4: 0.3, 5: 0.0}, interval=2).go()
    assert read_card(run.path)["best"]["epoch"] == 2


def test_a_wrapper_of_distributed_training_is_taken_off(tmp_path: Path) -> None:
    network = make_network()
    wrapped = torch.nn.Module()
    wrapped.module = network
    evaluator = make_evaluator(network, {1: 0.5})
    best = BestNetwork(tmp_path / "best.safetensors", wrapped, evaluator, CARD)
    make_trainer(network, 1, [ValidationHandler(1, evaluator), best]).run()
    assert load_file(best.path).keys() == network.state_dict().keys()


def test_facts_are_compared_as_the_card_holds_them(tmp_path: Path) -> None:
    written = {"seed": 0, "path": "a/b", "sizes": [1, 2], "metrics": {"x": 1.0}}
    assert differing_facts(written, {"path": Path("a/b"), "sizes": (1, 2), "metrics": {}}) == []
    assert differing_facts(written, {"seed": 1, "new": None}) == ["seed: 0 there, 1 here"]
