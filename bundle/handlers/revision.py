"""Which code made a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["git_revision"]

_ROOT = Path(__file__).resolve().parents[2]


def git_revision(root: str | Path = _ROOT) -> str | None:
    """The commit of the bundle's code, with `-dirty` behind it if tracked files differ from that commit.

    Args:
        root: the bundle's root.

    Returns:
        40 hex digits, `-dirty` perhaps; none where the root is no git repository (a release, a container) or there is
        no git.
    """
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
        # A bundle unpacked inside some other repository has no revision of its own.
        if Path(top).resolve() != Path(root).resolve():
            return None
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        return _git(root, "rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: str | Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
