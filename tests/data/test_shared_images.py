"""Images that several items share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import Compose, SelectItemsd, Transform
from PIL import Image
from torch.utils.data import DataLoader

from bundle.data.shared_images import SharedImages
from bundle.transforms.radiograph import FitRadiographd, LoadRadiographd


class Counted(Transform):
    """Notes every image that is read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        self.read.append(item["image"])
        assert set(item) == {"image"}
        return item


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    """Six questions about three images, in which 10, 20 and 30 are the brightest."""
    paths = []
    for grey in (10, 20, 30):
        paths.append(str(tmp_path / f"{grey}.png"))
        pixels = np.full((8, 8), 5, np.uint8)
        pixels[2:6] = grey
        Image.fromarray(pixels).save(paths[-1])
    return [{"image": paths[n], "question": f"q{k}", "index": k} for k, n in enumerate([0, 1, 0, 2, 1, 0])]


def dataset(items: list[dict[str, Any]], counted: Counted, **options: Any) -> SharedImages:
    read = Compose([counted, LoadRadiographd("image"), FitRadiographd("image", 8), SelectItemsd("image")])
    return SharedImages(items, read, **options)


def test_each_image_is_read_once(items: list[dict[str, Any]]) -> None:
    counted = Counted()
    shared = dataset(items, counted, num_workers=2)
    assert len(shared) == 6
    for _ in range(2):
        greys = [int(shared[k]["image"].max()) for k in range(6)]
        assert greys == [10, 20, 10, 30, 20, 10]
    assert sorted(counted.read) == sorted({item["image"] for item in items})
    assert [shared[k]["question"] for k in range(6)] == [f"q{k}" for k in range(6)]
    assert isinstance(items[0]["image"], str)  # nothing was changed in place


def test_what_is_not_kept_is_read_again(items: list[dict[str, Any]]) -> None:
    counted = Counted()
    shared = dataset(items, counted, cache_rate=0.4)  # one of three
    assert counted.read == [items[0]["image"]]
    assert [int(shared[k]["image"].max()) for k in range(6)] == [10, 20, 10, 30, 20, 10]
    assert len(counted.read) == 1 + 3


def test_loaders_collate_it(items: list[dict[str, Any]]) -> None:
    batch = next(iter(DataLoader(dataset(items, Counted()), batch_size=4)))
    assert batch["image"].amax((1, 2, 3)).tolist() == [10, 20, 10, 30]
    assert batch["index"].tolist() == [0, 1, 2, 3]
