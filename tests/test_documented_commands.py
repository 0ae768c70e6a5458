"""The commands of the pages for users: their configs merge, and every value that they give has its place."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigParser

from bundle.handlers.plain_errors import check_overrides

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/quick_start.md", "docs/inference.md", "docs/model_card.md", "docs/troubleshooting.md")


def commands(page: str) -> Iterator[list[str]]:
    """What stands in indented blocks and begins with a program, as the shell splits it."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^ {4,8}((?:python -m|torchrun|make) .*)$", text, re.MULTILINE):
        yield shlex.split(line, comments=True)


ALL = [(page, command) for page in PAGES for command in commands(page)]
RUNS = [(page, command) for page, command in ALL if "monai.bundle" in command and "run" in command]
OURS = [(page, command) for page, command in ALL if any(part.startswith("scripts.") for part in command)]


def named(cases: list[tuple[str, list[str]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("page", "command"), cases, ids=[f"{page}:{' '.join(c)[:70]}" for page, c in cases])


def test_there_are_commands() -> None:
    assert len(RUNS) > 15
    assert len(OURS) > 15


@named(RUNS)
def test_configs_merge_and_know_every_value(page: str, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = command[command.index("run") :]  # without what goes to torchrun
    merged = ConfigParser()
    merged.read_config(yaml.safe_load(run[run.index("--config_file") + 1]))
    assert run[1] in merged
    check_overrides(run)


@named(OURS)
def test_scripts_are_there(page: str, command: list[str]) -> None:
    (module,) = [part for part in command if part.startswith("scripts.")]
    assert importlib.util.find_spec(module) is not None


def test_make_has_every_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    wanted = {command[1] for page, command in ALL if command[0] == "make"}
    assert wanted <= targets
