"""Interrupted and continued runs against an uninterrupted one, in one process (real kills: test_resume_runs.py)."""

import logging
import os
import random
import signal

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch.utils.data import DataLoader, TensorDataset
from toy_supervised import At, Run, make_network, make_trainer

from bundle.data.batch_sampler import ShardedBatchSampler
from bundle.handlers.metrics_log import MetricsLog
from bundle.handlers.results import Results
from bundle.handlers.resume import Resume, ResumeError, newest_checkpoint
from bundle.handlers.sampler_position import SamplerPosition

EPOCHS, BATCHES = 3, 5


class Killed(Exception):
    pass


def collate(rows):
    image, label = zip(*rows, strict=True)
    return {"image": torch.stack(image), "label": torch.stack(label)}


def run(
    folder,
    kill_at=None,
    every=2,
    signal_at=None,
    before_save=(),
    batch_size=4,
    epochs=1,
    begin=None,
    until=EPOCHS,
    further=None,
):
    """Train until the end, a kill or a signal; each loss also depends on every random generator."""
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Dropout(0.3), torch.nn.Linear(5, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.5)
    data = TensorDataset(torch.arange(20 * 6.0).reshape(20, 6) / 120, torch.arange(20.0)[:, None] / 20)
    sampler = ShardedBatchSampler(data, batch_size)
    generator = torch.Generator()
    loader = DataLoader(data, batch_sampler=sampler, collate_fn=collate, generator=generator)
    losses = {}

    def noisy(prediction, target):
        noise = random.random() + np.random.rand()  # noqa: NPY002
        return torch.nn.functional.mse_loss(prediction, target) + 1e-3 * noise

    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=until,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=noisy,
        decollate=False,
        train_handlers=[SamplerPosition(sampler)],
    )

    @trainer.on(Events.ITERATION_COMPLETED)
    def _record(engine):
        losses[engine.state.iteration] = engine.state.output["loss"].item()
        scheduler.step()
        if engine.state.iteration == signal_at:
            os.kill(os.getpid(), signal.SIGTERM)

    objects = {"network": network, "optimizer": optimizer, "scheduler": scheduler, **(further or {})}
    Resume(folder, objects, every=every, before_save=before_save, epochs=epochs, begin=begin).attach(trainer)

    @trainer.on(Events.ITERATION_COMPLETED)
    def _kill(engine):
        if engine.state.iteration == kill_at:
            raise Killed

    trainer.run()
    return losses


@pytest.fixture(autouse=True)
def _keep_signal_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("kill_at", [1, 4, 5, 7, 10, 14, 15])
def test_killed_run_continues_bit_for_bit(tmp_path, whole, kill_at):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=kill_at)
    rest = run(tmp_path)
    assert max(rest) == EPOCHS * BATCHES
    assert min(rest) <= kill_at + 1
    assert rest == {iteration: whole[iteration] for iteration in rest}


def test_killed_twice(tmp_path, whole):
    for kill_at in (6, 11):
        with pytest.raises(Killed):
            run(tmp_path, kill_at=kill_at)
    rest = run(tmp_path)
    assert rest == {iteration: whole[iteration] for iteration in rest}


def test_finished_run_does_not_train_again(tmp_path):
    run(tmp_path)
    assert run(tmp_path) == {}


def test_a_run_goes_on_from_the_checkpoint_of_another(tmp_path, whole):
    run(tmp_path / "common", until=2)
    with pytest.raises(Killed):
        run(tmp_path / "own", begin=tmp_path / "common", kill_at=13)
    assert newest_checkpoint(tmp_path / "common").stem == "checkpoint_0000000010"
    rest = run(tmp_path / "own", begin=tmp_path / "common")  # now from its own
    assert rest == {iteration: whole[iteration] for iteration in (13, 14, 15)}
    assert run(tmp_path / "other", begin=tmp_path / "common") == {n: whole[n] for n in range(11, 16)}


def test_what_the_other_run_did_not_have_begins_here_and_is_kept_by_the_own(tmp_path):
    further = {"further": torch.nn.Linear(1, 1)}
    before = further["further"].weight.item()
    run(tmp_path / "common", until=2)
    with pytest.raises(Killed):
        run(tmp_path / "own", begin=tmp_path / "common", kill_at=13, further=further)
    assert further["further"].weight.item() == before
    torch.nn.init.zeros_(further["further"].weight)
    run(tmp_path / "own", begin=tmp_path / "common", further=further)
    assert further["further"].weight.item() == before


def test_a_beginning_that_is_none_is_told(tmp_path):
    with pytest.raises(ResumeError, match="has no whole checkpoint to go on from: check the path"):
        run(tmp_path / "own", begin=tmp_path / "nowhere")
    run(tmp_path / "common")
    with pytest.raises(ResumeError, match="is of epoch 3, and this run ends there: give it more max_epochs"):
        run(tmp_path / "own", begin=tmp_path / "common")


def test_sigterm_saves_and_exits_with_0(tmp_path, whole):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, signal_at=8, every=100)
    assert stopped.value.code == 0
    assert newest_checkpoint(tmp_path).stem == "checkpoint_0000000008"
    rest = run(tmp_path)
    assert rest == {iteration: whole[iteration] for iteration in range(9, 16)}


@pytest.mark.parametrize("tear", ["cut", "empty", "flip"])
def test_torn_newest_checkpoint_falls_back_and_says_so(tmp_path, whole, caplog, tear):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=9)
    newest = newest_checkpoint(tmp_path)
    content = bytearray(newest.read_bytes())
    if tear == "flip":
        content[len(content) // 2] ^= 0xFF
    newest.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "flip": content}[tear])
    with caplog.at_level(logging.WARNING):
        rest = run(tmp_path)
    assert f"{newest} is torn" in caplog.text
    assert min(rest) == 7
    assert rest == {iteration: whole[iteration] for iteration in rest}


def test_only_the_newest_stay_and_no_partial_file(tmp_path):
    run(tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "checkpoint_0000000014.pt",
        "checkpoint_0000000015.pt",
    ]


def test_short_epochs_need_not_all_be_saved(tmp_path, whole):
    with pytest.raises(Killed):
        run(tmp_path, every=1000, epochs=2, kill_at=14)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_0000000010.pt"]
    rest = run(tmp_path, every=1000, epochs=2)
    assert rest == {iteration: whole[iteration] for iteration in range(11, 16)}
    assert (tmp_path / "checkpoint_0000000015.pt").exists()  # the last epoch always is


def test_guard_keeps_a_spoilt_state_from_being_saved(tmp_path):
    def refuse(engine):
        if engine.state.iteration == 4:
            raise FloatingPointError("loss is nan")

    with pytest.raises(FloatingPointError):
        run(tmp_path, before_save=[refuse])
    assert newest_checkpoint(tmp_path).stem == "checkpoint_0000000002"


def test_another_batch_size_is_refused_saying_what_differs(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, kill_at=7)
    with pytest.raises(ResumeError, match="iterations an epoch: 5 then, 10 now"):
        run(tmp_path, batch_size=2)


def test_checkpoints_load_without_unpickling(tmp_path):
    run(tmp_path)
    state = torch.load(newest_checkpoint(tmp_path), weights_only=True)
    assert set(state) == {"objects", "iteration", "epoch_length", "best", "random"}


VALUES = {1: 0.2, 2: 0.9, 3: 0.3}


def supervised(folder, signal_in_validation=None, signal_at_end=False):
    """Train with validation, best network, logs and results, as a stage does; the run and its evaluator's epochs."""
    validated = []

    def extra(run):
        results = Results(folder / "results.json", "toy", {"name": "l", "sha256": "0"}, "p", evaluator=run.evaluator)
        return [MetricsLog(folder / "metrics.jsonl", run.evaluator), results]

    made = Run(folder, VALUES, last=extra)

    @made.evaluator.on(Events.COMPLETED)
    def _look(engine):
        validated.append(engine.state.epoch)
        if engine.state.epoch == signal_in_validation:
            os.kill(os.getpid(), signal.SIGTERM)

    @made.trainer.on(Events.ITERATION_COMPLETED)
    def _last_iteration(engine):
        if signal_at_end and engine.state.iteration == 2 * len(VALUES):
            os.kill(os.getpid(), signal.SIGTERM)

    return made, validated


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_validates_again_and_leaves_its_results_as_they_were(tmp_path):
    supervised(tmp_path)[0].go()
    before = contents(tmp_path)
    made, validated = supervised(tmp_path)
    made.go()
    assert validated == [3]
    assert contents(tmp_path) == before
    assert (made.evaluator.state.best_metric, made.evaluator.state.best_metric_epoch) == (0.9, 2)


def test_results_that_a_kill_kept_from_being_written_come_with_the_next_start(tmp_path):
    supervised(tmp_path)[0].go()
    before = contents(tmp_path)
    (tmp_path / "results.json").unlink()
    supervised(tmp_path)[0].go()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("when", [{"signal_in_validation": 2}, {"signal_at_end": True}])
def test_sigterm_around_the_end_of_an_epoch_waits_for_its_validation(tmp_path, when):
    supervised(tmp_path / "whole")[0].go()
    made, validated = supervised(tmp_path / "stopped", **when)
    with pytest.raises(SystemExit) as stopped:
        made.go()
    assert stopped.value.code == 0
    assert validated[-1] == (2 if "signal_in_validation" in when else 3)
    supervised(tmp_path / "stopped")[0].go()
    assert contents(tmp_path / "stopped").keys() == contents(tmp_path / "whole").keys()
    for name in ("results.json", "metrics.jsonl", "best.safetensors", "best.json"):
        assert contents(tmp_path / "stopped")[name] == contents(tmp_path / "whole")[name]


def test_sigterm_while_results_are_written_is_answered_after_them(tmp_path):
    network, done = make_network(), []

    def write(engine):
        os.kill(os.getpid(), signal.SIGTERM)
        done.append(engine.state.iteration)

    trainer = make_trainer(network, 1, [At(Events.COMPLETED, write), Resume(tmp_path, {"network": network})])
    with pytest.raises(SystemExit):
        trainer.run()
    assert done == [2]


def test_what_answered_sigterm_before_does_so_again(tmp_path):
    def answer(signum, frame):
        pass

    signal.signal(signal.SIGTERM, answer)
    run(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is answer
