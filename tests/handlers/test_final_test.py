from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toy_supervised import CARD, MeanOutput, Run, make_evaluator

from bundle.handlers.final_test import FinalTest, FinalTestError
from bundle.handlers.results import Results
from bundle.networks.weights.checkpoint import read_card, save_weights

BEST_IN_THE_MIDDLE = {1: 0.2, 2: 0.9, 3: 0.3}


def first_process() -> bool:
    """One process writes the results, as in the configs."""
    return not dist.is_initialized() or dist.get_rank() == 0


class RunWithTest:
    """A run that ends with a final test and its results."""

    def __init__(self, folder: Path, values: dict[int, float] = BEST_IN_THE_MIDDLE, **options: Any) -> None:
        self.folder = folder
        self.options = {"validate": True, "card": CARD} | options
        self.run = Run(folder, values, last=self._handlers, kill_at=options.get("kill_at"))

    def _handlers(self, run: Run) -> list[Any]:
        self.tester = make_evaluator(run.network, second=MeanOutput())
        validator = run.evaluator if self.options["validate"] else None
        final = FinalTest(run.network, run.path, self.tester, validator, card=self.options["card"])
        datalist = {"name": "l", "sha256": "0"}
        results = Results(self.folder / "results.json", "toy", datalist, "p", evaluator=self.tester)
        return [final, results] if first_process() else [final]

    @property
    def answer(self) -> float:
        return json.loads((self.folder / "results.json").read_text())["metrics"]["answer"]["value"]


def answer_of(weights: dict[str, torch.Tensor]) -> float:
    run_network = Run(Path("unused"), {1: 0.0}).network
    run_network.load_state_dict(weights)
    evaluator = make_evaluator(run_network)
    evaluator.run()
    return evaluator.state.metrics["answer"]


def test_results_are_those_of_the_best_weights(tmp_path: Path) -> None:
    tested = RunWithTest(tmp_path)
    run = tested.run.go()
    assert tested.answer == answer_of(run.weights[2])
    assert tested.answer != answer_of(run.weights[3])
    assert all(torch.equal(value, run.weights[2][name]) for name, value in run.network.state_dict().items())


def test_the_validator_has_seen_the_tested_weights(tmp_path: Path) -> None:
    run = RunWithTest(tmp_path).run.go()
    assert run.evaluator.state.metrics["answer"] == answer_of(run.weights[2])
    assert run.evaluator.state.epoch == 2
    assert (run.evaluator.state.best_metric, run.evaluator.state.best_metric_epoch) == (0.9, 2)


def test_without_validator_the_test_is_the_same(tmp_path: Path) -> None:
    tested = RunWithTest(tmp_path, validate=False)
    run = tested.run.go()
    assert tested.answer == answer_of(run.weights[2])
    assert run.evaluator.state.metrics["answer"] == answer_of(run.weights[3])


def test_a_finished_run_is_tested_again_to_the_same_figures(tmp_path: Path) -> None:
    first = RunWithTest(tmp_path)
    first.run.go()
    before = (tmp_path / "results.json").read_bytes()
    (tmp_path / "results.json").unlink()
    again = RunWithTest(tmp_path)
    again.run.go()
    assert again.run.weights == {}  # nothing was trained
    assert (tmp_path / "results.json").read_bytes() == before


@pytest.mark.parametrize("kill_at", [2, 3])
def test_a_killed_run_is_tested_as_one_that_was_not(tmp_path: Path, kill_at: int) -> None:
    whole = RunWithTest(tmp_path / "whole")
    whole.run.go()
    RunWithTest(tmp_path / "killed", kill_at=kill_at).run.go()
    assert not (tmp_path / "killed" / "results.json").exists()
    again = RunWithTest(tmp_path / "killed")
    again.run.go()
    assert again.answer == whole.answer


def test_without_best_weights_the_last_are_tested_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tested = RunWithTest(tmp_path, {1: float("nan"), 2: float("nan")})
    with caplog.at_level(logging.WARNING):
        run = tested.run.go()
    assert "best.safetensors is not there: the network of the last epoch, 2, is tested" in caplog.text
    assert tested.answer == answer_of(run.weights[2])


def finish_then_change(folder: Path, **facts: Any) -> Path:
    path = RunWithTest(folder).run.go().path
    card = read_card(path)
    path.with_suffix(".json").write_text(json.dumps({**card, **facts}))
    return path


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"preset": "other"}, "preset: other there, p here"),
        ({"best": {"metric": "score", "value": 0.9, "epoch": 1}}, "epoch: 1 there, 2 here"),
        ({"best": {"metric": "score", "value": 0.91, "epoch": 2}}, r"value: 0\.91 there, 0\.9 here"),
    ],
)
def test_weights_of_another_run_are_refused_saying_what_differs(tmp_path: Path, facts: dict, said: str) -> None:
    finish_then_change(tmp_path, **facts)
    with pytest.raises(FinalTestError, match=rf"best\.safetensors is not of this run \({said}\): remove it"):
        RunWithTest(tmp_path).run.trainer.run()


def test_weights_without_a_best_epoch_or_a_card_are_refused(tmp_path: Path) -> None:
    path = RunWithTest(tmp_path).run.go().path
    save_weights(RunWithTest(tmp_path).run.network, path, CARD)
    with pytest.raises(FinalTestError, match="it names no best epoch"):
        RunWithTest(tmp_path).run.trainer.run()
    path.with_suffix(".json").unlink()
    with pytest.raises(FinalTestError, match="no readable card"):
        RunWithTest(tmp_path).run.trainer.run()


def test_a_file_of_before_is_refused_when_nothing_removes_it(tmp_path: Path) -> None:
    """A run that keeps no best network itself, in the folder of one that did."""
    run = Run(tmp_path, {1: 0.9}).go()
    tester = make_evaluator(run.network)
    final = FinalTest(run.network, run.path, tester, make_evaluator(run.network, {1: 0.1}), card=CARD)
    with pytest.raises(FinalTestError, match="epoch: 1 there, -1 here"):
        final(run.trainer)


def process(rank: int, folder: str) -> None:
    """A run killed in epoch 3, finished, and started once more with another run's file; in one of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    RunWithTest(Path(folder), kill_at=3).run.go()
    tested = RunWithTest(Path(folder))
    run = tested.run.go()
    state = run.evaluator.state
    seen = {"best": [state.best_metric, state.best_metric_epoch], "answer": tested.tester.state.metrics["answer"]}
    dist.barrier()
    if rank == 0:
        run.path.with_suffix(".json").write_text(json.dumps({**read_card(run.path), "preset": "other"}))
    try:
        RunWithTest(Path(folder)).run.trainer.run()
    except FinalTestError as error:
        seen["error"] = str(error)
    Path(folder, f"seen{rank}.json").write_text(json.dumps(seen))
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_test_the_same_weights_and_refuse_together(tmp_path: Path) -> None:
    whole = RunWithTest(tmp_path / "whole")
    whole.run.go()
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        seen = json.loads((tmp_path / f"seen{rank}.json").read_text())
        assert seen["best"] == [0.9, 2]
        assert seen["answer"] == whole.answer
        assert "preset: other there, p here" in seen["error"]
