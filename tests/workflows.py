"""Workflows from the bundle's own configs, on a tiny store and in this process."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

TINY = {"crop_size": 64, "batch_size": 8, "max_epochs": 1, "val_interval": 1, "log_every": 1, "precision": "fp32"}

TINY_TEXT: dict[str, Any] = {
    "image_weights": None,
    "text_source": {
        "vocab_size": "@vocab_size",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 256,
    },
    "tokenizer": None,
    "frozen_text_layers": 1,
}
"""In place of weights that would have to be downloaded."""

NO_DROPOUT = {
    **TINY_TEXT,
    "text_source": TINY_TEXT["text_source"] | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}
"""The same without dropout, whose draws depend on how a batch is cut into pieces."""


@contextmanager
def workflow(
    store: Path, output: Path, names: tuple[str, ...], values: Mapping[str, Any] | None = None
) -> Iterator[ConfigWorkflow]:
    """A workflow whose `initialize` list has run; afterwards this process is as it was before.

    Args:
        store: the packed store.
        output: what stands for `runs`.
        names: configs to merge, such as ("pretrain", "demo").
        values: overrides, as on the command line.
    """
    with started(names, {"dataset_dir": str(store), "output_root": str(output), **TINY, **(values or {})}) as made:
        yield made


@contextmanager
def started(names: tuple[str, ...], values: Mapping[str, Any], run_id: str = "training") -> Iterator[ConfigWorkflow]:
    """As `workflow`, of any stage and with no other overrides than those given.

    Args:
        names: configs to merge.
        values: overrides, as on the command line.
        run_id: the list of the config that the workflow's `run` evaluates.
    """
    files = [str(CONFIGS / f"{name}.yaml") for name in names]
    with _unchanged_process():
        made = ConfigWorkflow(files, logging_file=False, run_id=run_id, **values)
        made.initialize()
        yield made
        made.finalize()


def one_step(made: ConfigWorkflow) -> dict[str, torch.Tensor]:
    """Train one step with everything around it, and return the gradients of the trained parameters.

    The workflow must have been made with the values `ONE_STEP`.
    """
    made.run()
    network = made.parser.get_parsed_content("network")
    return {name: p.grad for name, p in network.named_parameters() if p.requires_grad}


ONE_STEP = {"train::trainer::epoch_length": 1, "train::trainer::train_handlers": "$[]"}
"""Values for a workflow that trains one step and leaves nothing behind."""


def with_handlers(*names: str) -> dict[str, str]:
    """Values for a workflow that attaches only those of its training handlers."""
    return {"train::trainer::train_handlers": f"$[x for x in @train::handlers if type(x).__name__ in {names}]"}


@contextmanager
def _unchanged_process() -> Iterator[None]:
    """Take back what a run does to its process: log files, exception hook, answer to SIGTERM, module path, seed."""
    root = logging.getLogger()
    hook, path, level, handlers = sys.excepthook, list(sys.path), root.level, list(root.handlers)
    sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        sys.excepthook = hook
        sys.path[:] = path
        signal.signal(signal.SIGTERM, sigterm)
        root.setLevel(level)
        for handler in [handler for handler in root.handlers if handler not in handlers]:
            root.removeHandler(handler)
            handler.close()
