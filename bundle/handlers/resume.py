"""Checkpoints that a killed run continues from by itself, bit for bit on a CPU."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from ignite.engine import Events
from monai.engines import Evaluator, Workflow

__all__ = ["Resume", "ResumeError", "newest_checkpoint"]

logger = logging.getLogger(__name__)


class ResumeError(RuntimeError):
    """A checkpoint that the present run cannot continue."""


class Resume:
    """Save all that training depends on; find the newest valid checkpoint at the start and continue from it.

    Saved: the state of every object given, the trainer's position, the best metric of the evaluator, and the random
    state of every process. A file is written under a temporary name and renamed; a torn one is skipped with a warning
    and the one before it taken. On SIGTERM (a scheduler's warning before it kills) all processes save at the same step
    and exit with status 0; an epoch that has just ended is validated first. SIGINT is left alone. Attach it last, so
    that it sees what the other handlers have done.

    Args:
        folder: where the checkpoints lie; it is made.
        objects: what has `state_dict` and `load_state_dict`, by name: network, optimiser, scheduler.
        every: iterations between checkpoints within an epoch.
        epochs: epochs between checkpoints that are written when an epoch and its validation are complete; one is
            always written after the last epoch. More than 1 suits epochs of a few steps.
        keep: number of newest checkpoints that stay.
        evaluator: engine whose best metric belongs to the state.
        before_save: called with the trainer before each save; one that raises keeps a spoilt state from being saved.
        begin: checkpoints of another run. Without one of its own, this run goes on from the newest of those: what
            comes after a common beginning can then be compared without repeating it. The other run's best metric is
            not taken over, since the weights that reached it lie there; objects that it did not have begin here.

    Raises:
        ResumeError: when a checkpoint was made by another number of processes or batches an epoch, or when `begin` has
            none that is whole.
    """

    def __init__(
        self,
        folder: str | Path,
        objects: Mapping[str, Any],
        every: int = 1000,
        keep: int = 2,
        evaluator: Evaluator | None = None,
        before_save: Sequence[Callable[[Workflow], None]] = (),
        epochs: int = 1,
        begin: str | Path | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.begin = None if begin is None else Path(begin)
        self.objects = dict(objects)
        self.every = every
        self.epochs = epochs
        self.keep = keep
        self.evaluator = evaluator
        self.before_save = list(before_save)
        self.asked_to_stop = False
        self._control: Any = None
        self._answer_before: Any = None

    def attach(self, engine: Workflow) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self.restore)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._after_epoch)
        engine.add_event_handler(Events.COMPLETED, self._after_run)

    def restore(self, engine: Workflow) -> None:
        """Load the newest valid checkpoint, if there is one, and from here on answer SIGTERM."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._answer_before = signal.signal(signal.SIGTERM, self._on_sigterm)
        # Signals reach processes at different steps; they agree on the host, so that no step waits for a device.
        self._control = dist.new_group(backend="gloo") if _distributed() else None
        path = newest_checkpoint(self.folder) or self._beginning()
        if path is None:
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        self._check(engine, state, path)
        own = path.parent == self.folder
        for name, item in self.objects.items():
            if own or name in state["objects"]:
                item.load_state_dict(state["objects"][name])
        engine.state.iteration = state["iteration"]
        engine.state.epoch = state["iteration"] // engine.state.epoch_length
        _set_random_state(state["random"][_rank()])
        logger.info("resumed from %s at iteration %d", path, engine.state.iteration)
        if not own and engine.state.epoch >= engine.state.max_epochs:
            raise ResumeError(
                f"{path} is of epoch {engine.state.epoch}, and this run ends there: give it more max_epochs"
            )
        if self.evaluator is not None and own:
            if engine.state.epoch >= engine.state.max_epochs:
                # Nothing is left to train: what is written at the end needs the figures of the last validation again.
                self.evaluator.run(engine.state.epoch)
            # After that validation, which took its own metric for the best.
            self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = state["best"]

    def save(self, engine: Workflow) -> None:
        """Write a checkpoint of the present state. All processes take part; the first one writes."""
        for prepare in self.before_save:
            prepare(engine)
        random_states = _gather(_random_state())
        if _rank() == 0:
            best = (
                (self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch) if self.evaluator else None
            )
            state = {
                "objects": {name: item.state_dict() for name, item in self.objects.items()},
                "iteration": engine.state.iteration,
                "epoch_length": engine.state.epoch_length,
                "best": best,
                "random": random_states,
            }
            _write(state, self.folder / f"checkpoint_{engine.state.iteration:010d}.pt")
            for old in _checkpoints(self.folder)[self.keep :]:
                old.unlink()

    def _beginning(self) -> Path | None:
        """The checkpoint of the other run that this one goes on from."""
        if self.begin is None:
            return None
        path = newest_checkpoint(self.begin)
        if path is None:
            raise ResumeError(f"{self.begin} has no whole checkpoint to go on from: check the path of the other run")
        return path

    def _after_iteration(self, engine: Workflow) -> None:
        iteration = engine.state.iteration
        # The end of an epoch is saved after its validation: a run killed before it then validates again.
        if iteration % engine.state.epoch_length == 0:
            return
        if self._any_asked_to_stop():
            self.save(engine)
            self._stop(engine)
        elif iteration % self.every == 0:
            self.save(engine)

    def _after_epoch(self, engine: Workflow) -> None:
        asked = self._any_asked_to_stop()
        if asked or engine.state.epoch % self.epochs == 0 or engine.state.epoch == engine.state.max_epochs:
            self.save(engine)
        if asked:
            self._stop(engine)

    def _after_run(self, engine: Workflow) -> None:
        # A signal that came while results were written is answered before anything else is begun. A handler left
        # behind would hold this run's network, and answer for a run that no longer looks.
        asked = self._any_asked_to_stop()
        signal.signal(signal.SIGTERM, self._answer_before or signal.SIG_DFL)
        if asked:
            self._stop(engine)

    def _stop(self, engine: Workflow) -> None:
        logger.warning("SIGTERM: saved at iteration %d, stopping", engine.state.iteration)
        sys.exit(0)

    def _any_asked_to_stop(self) -> bool:
        if self._control is None:
            return self.asked_to_stop
        asked = torch.tensor(int(self.asked_to_stop))
        dist.all_reduce(asked, group=self._control)
        return bool(asked)

    def _on_sigterm(self, signum: int, frame: Any) -> None:
        self.asked_to_stop = True

    def _check(self, engine: Workflow, state: dict[str, Any], path: Path) -> None:
        found = {"processes": len(state["random"]), "iterations an epoch": state["epoch_length"]}
        now = {"processes": len(_gather(None)), "iterations an epoch": engine.state.epoch_length}
        if differing := [f"{name}: {found[name]} then, {now[name]} now" for name in found if found[name] != now[name]]:
            raise ResumeError(
                f"{path} cannot be continued by this run ({'; '.join(differing)}): "
                "start it as before, or give the run another name"
            )


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint of a folder that is whole, or none; each torn one is named in a warning."""
    for path in _checkpoints(Path(folder)):
        if _is_whole(path):
            return path
        logger.warning("%s is torn; taking the checkpoint before it", path)
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint_*.pt"), reverse=True)


def _is_whole(path: Path) -> bool:
    """Whether the archive's directory is there and every part has its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def _write(state: dict[str, Any], path: Path) -> None:
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _random_state() -> dict[str, Any]:
    state: Any = np.random.get_state()  # noqa: NPY002
    name, keys, position, has_gauss, gauss = state
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "python": [version, list(internal), gauss_next],
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    # The global generator, since that is what other people's transforms draw from.
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _rank() -> int:
    return dist.get_rank() if _distributed() else 0


def _gather(item: Any) -> list[Any]:
    """One item of each process, in rank order, on every process."""
    if not _distributed():
        return [item]
    items: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(items, item)
    return items
