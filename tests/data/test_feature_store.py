"""Features in a folder: found by image, extended, replaced whole, held against other runs."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from bundle.data.errors import DataError
from bundle.data.feature_store import FeatureStore, image_key
from bundle.data.manifest import write_manifest

KEY = {"weights": "ab", "image_size": 64, "mean": 0.5}
IMAGES = [bytes(f"{number:032d}", "ascii") for number in range(5)]
FEATURES = np.arange(10, dtype=np.float32).reshape(5, 2)


def opened(root: Path | None, key: dict = KEY) -> FeatureStore:
    store = FeatureStore(root, key)
    with store.held():
        pass
    return store


def test_what_is_added_is_found_by_another_run_and_can_be_extended(tmp_path: Path) -> None:
    opened(tmp_path).add(IMAGES[:2], FEATURES[:2])
    store = opened(tmp_path)
    assert store.find([IMAGES[1], IMAGES[4], IMAGES[0]]).tolist() == [1, -1, 0]
    assert isinstance(store.features, np.memmap)
    store.add(IMAGES[2:], FEATURES[2:])
    again = opened(tmp_path)
    assert np.array_equal(again.features[again.find(IMAGES[::-1])], FEATURES[::-1])
    assert np.array_equal(store.features[store.find(IMAGES)], FEATURES)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {store.folder.name, f"{store.folder.name}.lock"}
    assert {path.name for path in store.folder.iterdir()} == {"features.npy", "images.npy", "manifest.json"}


@pytest.mark.parametrize("change", [{"weights": "ac"}, {"mean": 0.5000001}, {"list": None}])
def test_with_another_key_nothing_is_found(tmp_path: Path, change: dict) -> None:
    opened(tmp_path).add(IMAGES, FEATURES)
    other = opened(tmp_path, KEY | change)
    assert other.find(IMAGES).tolist() == [-1] * 5
    other.add(IMAGES[:1], -FEATURES[:1])
    assert opened(tmp_path).features[0].tolist() == [0, 1]


def test_the_order_of_the_key_does_not_matter(tmp_path: Path) -> None:
    opened(tmp_path).add(IMAGES, FEATURES)
    assert len(opened(tmp_path, dict(reversed(KEY.items()))).images) == 5


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = opened(None)
    store.add(IMAGES, FEATURES)
    store.reload()
    assert store.find(IMAGES).tolist() == [0, 1, 2, 3, 4]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).add(IMAGES[:2], FEATURES[:2])

    def fail(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(OSError, match="killed"):
            opened(tmp_path).add(IMAGES[2:], FEATURES[2:])
    store = opened(tmp_path)
    assert store.find(IMAGES).tolist() == [0, 1, -1, -1, -1]
    store.add(IMAGES[2:], FEATURES[2:])  # and what it left is no hindrance
    assert np.array_equal(opened(tmp_path).features, FEATURES)


def test_damage_and_other_folders_are_told(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.add(IMAGES, FEATURES)
    (store.folder / "features.npy").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"damaged: features\.npy has 4 bytes"):
        opened(tmp_path)
    write_manifest(store.folder, {"kind": "packed store", "schema_version": 1})
    with pytest.raises(DataError, match="packed store"):
        opened(tmp_path)


def test_a_run_waits_for_another_that_fills_the_folder(tmp_path: Path) -> None:
    first, second = FeatureStore(tmp_path, KEY), FeatureStore(tmp_path, KEY)
    found: list[int] = []

    def wait() -> None:
        with second.held():
            found.extend(second.find(IMAGES))

    with first.held():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        first.add(IMAGES, FEATURES)
    thread.join(10)
    assert found == [0, 1, 2, 3, 4]


def test_an_image_is_known_by_path_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    key = image_key(path)
    assert image_key(str(path)) == key
    os.utime(path, (2, 2))
    assert image_key(path) != key
    path.write_bytes(b"other")
    os.utime(path, (1, 1))
    assert image_key(path) != key
    with pytest.raises(DataError, match=r"b\.png: the image can't be read .*; check image_root"):
        image_key(tmp_path / "b.png")
