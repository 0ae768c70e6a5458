from __future__ import annotations

import subprocess
from pathlib import Path

from bundle.handlers.revision import git_revision


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path) -> str:
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "file").write_text("one")
    git(folder, "add", "file")
    git(folder, "commit", "-q", "-m", "One")
    return git(folder, "rev-parse", "HEAD")


def test_a_clean_and_a_changed_repository(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    commit = repository(folder)
    (folder / "runs").write_text("not tracked")
    assert git_revision(folder) == commit
    assert len(commit) == 40
    (folder / "file").write_text("two")
    assert git_revision(folder) == f"{commit}-dirty"


def test_no_repository_has_no_revision(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None


def test_a_bundle_inside_another_repository_has_none_of_its_own(tmp_path: Path) -> None:
    repository(tmp_path / "outer")
    inner = tmp_path / "outer" / "inner"
    inner.mkdir()
    assert git_revision(inner) is None
