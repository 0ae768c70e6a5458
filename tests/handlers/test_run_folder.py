from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import monai
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from bundle.handlers.run_folder import prepare_run_folder, running_config, versions

BASE = """
imports: ['$from bundle.handlers.run_folder import prepare_run_folder']
output_dir: {folder}
width: 4
layer: {{_target_: torch.nn.Linear, in_features: '@width', out_features: 2}}
copy: '%layer'
initialize:
- $prepare_run_folder(@output_dir)
- '$@layer.weight.shape[1]'
run: ['$@copy.weight.shape[1]']
"""
OVERLAY = "layer::out_features: 3\nnote: naïve\n"


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers, root.level = handlers, level


@pytest.fixture
def configs(tmp_path: Path) -> list[str]:
    (tmp_path / "base.yaml").write_text(BASE.format(folder=tmp_path / "run"))
    (tmp_path / "overlay.yaml").write_text(OVERLAY, encoding="utf-8")
    (tmp_path / "metadata.json").write_text('{"version": "1"}')
    return [str(tmp_path / "base.yaml"), str(tmp_path / "overlay.yaml")]


def test_a_run_leaves_the_config_that_it_ran_with(configs: list[str], tmp_path: Path) -> None:
    workflow = ConfigWorkflow(configs, width=5, **{"layer::bias": False})
    workflow.initialize()
    assert workflow.run() == [5]
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert config["width"] == 5
    assert config["layer"] == {"_target_": "torch.nn.Linear", "in_features": "@width", "out_features": 3, "bias": False}
    assert config["copy"] == config["layer"]
    assert config["note"] == "naïve"
    assert "_meta_" not in config


def test_the_config_it_left_runs_again(configs: list[str], tmp_path: Path) -> None:
    workflow = ConfigWorkflow(configs, width=6)
    workflow.initialize()
    written = tmp_path / "run" / "config.yaml"
    again = ConfigWorkflow(str(written), meta_file=str(tmp_path / "metadata.json"), output_dir=str(tmp_path / "second"))
    assert again.initialize()[-1] == 6
    assert again.run() == [6]
    first, second = (yaml.safe_load((tmp_path / run / "config.yaml").read_text()) for run in ("run", "second"))
    assert first | {"output_dir": None} == second | {"output_dir": None}


def test_the_innermost_config_is_the_running_one() -> None:
    inner = ConfigParser({"own": "$__import__('bundle.handlers.run_folder', fromlist=['x']).running_parser()"})
    outer = ConfigParser({"inner": inner, "own": inner["own"], "other": "$@inner.get_parsed_content('own')"})
    assert outer.get_parsed_content("own") is outer
    assert outer.get_parsed_content("other") is inner


def test_objects_in_a_config_become_text(tmp_path: Path) -> None:
    prepare_run_folder(tmp_path, {"device": torch.device("cpu"), "sizes": (1, 2.5), "on": True, "none": None})
    expected = {"device": "cpu", "sizes": [1, 2.5], "on": True, "none": None}
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == expected


def test_without_workflow_a_config_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give the config"):
        running_config()
    with pytest.raises(ValueError, match="give the config"):
        prepare_run_folder(tmp_path)


def test_versions_name_packages_code_and_command(tmp_path: Path) -> None:
    prepare_run_folder(tmp_path, {})
    written = json.loads((tmp_path / "versions.json").read_text())
    assert written == versions()
    assert written["packages"]["torch"] == torch.__version__.split("+")[0] or torch.__version__
    assert written["packages"]["monai"] == monai.__version__
    assert set(written) == {"git", "python", "platform", "device", "packages", "command"}


def test_the_log_takes_what_all_modules_say_and_is_appended_to(tmp_path: Path) -> None:
    for message in ("first", "second"):
        prepare_run_folder(tmp_path, {})
        logging.getLogger("bundle.anything").info(message)
    text = (tmp_path / "log.txt").read_text()
    assert text.count("first") == text.count("second") == 1
    assert "INFO bundle.anything: first" in text
    assert logging.getLogger().handlers[0].__class__ is not logging.FileHandler  # the console still speaks


@pytest.mark.parametrize("rank", ["0", "1"])
def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("RANK", rank)
    prepare_run_folder(tmp_path / "run", {})
    assert (tmp_path / "run").exists() == (rank == "0")
