"""A config over several seeds, run by MONAI's own workflow as the command line does it."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from toy_supervised import MeanOutput, make_evaluator

from bundle.handlers import seeds as module
from bundle.handlers.seeds import train_each_seed
from bundle.metrics.over_seeds import SeedsError

CONFIG = """
imports:
- $import torch
- $from bundle.handlers.run_folder import prepare_run_folder
- $from bundle.handlers.seeds import train_each_seed
name: toy
output_root: {root}
seeds: [0]
seed: $@seeds[0]
output_dir: $@output_root + '/stage/' + @name
network: {{_target_: test_seeds.Watched, in_features: 3, out_features: 1}}
evaluator: {{_target_: test_seeds.evaluator_of, network: '@network'}}
stop_at: null
epochs: 3
train:
  handlers:
  - {{_target_: ValidationHandler, validator: '@evaluator', interval: 1}}
  - _target_: bundle.handlers.results.Results
    path: $@output_dir + '/results.json'
    evaluator: '@evaluator'
    stage: toy
    datalist: {{name: l, sha256: ab}}
    protocol: p
    seeds: '@seeds'
  - {{_target_: test_seeds.Stopper, at: '@stop_at', seed: '@seed'}}
  - _target_: bundle.handlers.resume.Resume
    folder: $@output_dir + '/checkpoints'
    objects: {{network: '@network'}}
    evaluator: '@evaluator'
  trainer:
    _target_: SupervisedTrainer
    max_epochs: '@epochs'
    device: cpu
    train_data_loader: $__import__('toy_supervised').make_batches()
    network: '@network'
    optimizer: $torch.optim.SGD(@network.parameters(), 0.1)
    loss_function: $torch.nn.functional.mse_loss
    train_handlers: '@train::handlers'
    decollate: false
initialize:
- $prepare_run_folder(@output_dir)
- $torch.manual_seed(@seed)
training:
- $train_each_seed(@seeds)
"""

living: list[weakref.ref] = []
trained: list[tuple[int, int]] = []
most_alive = 0


class Watched(torch.nn.Linear):
    """A network that tells how many of its kind there are."""

    def __init__(self, **options: Any) -> None:
        global most_alive
        super().__init__(**options)
        living.append(weakref.ref(self))
        most_alive = max(most_alive, sum(one() is not None for one in living))


class Stopper:
    """Notes each epoch, and asks a seed's training to stop."""

    def __init__(self, at: list[int] | None, seed: int) -> None:
        self.at, self.seed = at, seed

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        logging.getLogger("toy").info("seed %d, epoch %d", self.seed, engine.state.epoch)
        trained.append((self.seed, engine.state.epoch))
        if self.at == [self.seed, engine.state.epoch]:
            os.kill(os.getpid(), signal.SIGTERM)


def evaluator_of(network: torch.nn.Module) -> Any:
    return make_evaluator(network, second=MeanOutput())


@pytest.fixture(autouse=True)
def _unchanged_process() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, answer = list(root.handlers), root.level, signal.getsignal(signal.SIGTERM)
    living.clear()
    trained.clear()
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers, root.level = handlers, level
    signal.signal(signal.SIGTERM, answer)


def run(root: Path, **values: Any) -> Path:
    """Run the config as `python -m monai.bundle run training` does; the run's folder."""
    root.mkdir(exist_ok=True)
    path = root / "config.yaml"
    path.write_text(CONFIG.format(root=root))
    (root / "metadata.json").write_text("{}")
    workflow = ConfigWorkflow(str(path), logging_file=False, run_id="training", **values)
    workflow.initialize()
    workflow.run()
    return root / "stage" / "toy"


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_one_seed_trains_in_the_runs_own_folder(tmp_path: Path) -> None:
    folder = run(tmp_path, seeds=[4])
    assert read(folder)["seeds"] == [4]
    assert "deviation" not in read(folder)["metrics"]["answer"]
    assert list(folder.glob("seed_*")) == []
    assert trained == [(4, 1), (4, 2), (4, 3)]


def test_several_seeds_train_in_turn_each_as_a_run_of_its_own(tmp_path: Path) -> None:
    folder = run(tmp_path / "both", seeds=[0, 3])
    alone = run(tmp_path / "single", seeds=[3])
    assert trained == [(seed, epoch) for seed in (0, 3, 3) for epoch in (1, 2, 3)]
    values = {seed: read(folder / f"seed_{seed}")["metrics"]["answer"]["value"] for seed in (0, 3)}
    assert values[3] == read(alone)["metrics"]["answer"]["value"]
    assert values[0] != values[3]
    gathered = read(folder)
    assert gathered["seeds"] == [0, 3]
    entry = gathered["metrics"]["answer"]
    assert entry["per_seed"] == [values[0], values[3]]
    assert entry["value"] == pytest.approx((values[0] + values[3]) / 2)
    assert entry["deviation"] == pytest.approx(abs(values[0] - values[3]) / 2**0.5)


def test_each_seed_leaves_the_config_that_trains_it_alone(tmp_path: Path) -> None:
    folder = run(tmp_path, seeds=[0, 3])
    whole, part = (yaml.safe_load((path / "config.yaml").read_text()) for path in (folder, folder / "seed_3"))
    assert whole["seeds"] == [0, 3]
    assert part == whole | {"seeds": [3], "name": "toy/seed_3"}


def test_each_log_has_the_lines_of_its_own_seed(tmp_path: Path) -> None:
    folder = run(tmp_path, seeds=[0, 3])
    logs = {seed: (folder / f"seed_{seed}" / "log.txt").read_text() for seed in (0, 3)}
    assert [text.count("toy: seed 0") for text in logs.values()] == [3, 0]
    assert [text.count("toy: seed 3") for text in logs.values()] == [0, 3]
    whole = (folder / "log.txt").read_text()
    assert whole.count("toy: seed") == 6


def test_a_seeds_network_is_gone_before_the_next_is_made(tmp_path: Path) -> None:
    global most_alive
    gc.collect()
    most_alive = 0
    run(tmp_path, seeds=[0, 1, 2])
    assert len(living) == 3
    assert most_alive == 1


def test_seeds_with_results_are_not_trained_again(tmp_path: Path) -> None:
    folder = run(tmp_path, seeds=[0, 1])
    before = (folder / "seed_0" / "results.json").read_bytes()
    trained.clear()
    folder = run(tmp_path, seeds=[0, 1, 2])
    assert {seed for seed, _ in trained} == {2}
    assert (folder / "seed_0" / "results.json").read_bytes() == before
    assert read(folder)["seeds"] == [0, 1, 2]


def test_a_stopped_run_goes_on_with_the_seed_it_was_stopped_in(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", seeds=[0, 1, 2])
    trained.clear()
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "stopped", seeds=[0, 1, 2], stop_at=[1, 2])
    assert stopped.value.code == 0
    assert not (tmp_path / "stopped" / "stage" / "toy" / "results.json").exists()
    folder = run(tmp_path / "stopped", seeds=[0, 1, 2])
    assert trained == [(seed, epoch) for seed in (0, 1, 2) for epoch in (1, 2, 3)]
    assert read(folder) == read(whole)


def test_a_folder_that_does_not_follow_the_name_is_parted_all_the_same(tmp_path: Path) -> None:
    run(tmp_path, seeds=[0, 1], output_dir=str(tmp_path / "here"))
    assert read(tmp_path / "here")["seeds"] == [0, 1]
    assert read(tmp_path / "here" / "seed_1")["seeds"] == [1]


def test_a_seed_fixed_beside_seeds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around that of an expression
        run(tmp_path, seeds=[0, 1], seed=1)
    assert "the config fixes the seed 1 for all of its seeds" in str(caught.value.__cause__)
    assert isinstance(caught.value.__cause__, SeedsError)


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_are_distinct(seeds: list[int]) -> None:
    with pytest.raises(SeedsError, match="give distinct ones"):
        train_each_seed(seeds)


def test_a_seed_without_results_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_train", lambda parser, seed, folder: None)
    with pytest.raises(RuntimeError) as caught:
        run(tmp_path, seeds=[0, 1])
    assert "seed 0 left no" in str(caught.value.__cause__)
