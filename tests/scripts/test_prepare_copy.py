"""Common options of `scripts.prepare`: copies, limits, published counts, interruption."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bundle.data.datalist import load_datalist
from scripts import prepare
from scripts.preparing import copying

PUBLISHED = {"items": 3, "patients": 2, "training": 2, "test": 1}


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of three items with a mask and masks by class, as the module `toy`."""
    raw = tmp_path / "raw"
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "masks/1.png", "masks/heart.png")):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(b"x" * (10 + number))

    def build(args: argparse.Namespace) -> dict[str, Any]:
        args.record.drop("too dark", args.dark)
        items = [
            {"id": "1", "image": "a/1.png", "patient": "p1", "mask": "masks/1.png"},
            {"id": "2", "image": "a/2.png", "patient": "p1", "finding_masks": {"heart": "masks/heart.png"}},
            {"id": "3", "image": "b/1.png", "patient": "p2"},
        ]
        published = json.loads(args.published)
        header = {"name": "toy", "image_root": str(raw), **({"published": published} if published else {})}
        return {**header, "training": items[: min(args.limit or 2, 2)], "test": items[2:]}

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--dark", type=int, default=0)
        parser.add_argument("--published", default=json.dumps(PUBLISHED))

    toy = SimpleNamespace(HELP="a toy", __doc__="A toy.", add_arguments=add_arguments, build=build)
    monkeypatch.setattr(prepare, "_datasets", lambda: {"toy": toy})
    return raw


def run(out: Path, *options: str) -> int:
    return prepare.main(["toy", "--out", str(out), "--workers", "2", *options])


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_the_option_nothing_is_copied(raw: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "out") == 0
    assert os.listdir(tmp_path / "out") == ["datalist.json"]
    assert json.loads((tmp_path / "out/datalist.json").read_text())["image_root"] == str(raw)


def test_copies_make_a_folder_that_can_be_moved(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out", "--copy") == 0
    assert "copied 5 files" in capsys.readouterr().out
    assert files(tmp_path / "out/images") == files(raw)
    shutil.rmtree(raw)
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = tmp_path / "moved/datalist.json"
    assert json.loads(moved.read_text())["image_root"] == "images"
    loaded = load_datalist(moved, "training", ("image", "mask", "finding_masks"), check_files="all")
    assert loaded[1]["finding_masks"] == {"heart": str(tmp_path / "moved/images/masks/heart.png")}


def test_a_copy_goes_on_where_it_was(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "out/images"
    (images / "a").mkdir(parents=True)
    (images / "a/1.png").write_bytes(b"y" * 10)  # of equal size: taken for the copy
    (images / "a/2.png").write_bytes(b"y" * 3)  # cut off
    assert run(tmp_path / "out", "--copy") == 0
    assert "copied 4 files" in capsys.readouterr().out
    assert files(images) == {**files(raw), "a/1.png": b"y" * 10}
    assert run(tmp_path / "out", "--copy") == 0
    assert "copied 0 files" in capsys.readouterr().out


def test_a_missing_file_stops_before_anything_is_copied(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / "masks/heart.png").unlink()
    assert run(tmp_path / "out", "--copy") == 2
    error = capsys.readouterr().err
    assert error == f"error: item 2: there is no file {raw / 'masks/heart.png'}, which --copy needs\n"
    assert not (tmp_path / "out").exists()


def test_a_full_disk_stops_before_anything_is_copied(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(copying.shutil, "disk_usage", lambda folder: usage(59))  # 10 + 11 + 12 + 13 + 14 are needed
    assert run(tmp_path / "out", "--copy") == 2
    assert "are free" in capsys.readouterr().err
    monkeypatch.setattr(copying.shutil, "disk_usage", lambda folder: usage(60))
    assert run(tmp_path / "out", "--copy") == 0


def test_an_interrupted_copy_leaves_whole_files_and_no_list(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(copying.shutil, "copyfile", interrupted)
    assert run(tmp_path / "out", "--copy") == 130
    assert capsys.readouterr().err.endswith("interrupted: no data list was written\n")
    assert files(tmp_path / "out") == {}


def test_a_list_with_its_files_beside_it_is_not_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["phantom", "--out", str(tmp_path), "--count", "8", "--size", "64", "--workers", "1", "--copy"]
    assert prepare.main(options) == 0
    assert "nothing was copied: the files lie beside the list already" in capsys.readouterr().out
    assert json.loads((tmp_path / "datalist.json").read_text())["image_root"] == "."
    assert not (tmp_path / "images/images").exists()


@pytest.mark.usefixtures("raw")
def test_a_dry_run_copies_nothing(tmp_path: Path) -> None:
    assert run(tmp_path / "out", "--copy", "--dry-run") == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("raw")
def test_the_limit_is_written_and_published_counts_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "out", "--limit", "1") == 0
    assert json.loads((tmp_path / "out/datalist.json").read_text())["limit"] == 1
    assert "publish" not in capsys.readouterr().out
    assert run(tmp_path / "out") == 0
    assert "limit" not in json.loads((tmp_path / "out/datalist.json").read_text())


@pytest.mark.usefixtures("raw")
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_published_counts_are_a_hint_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dry: tuple[str, ...]
) -> None:
    def last(count: int, *options: str) -> list[str]:
        assert run(tmp_path / "out", *dry, *options) == 0
        return capsys.readouterr().out.splitlines()[-count:]

    assert last(1) == ["counts are as published: items, patients, training, test"]
    more = json.dumps({**PUBLISHED, "items": 5, "training": 4})
    assert last(2, "--published", more) == [
        "hint: items: 3, but 5 published (-2)",
        "hint: training: 2, but 4 published (-2)",
    ]
    explained = ", which the list's filters explain: too dark)"
    assert last(2, "--published", more, "--dark", "2") == [
        f"hint: items: 3, but 5 published (-2{explained}",
        f"hint: training: 2, but 4 published (-2{explained}",
    ]
    assert last(1, "--published", json.dumps({"items": 2})) == ["hint: items: 3, but 2 published (+1)"]
    assert last(1, "--published", "{}") != ["counts are as published: "]
