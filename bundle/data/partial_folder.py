"""A folder that is built beside its final place, can be taken up after a kill, and appears only when complete."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from bundle.data.errors import DataError
from bundle.data.manifest import MANIFEST_NAME, check_manifest, write_json, write_manifest

__all__ = ["PartialFolder"]

_SPARE_BYTES = 64 * 2**20
"""Room asked for beside what the caller counts: small files and file-system overhead."""


class PartialFolder:
    """`OUT.partial`, to be filled and then renamed to `OUT`.

    Args:
        out: final folder.
        kind: what is being made, for messages, such as "packed store".
        identity: what the content follows from; an unfinished folder is taken up only if its identity is equal.
        overwrite: replaces a finished folder once the new one is complete, and an unfinished one that does not fit.

    Attributes:
        out: final folder, absolute.
        path: folder being filled.
        progress: folder inside `path` for marks of what is done; it goes when the folder is published.

    Raises:
        DataError: the place is taken, or holds an unfinished folder of another identity.

    Example:
        >>> with PartialFolder("stores/a", "packed store", {"size": 256}) as folder:  # doctest: +SKIP
        ...     folder.begin(needed=2**30)
        ...     (folder.path / "data.bin").write_bytes(content)
        ...     folder.publish({"kind": "packed store", "schema_version": 1, "size": 256})
    """

    def __init__(self, out: str | Path, kind: str, identity: Mapping[str, Any], overwrite: bool = False) -> None:
        self.out = Path(out).absolute()
        self.path = self.out.with_name(self.out.name + ".partial")
        self.progress = self.path / ".progress"
        self.kind = kind
        self.identity = dict(identity)
        self._lock: IO[str] | None = None
        self._check_out(overwrite)
        self._check_partial(overwrite)

    def _check_out(self, overwrite: bool) -> None:
        if not self.out.exists() or _is_empty(self.out):
            return
        if not (self.out / MANIFEST_NAME).is_file():
            raise DataError(f"{self.out} exists and is no {self.kind}: choose another folder")
        if not overwrite:
            raise DataError(f"{self.out} is a finished {self.kind} already: choose another folder or give --overwrite")

    def _check_partial(self, overwrite: bool) -> None:
        if not self.path.exists() or _is_empty(self.path):
            return
        begun = self._begun()
        if begun is None:
            raise DataError(f"{self.path} exists and is no unfinished {self.kind}: move it away")
        try:
            check_manifest(begun, self.identity, f"{self.path} was begun with other parameters")
        except DataError as error:
            if not overwrite:
                raise DataError(f"{error}; repeat those, or remove that folder or give --overwrite") from None
            shutil.rmtree(self.path)

    def _begun(self) -> dict[str, Any] | None:
        for path in (self.path / MANIFEST_NAME, self.progress / "identity.json"):
            if path.is_file():
                return json.loads(path.read_text(encoding="utf-8"))
        return None

    @property
    def is_complete(self) -> bool:
        """True where a run was interrupted between writing the manifest and renaming: only `publish` is left."""
        return (self.path / MANIFEST_NAME).is_file()

    def begin(self, needed: int) -> None:
        """Makes the folder, or takes up the one that an interrupted run left.

        Args:
            needed: bytes that the finished folder takes at most.

        Raises:
            DataError: not enough disk space (nothing is written then), or another process is filling this folder.
        """
        self._check_space(needed + _SPARE_BYTES)
        self.progress.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.progress / "lock", "w")  # noqa: SIM115, held until this object is closed
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{self.path}: another process is filling it: wait for that one or end it") from None
        with self.full_disk_explained():
            write_json(self.progress / "identity.json", self.identity)

    def _check_space(self, needed: int) -> None:
        taken = sum(path.stat().st_blocks * 512 for path in self.path.rglob("*") if path.is_file())
        place = next(parent for parent in self.out.parents if parent.exists())
        free = shutil.disk_usage(place).free
        missing = needed - taken - free
        if missing > 0:
            raise DataError(
                f"{self.out}: the {self.kind} takes up to {_gib(needed)} and {place} has {_gib(free)} free: free "
                f"another {_gib(missing)} or choose another disk; nothing was written"
            )

    @contextmanager
    def full_disk_explained(self) -> Iterator[None]:
        """Turns the `OSError` of a full disk into a `DataError` that says what to do."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DataError(
                f"{self.path}: {os.strerror(error.errno)}: free some space and start again with the same parameters; "
                "what is finished is kept"
            ) from error

    def files(self) -> list[str]:
        """Names of all files that belong to the result, relative to the folder, sorted."""
        paths = (path for path in self.path.rglob("*") if path.is_file() and self.progress not in path.parents)
        return sorted(path.relative_to(self.path).as_posix() for path in paths)

    def publish(self, manifest: Mapping[str, Any] | None = None) -> Path:
        """Writes the manifest, the last file, and renames the folder; replaces a finished one if there is one.

        Args:
            manifest: content of the manifest; not needed when `is_complete`.

        Returns:
            The final folder.
        """
        if manifest is not None:
            with self.full_disk_explained():
                for name in self.files():
                    _sync(self.path / name)
                write_manifest(self.path, manifest)
        shutil.rmtree(self.progress, ignore_errors=True)
        replaced = self.out.with_name(self.out.name + ".old")
        if self.out.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            os.rename(self.out, replaced)
        os.rename(self.path, self.out)
        shutil.rmtree(replaced, ignore_errors=True)
        return self.out

    def __enter__(self) -> PartialFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()


def _is_empty(folder: Path) -> bool:
    """True for a folder without files, as a kill between making it and its first file leaves it."""
    return folder.is_dir() and not any(path.is_file() and path.name != "lock" for path in folder.rglob("*"))


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
