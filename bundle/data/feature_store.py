"""Features of images on disk, found by image, for one encoder and one way of preparing images."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.errors import DataError
from bundle.data.manifest import MANIFEST_NAME, check_manifest, check_sizes, file_records, read_manifest
from bundle.data.partial_folder import PartialFolder

__all__ = ["FeatureStore", "image_key"]

_KIND = "feature cache"
_SCHEMA_VERSION = 1
_FEATURES, _IMAGES = "features.npy", "images.npy"

_log = logging.getLogger(__name__)


def image_key(path: str | Path) -> bytes:
    """What an image is found by: 32 hexadecimal digits of the SHA-256 of its path, size and time of change.

    Raises:
        DataError: there is no such file.
    """
    try:
        state = Path(path).stat()
    except OSError as error:
        raise DataError(f"{path}: the image can't be read ({error.strerror}); check image_root in the list") from error
    return hashlib.sha256(f"{path}\n{state.st_size}\n{state.st_mtime_ns}".encode()).hexdigest()[:32].encode()


class FeatureStore:
    """Features by image, in memory or in a folder of their own, which other runs read and extend.

    The folder is `root/<hash of the key>`: with another key nothing is found and another folder grows beside it. It
    holds `features.npy`, `images.npy` and a manifest with the key; it is replaced as a whole or not at all.

    Args:
        root: folder for the caches of all keys, which may be deleted at any time; None keeps features in memory.
        key: what features follow from beside the image, as JSON has it.

    Attributes:
        images: `[N]`, their `image_key`.
        features: `[N, C]`, float32, mapped into memory if they are on disk.

    Example:
        >>> store = FeatureStore("caches", {"weights": "ab12", "image_size": 224, "precision": "bf16"})
        >>> with store.held():
        ...     missing = [image for image, row in zip(images, store.find(images)) if row < 0]
        ...     store.add(missing, features_of(missing))
    """

    def __init__(self, root: str | Path | None, key: Mapping[str, Any]) -> None:
        text = json.dumps(key, sort_keys=True)
        self.key = json.loads(text)
        self.folder = None if root is None else Path(root) / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.images = np.zeros(0, "S32")
        self.features = np.zeros((0, 0), np.float32)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs from reading and writing the folder, waiting for one that does; read what is there then."""
        if self.folder is None:
            yield
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{self.folder}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("waiting for another run that fills %s", self.folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
            self.reload()
            yield

    def reload(self) -> None:
        """Read what is on disk.

        Raises:
            DataError: the folder is damaged, or no feature cache.
        """
        if self.folder is None or not (self.folder / MANIFEST_NAME).is_file():
            return
        manifest = read_manifest(self.folder, _KIND)
        check_manifest(manifest, {"schema_version": _SCHEMA_VERSION, "key": self.key}, str(self.folder))
        check_sizes(self.folder, manifest["files"])
        self.images = np.load(self.folder / _IMAGES)
        self.features = np.load(self.folder / _FEATURES, mmap_mode="r")

    def find(self, images: Sequence[bytes]) -> np.ndarray:
        """Rows `[len(images)]`, int64, of these images; -1 where they are not there."""
        rows = {image: row for row, image in enumerate(self.images.tolist())}
        return np.array([rows.get(image, -1) for image in images], dtype=np.int64)

    def add(self, images: Sequence[bytes], features: np.ndarray) -> None:
        """Add images that are not there yet, on disk too if the store has a folder.

        Args:
            images: their `image_key`.
            features: `[len(images), C]`, float32.

        Raises:
            DataError: the disk is full, or the folder is taken by something else.
        """
        known = self.features if len(self.images) else features[:0]
        self.images = np.concatenate([self.images, np.array(images, "S32")])
        self.features = np.concatenate([known, features])
        if self.folder is not None:
            self._write(self.folder)

    def _write(self, folder: Path) -> None:
        with PartialFolder(folder, _KIND, {"key": self.key}, overwrite=True) as partial:
            partial.begin(self.features.nbytes + self.images.nbytes)
            with partial.full_disk_explained():
                np.save(partial.path / _FEATURES, self.features)
                np.save(partial.path / _IMAGES, self.images)
            files = file_records(partial.path, (_FEATURES, _IMAGES))
            partial.publish({"kind": _KIND, "schema_version": _SCHEMA_VERSION, "key": self.key, "files": files})
