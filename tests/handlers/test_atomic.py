from __future__ import annotations

from pathlib import Path

import pytest

from bundle.handlers.atomic import replacing


def test_the_file_appears_whole_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.json"
    with replacing(path) as partial:
        partial.write_text("new")
        assert partial.suffix == ".json"
        assert not path.exists()
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
