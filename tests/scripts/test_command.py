"""The frame of every command, and the options that they share."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any

import pytest

from bundle.data.errors import DataError
from bundle.networks.weights.errors import WeightsError
from scripts.command import exit_code
from scripts.preparing.options import add_shares, add_trust_patients, at_least, multiple_of, names, positive


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_the_work_says_the_code(returned: int | None, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: returned) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [DataError("a.png: torn"), OSError("a.png: torn"), FileNotFoundError("a.png: torn")])
def test_unusable_input_is_one_sentence(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(error)) == 2
    assert capsys.readouterr() == ("", "error: a.png: torn\n")


def test_each_command_names_its_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsError):
        exit_code(raising(WeightsError("m.safetensors: torn")))
    assert exit_code(raising(WeightsError("m.safetensors: torn")), (WeightsError,)) == 2
    assert capsys.readouterr().err == "error: m.safetensors: torn\n"


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 // 0)


def test_interruption_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(KeyboardInterrupt()), interrupted="nothing was written") == 130
    assert capsys.readouterr() == ("", "interrupted: nothing was written\n")


@pytest.mark.parametrize(
    ("command", "inner", "arguments"),
    [
        ("ask", "_answer", ["a.png", "nodule", "--run", "r"]),
        ("bench", "_measure", ["data"]),
        ("check", "_check", ["list.json"]),
        ("demo", "_run", []),
        ("pack", "_pack", ["list.json", "--out", "store"]),
        ("prepare", "_prepare", ["phantom", "--out", "x"]),
        ("subset", "_write", ["a.json", "--out", "b.json", "--count", "1"]),
        ("table", "_write", ["runs"]),
    ],
)
def test_every_command_stands_in_the_frame(
    command: str,
    inner: str,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = importlib.import_module(f"scripts.{command}")

    def fail(error: BaseException) -> Any:
        monkeypatch.setattr(module, inner, lambda args: raising(error)())
        return module.main(arguments)

    assert fail(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.startswith("interrupted: ")
    assert fail(OSError("disk full")) == 2
    assert capsys.readouterr().err == "error: disk full\n"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [(positive, "1", 1), (at_least(2), "2", 2), (multiple_of(8), "16", 16), (multiple_of(32, 64), "64", 64)],
)
def test_numbers(kind: Callable[[str], int], text: str, value: int) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (positive, "0", "must be at least 1, got 0"),
        (at_least(2), "1", "must be at least 2, got 1"),
        (multiple_of(8), "12", "must be a multiple of 8, got 12"),
        (multiple_of(32, 64), "32", "must be at least 64, got 32"),
        (names, "a,,b", "must be different names"),
        (names, "a, a", "must be different names"),
    ],
)
def test_wrong_values_say_what_is_right(kind: Callable[[str], Any], text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        kind(text)


def test_names_are_stripped() -> None:
    assert names(" Left Lung , Heart") == ["Left Lung", "Heart"]


def test_split_options() -> None:
    parser = argparse.ArgumentParser()
    add_shares(parser, validation=0.1, test=0.2)
    add_trust_patients(parser)
    assert vars(parser.parse_args([])) == {"validation": 0.1, "test": 0.2, "trust_patients": False}
    assert parser.parse_args(["--test", "0", "--trust-patients"]).trust_patients is True
