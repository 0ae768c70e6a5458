"""The command `scripts.prepare` itself, with a data set made for the test."""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bundle.data.datalist import read_datalist
from bundle.data.errors import DataError
from scripts import prepare
from scripts.preparing.record import Record


def _build(args: argparse.Namespace) -> dict[str, Any]:
    (args.out / "pictures").mkdir(parents=True)
    items = []
    for number in range(args.limit or 30):
        if number < args.bad:
            args.record.reject(f"row {number}", "it is torn")
            continue
        items.append(
            {"id": f"i{number}", "image": f"{number}.png", "patient": f"p{number}", "findings": "Secret text."}
        )
    args.record.drop("too dark", 4)
    return {"name": "toy", "training": items, "validation": []}


@pytest.fixture
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = SimpleNamespace(
        HELP="a toy",
        __doc__="A toy.",
        add_arguments=lambda p: p.add_argument("--bad", type=int, default=0),
        build=_build,
    )
    monkeypatch.setattr(prepare, "_datasets", lambda: {"toy": toy})


@pytest.mark.usefixtures("_toy")
def test_writes_the_list_and_tells_what_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert prepare.main(["toy", "--out", str(out), "--bad", "25", "--on-error", "skip"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["training:", "5", "items", "5", "patients"]
    assert printed[1].split() == ["validation:", "0", "items", "0", "patients"]
    assert printed[3:5] == ["left out: 4 (too dark)", "unusable and skipped: 25"]
    assert printed[5] == "  row 0: it is torn"
    assert printed[25:] == ["  ... and 5 more", f"wrote {out / 'datalist.json'}"]
    written = read_datalist(out / "datalist.json")
    assert written["filters"] == {"too dark": 4}
    assert [item["id"] for item in written["training"]] == ["i25", "i26", "i27", "i28", "i29"]
    with (out / "skipped.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["item", "reason"], *([f"row {number}", "it is torn"] for number in range(25))]


@pytest.mark.usefixtures("_toy")
def test_a_clean_run_removes_the_old_table_of_skipped_items(tmp_path: Path) -> None:
    (tmp_path / "skipped.csv").write_text("item,reason\nold,old\n")
    assert prepare.main(["toy", "--out", str(tmp_path)]) == 0
    assert sorted(os.listdir(tmp_path)) == ["datalist.json", "pictures"]


@pytest.mark.usefixtures("_toy")
def test_an_unusable_item_stops_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["toy", "--out", str(tmp_path), "--bad", "1"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: row 0: it is torn (--on-error skip leaves such items out)\n"
    assert not (tmp_path / "datalist.json").exists()


@pytest.mark.usefixtures("_toy")
def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert prepare.main(["toy", "--out", str(out), "--dry-run", "--limit", "3"]) == 0
    printed = capsys.readouterr().out
    assert not out.exists()
    assert "training:          3 items" in printed
    assert "  image: (given)\n" in printed
    assert "  findings: 2 words\n" in printed
    assert "Secret" not in printed
    assert "p0" not in printed


@pytest.mark.usefixtures("_toy")
def test_nothing_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["toy", "--out", str(tmp_path), "--bad", "30", "--on-error", "skip"]) == 2
    assert "error: no item is left for the data list; left out: 4 (too dark)" in capsys.readouterr().err


@pytest.mark.usefixtures("_toy")
@pytest.mark.parametrize("arguments", [["toy"], ["toy", "--out", "x", "--limit", "0"], ["none", "--out", "x"], []])
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        prepare.main(arguments)
    assert "usage:" in capsys.readouterr().err


def test_finds_the_data_sets() -> None:
    modules = prepare._datasets()
    assert {"pairs", "mimic_cxr"} <= modules.keys()
    for module in modules.values():
        assert isinstance(module, ModuleType)
        assert module.HELP
        assert module.__doc__


def test_the_command_as_typed(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("picture,report\na.png,Clear lungs today.\n")
    command = [sys.executable, "-m", "scripts.prepare", "pairs", "--table", str(tmp_path / "t.csv"), "--out", "x"]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == (
        f"error: {tmp_path / 't.csv'}: no column with the image was recognised; name it with --image-column; "
        "the columns are picture, report\n"
    )


def test_record_stops_or_collects() -> None:
    with pytest.raises(DataError, match=r"a\.png: torn \(--on-error skip"):
        Record().reject("a.png", "torn")
    record = Record("skip")
    record.reject("a.png", "torn")
    record.drop("dark")
    record.drop("dark", 2)
    record.drop("blurred", 0)
    assert record.lines() == ["left out: 3 (dark)", "unusable and skipped: 1", "  a.png: torn"]
