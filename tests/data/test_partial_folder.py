from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from bundle.data.errors import DataError
from bundle.data.partial_folder import PartialFolder

IDENTITY = {"parameters": {"size": 256, "fit": "pad"}}


def folder_of(out: Path, size: int = 256, **options: Any) -> PartialFolder:
    return PartialFolder(out, "packed store", {"parameters": {"size": size, "fit": "pad"}}, **options)


def fill(folder: PartialFolder, text: str) -> None:
    with folder:
        folder.begin(0)
        (folder.path / "data.txt").write_text(text)
        (folder.progress / "mark").write_text("half")
        folder.publish({"kind": "packed store", "schema_version": 1, **folder.identity})


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "new" / "store")
    with folder:
        folder.begin(0)
        assert not folder.out.exists()
        assert not folder.is_complete
    fill(folder, "a")
    assert sorted(path.name for path in folder.out.iterdir()) == ["data.txt", "manifest.json"]
    assert [path.name for path in folder.out.parent.iterdir()] == ["store"]


def test_a_finished_folder_is_replaced_only_on_demand(tmp_path: Path) -> None:
    fill(folder_of(tmp_path / "store"), "a")
    with pytest.raises(DataError, match="finished packed store already: choose another folder or give --overwrite"):
        folder_of(tmp_path / "store")
    fill(folder_of(tmp_path / "store", size=512, overwrite=True), "b")
    assert (tmp_path / "store" / "data.txt").read_text() == "b"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["store", "store.partial"])
def test_foreign_files_are_never_touched(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is no"):
        folder_of(tmp_path / "store", overwrite=overwrite)
    assert (tmp_path / name / "thesis.txt").read_text() == "mine"


def test_other_parameters_do_not_go_on(tmp_path: Path) -> None:
    with folder_of(tmp_path / "store") as begun:
        begun.begin(0)
        (begun.path / "data.txt").write_text("half")
    folder_of(tmp_path / "store")
    with pytest.raises(
        DataError, match=r"other parameters: parameters\.size: store has 256, expected 512; repeat those"
    ):
        folder_of(tmp_path / "store", size=512)
    assert (begun.path / "data.txt").exists()
    folder_of(tmp_path / "store", size=512, overwrite=True)
    assert not begun.path.exists()


def test_only_publishing_is_left_after_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fill(folder_of(tmp_path / "store"), "a")
    again = folder_of(tmp_path / "store")
    assert again.is_complete
    again.publish()
    assert (tmp_path / "store" / "data.txt").read_text() == "a"


def test_too_small_a_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"takes up to 3\.06 GiB and .* has 2\.00 GiB free: free another 1\.06 GiB"):
        folder_of(tmp_path / "deep" / "store").begin(3 * 2**30)
    assert not list(tmp_path.iterdir())


def test_space_taken_already_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_of(tmp_path / "store") as begun:
        begun.begin(0)
        (begun.path / "data.bin").write_bytes(b"x" * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 2**40, 64 * 2**20))
    with folder_of(tmp_path / "store") as again:
        again.begin(2**20)
    with pytest.raises(DataError, match="nothing was written"):
        folder_of(tmp_path / "store").begin(3 * 2**20)


def test_two_processes_do_not_fill_one_folder(tmp_path: Path) -> None:
    with folder_of(tmp_path / "store") as first:
        first.begin(0)
        with pytest.raises(DataError, match="another process is filling it"), folder_of(tmp_path / "store") as second:
            second.begin(0)
    with folder_of(tmp_path / "store") as third:
        third.begin(0)


def test_a_full_disk_is_one_sentence_and_other_errors_pass(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "store")
    with pytest.raises(DataError, match="No space left on device: free some space"), folder.full_disk_explained():
        raise OSError(errno.ENOSPC, "x")
    with pytest.raises(PermissionError), folder.full_disk_explained():
        raise PermissionError(errno.EACCES, "x")
