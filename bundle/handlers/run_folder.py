"""What a run leaves so that it can be told, years later, how it was made: config, versions, log."""

from __future__ import annotations

import inspect
import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml
from monai.bundle import ConfigParser

from .atomic import replacing
from .revision import git_revision

__all__ = ["prepare_run_folder", "running_config", "running_parser", "versions"]

PACKAGES = (
    "torch",
    "torchvision",
    "monai",
    "pytorch-ignite",
    "transformers",
    "tokenizers",
    "timm",
    "kornia",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pydicom",
    "safetensors",
)
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def prepare_run_folder(folder: str | Path, config: Mapping[str, Any] | None = None) -> None:
    """Make the folder of a run and put `config.yaml`, `versions.json` and, from here on, `log.txt` into it.

    Meant for the `initialize` list of a config, in every process: only the first one writes.

    Args:
        folder: the run's folder. A run that is started again in it appends to the log and renews the other two.
        config: what to write as config; by default that of the workflow that is calling, with all files merged and all
            overrides of the command line applied, so that it runs again as it stands.

    Raises:
        ValueError: when no config is given and no workflow is calling.

    Example:
        >>> config = {"initialize": ["$prepare_run_folder(@output_dir)"]}
    """
    if _rank() > 0:
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = running_config() if config is None else config
    with replacing(folder / "config.yaml") as partial:
        partial.write_text(yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True), encoding="utf-8")
    with replacing(folder / "versions.json") as partial:
        partial.write_text(json.dumps(versions(), indent=2) + "\n", encoding="utf-8")
    _log_to(folder / "log.txt")


def running_config() -> dict[str, Any]:
    """The config that is evaluating the present expression.

    Returns:
        The config as parsed, without the metadata, which MONAI reads from its own file.

    Raises:
        ValueError: when no config is up the stack.
    """
    parser = running_parser()
    return {name: value for name, value in parser.get().items() if name != parser.meta_key}


def running_parser() -> ConfigParser:
    """The parser of the config that is evaluating the present expression; the innermost where one runs another.

    MONAI hands an expression the objects it names, never the config itself; but its parser is up the stack.

    Raises:
        ValueError: when no config is up the stack.
    """
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    raise ValueError("this was not called by an expression of a bundle config: call it from one, or give the config")


def versions() -> dict[str, Any]:
    """Python, platform, device, packages, git revision and the command that was typed."""
    return {
        "git": git_revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "packages": {name: _version(name) for name in PACKAGES},
        "command": shlex.join(sys.argv),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    """The value as YAML can hold it; an object given to the workflow by Python code becomes its text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _log_to(path: Path) -> None:
    """Append the log of all modules to a file, beside the console, from level INFO on."""
    root = logging.getLogger()
    files = {handler.baseFilename for handler in root.handlers if isinstance(handler, logging.FileHandler)}
    if str(path.resolve()) in files:
        return
    if not root.handlers:  # a log file alone would silence the console
        logging.basicConfig(format=_FORMAT)
    handler = logging.FileHandler(path.resolve(), encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    root.addHandler(handler)
    root.setLevel(min(root.getEffectiveLevel(), logging.INFO))


def _rank() -> int:
    """Number of this process, also before its group is made."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return int(os.environ.get("RANK", "0"))
