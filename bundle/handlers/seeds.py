"""One run over several seeds: each trained in a folder of its own, their figures taken together."""

from __future__ import annotations

import copy
import gc
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from monai.bundle import ConfigParser

from bundle.metrics.over_seeds import SeedsError, gather_results

from .atomic import replacing
from .run_folder import running_parser

__all__ = ["train_each_seed"]

logger = logging.getLogger(__name__)

_TRAINER = "train::trainer"


def train_each_seed(seeds: Sequence[int]) -> None:
    """Run the trainer of the calling config once a seed.

    The config has the ids `name`, `output_dir`, `seeds`, `seed` (`$@seeds[0]`), `initialize` and `train::trainer`. One
    seed trains in the run's own folder. Several train one after the other, each from a fresh copy of the config with
    `seeds: [k]` and the name `NAME/seed_k`, and so in `OUTPUT_DIR/seed_k` with its own checkpoints, log and
    `results.json`; then `results.json` of the run takes them together (`gather_results`). A run that is started again
    leaves out seeds that have results, and continues the one it was stopped in.

    Args:
        seeds: distinct seeds, in the order in which they are trained.

    Raises:
        SeedsError: when the seeds are none or repeated, the config fixes `seed` beside `seeds`, or a seed's training
            left no results.
        ValueError: when no config is calling.

    Example:
        >>> config = {"seeds": [0, 1, 2], "seed": "$@seeds[0]", "training": ["$train_each_seed(@seeds)"]}
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise SeedsError(f"seeds is {list(seeds)}: give distinct ones, such as [0, 1, 2]")
    parser = running_parser()
    if len(seeds) == 1:
        parser.get_parsed_content(_TRAINER).run()
        return
    folder = Path(parser.get_parsed_content("output_dir"))
    for seed in seeds:
        if _results(folder, seed).is_file():
            logger.info("seed %d has results already: %s", seed, _results(folder, seed))
        else:
            with _log_files_closed():
                _train(parser, seed, folder / f"seed_{seed}")
            _free()
    if not dist.is_initialized() or dist.get_rank() == 0:
        _gather(folder, seeds)


def _results(folder: Path, seed: int) -> Path:
    return folder / f"seed_{seed}" / "results.json"


def _train(parser: ConfigParser, seed: int, folder: Path) -> None:
    """Train one seed as a run of its own."""
    logger.info("seed %d trains in %s", seed, folder)
    own = _for_seed(parser, seed)
    if Path(own.get_parsed_content("output_dir")) != folder:  # given beside the name, it does not follow from it
        own["output_dir"] = str(folder)
    if (fixed := own.get_parsed_content("seed")) != seed:
        raise SeedsError(f"the config fixes the seed {fixed} for all of its seeds: give `seeds` alone")
    for number in range(len(own["initialize"])):
        own.get_parsed_content(f"initialize::{number}")
    own.get_parsed_content(_TRAINER).run()


def _for_seed(parser: ConfigParser, seed: int) -> ConfigParser:
    config: dict[str, Any] = copy.deepcopy(parser.get())
    name = parser.get_parsed_content("name")
    return ConfigParser(config | {"seeds": [seed], "name": f"{name}/seed_{seed}"})


@contextmanager
def _log_files_closed() -> Iterator[None]:
    """Close the log files that the block opens, which would go on to take what the next seed says."""
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        yield
    finally:
        for handler in [handler for handler in root.handlers if handler not in before]:
            if isinstance(handler, logging.FileHandler):
                root.removeHandler(handler)
                handler.close()


def _free() -> None:
    """Give back what a training held; its engines and handlers refer to each other in circles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _gather(folder: Path, seeds: Sequence[int]) -> None:
    for seed in seeds:
        if not _results(folder, seed).is_file():
            raise SeedsError(f"seed {seed} left no {_results(folder, seed)}: see the log beside it")
    results = [json.loads(_results(folder, seed).read_text(encoding="utf-8")) for seed in seeds]
    with replacing(folder / "results.json") as partial:
        partial.write_text(json.dumps(gather_results(results), indent=2, allow_nan=False) + "\n", encoding="utf-8")
