"""Say in one sentence what a person can mend; keep the traceback for what only a programmer can."""

from __future__ import annotations

import difflib
import inspect
import linecache
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import TracebackType

import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle import run as run_bundle

__all__ = ["UnknownConfigId", "check_overrides", "plain_cause", "plain_errors"]

logger = logging.getLogger(__name__)

_NOTHING = {"None", "null", "~"}


class UnknownConfigId(ValueError):
    """A key given on the command line that no config file has."""


def plain_errors() -> None:
    """From here on end the process with one sentence for errors in data, weights, configs and training.

    These are the errors that this bundle defines, arguments that it refuses, values that are not finite, and what MONAI
    says of unknown ids in a config. Anything else keeps its traceback. Meant for the `initialize` list of a config.
    """
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause = plain_cause(error)
        if cause is None:
            before(kind, error, trace)
            return
        logger.debug("the whole traceback", exc_info=(kind, error, trace))
        print(f"error: {cause}", file=sys.stderr)

    sys.excepthook = hook


def plain_cause(error: BaseException | None) -> BaseException | None:
    """The first error of a chain that a sentence is enough for, or none."""
    while error is not None and not _is_plain(error):
        error = error.__cause__ or error.__context__
    return error


def check_overrides(arguments: Sequence[str] | None = None) -> None:
    """Refuse options that MONAI's runner would take in silence and do nothing with, or nothing good.

    These are ids that no config file has, and values that mean "nothing": the runner leaves out an option whose value
    is None, so that the config's stands, and takes null for a word.

    Args:
        arguments: the command line of `python -m monai.bundle run`; that of this process where not given.

    Raises:
        UnknownConfigId: naming the id and those that look like it.
        ValueError: naming the option that is to be nothing, and how to say so.
    """
    given = dict(_options(sys.argv if arguments is None else arguments))
    if "config_file" not in given:
        return
    known = set(ConfigParser.load_config_files(yaml.safe_load(given["config_file"])))
    runner = {*inspect.signature(run_bundle).parameters, *inspect.signature(ConfigWorkflow.__init__).parameters}
    for name in given.keys() - runner:
        if given[name] in _NOTHING:
            raise ValueError(f"--{name} {given[name]} would not be nothing: say '$None', in quotation marks")
        first = name.replace("::", "#").split("#")[0].lstrip("+")
        if first not in known:
            close = difflib.get_close_matches(first, known, n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise UnknownConfigId(f"--{name}: the config has no id '{first}'{hint}")


def _is_plain(error: BaseException) -> bool:
    return (
        type(error).__module__.startswith("bundle.")
        or isinstance(error, FloatingPointError)
        or (isinstance(error, ValueError) and _is_raised_here(error))
        or "is not defined in the config content" in str(error)
    )


def _is_raised_here(error: BaseException) -> bool:
    """Whether a `raise` of this bundle made the error, and so worded it for people."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return False
    frame, line = frames[-1]
    source = linecache.getline(frame.f_code.co_filename, line).strip()
    return source.startswith("raise ") and frame.f_globals.get("__name__", "").startswith("bundle.")


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options of a command line with their values, given as `--name value` or `--name=value`."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            yield name, value if equals else following
