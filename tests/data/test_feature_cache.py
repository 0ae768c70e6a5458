"""The data set of features: each image is encoded once, by one process or by two; labels are always the items'."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.data import DataLoader

from bundle.data.errors import DataError
from bundle.data.feature_cache import FeatureCache

KEY = {"weights": "ab"}


class Encode:
    """Features that tell what they were made from: the bytes of the file; and which items were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, items: list[Any]) -> torch.Tensor:
        self.asked += [Path(item["image"]).name for item in items]
        return torch.tensor([[float(byte) for byte in Path(item["image"]).read_bytes()] for item in items])


def items(folder: Path, count: int = 7, start: int = 0) -> list[dict[str, Any]]:
    made = []
    for index, number in enumerate(range(start, count)):
        path = folder / f"{number}.png"
        if not path.exists():
            path.write_bytes(bytes([number, 100 + number, 7]))
        made.append({"image": str(path), "label": [number % 2, math.nan], "index": index})
    return made


def test_a_loader_serves_features_labels_and_places(tmp_path: Path) -> None:
    cache = FeatureCache(items(tmp_path), Encode(), KEY)
    assert len(cache) == 7
    batch = next(iter(DataLoader(cache, batch_size=3)))
    assert batch["image"].tolist() == [[0, 100, 7], [1, 101, 7], [2, 102, 7]]
    assert batch["label"].nan_to_num(-1).tolist() == [[0, -1], [1, -1], [0, -1]]
    assert batch["index"].tolist() == [0, 1, 2]
    assert [batch[name].dtype for name in ("image", "label", "index")] == [torch.float32, torch.float32, torch.int64]


def test_numbers_of_classes_stay_integers(tmp_path: Path) -> None:
    numbered = [{"image": item["image"], "label": 2} for item in items(tmp_path, 3)]
    batch = next(iter(DataLoader(FeatureCache(numbered, Encode(), KEY), batch_size=3)))
    assert batch["label"].tolist() == [2, 2, 2]
    assert batch["label"].dtype == torch.int64
    assert batch["index"].tolist() == [0, 1, 2]


def test_workers_serve_the_same_from_disk(tmp_path: Path) -> None:
    cache = FeatureCache(items(tmp_path), Encode(), KEY, tmp_path / "caches")
    alone, together = (list(DataLoader(cache, 3, num_workers=workers)) for workers in (0, 1))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(alone, together, strict=True))


def test_every_image_is_encoded_once_whatever_the_order_labels_and_subset(tmp_path: Path) -> None:
    folder = tmp_path / "caches"
    first, second, third = Encode(), Encode(), Encode()
    FeatureCache(items(tmp_path)[2:4], first, KEY, folder)  # a fraction
    assert first.asked == ["2.png", "3.png"]
    twice = [*items(tmp_path), items(tmp_path)[6]]
    cache = FeatureCache(twice, second, KEY, folder)
    assert second.asked == ["0.png", "1.png", "4.png", "5.png", "6.png"]
    assert [cache[place]["image"][0].item() for place in range(8)] == [0, 1, 2, 3, 4, 5, 6, 6]
    relabelled = [item | {"label": [1 - item["label"][0], 0.0]} for item in reversed(items(tmp_path))]
    cache = FeatureCache(relabelled, third, KEY, folder)
    assert third.asked == []
    assert [cache[place]["image"][0].item() for place in range(7)] == [6, 5, 4, 3, 2, 1, 0]
    assert cache[0]["label"].tolist() == [1, 0]
    assert cache[0]["index"] == 6


def test_another_key_or_another_image_is_encoded_again(tmp_path: Path) -> None:
    folder = tmp_path / "caches"
    FeatureCache(items(tmp_path), Encode(), KEY, folder)
    other, changed = Encode(), Encode()
    FeatureCache(items(tmp_path), other, {"weights": "ac"}, folder)
    assert len(other.asked) == 7
    (tmp_path / "3.png").write_bytes(bytes([9, 9, 9]))
    os.utime(tmp_path / "3.png", (1, 1))
    cache = FeatureCache(items(tmp_path), changed, KEY, folder)
    assert changed.asked == ["3.png"]
    assert cache[3]["image"].tolist() == [9, 9, 9]


def test_unusable_items_and_encoders_are_told(tmp_path: Path) -> None:
    unlabelled = [*items(tmp_path, 2), {"image": str(tmp_path / "0.png")}]
    with pytest.raises(DataError, match="item 2 of 3 has no label"):
        FeatureCache(unlabelled, Encode(), KEY)
    with pytest.raises(DataError, match=r"absent\.png: the image can't be read"):
        FeatureCache([{"image": str(tmp_path / "absent.png"), "label": [1.0]}], Encode(), KEY)
    with pytest.raises(ValueError, match=r"2 images were encoded to an array \(2, 3, 4, 4\)"):
        FeatureCache(items(tmp_path, 2), lambda chosen: torch.zeros(len(chosen), 3, 4, 4), KEY)
    with pytest.raises(ValueError, match=r"2 images were encoded to an array \(1, 3\)"):
        FeatureCache(items(tmp_path, 2), lambda chosen: torch.zeros(1, 3), KEY)


def test_a_failed_encoder_leaves_nothing_and_frees_the_folder(tmp_path: Path) -> None:
    def fail(chosen: list[Any]) -> torch.Tensor:
        raise DataError("3.png can't be read")

    with pytest.raises(DataError, match="can't be read"):
        FeatureCache(items(tmp_path), fail, KEY, tmp_path / "caches")
    assert [path.suffix for path in (tmp_path / "caches").iterdir()] == [".lock"]
    assert len(FeatureCache(items(tmp_path), Encode(), KEY, tmp_path / "caches")) == 7


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    root, found = Path(folder), []
    # in memory; on disk; found there; one image more than there, so that process 1 has none to encode
    for place, count in ((None, 7), ("caches", 6), ("caches", 6), ("caches", 7)):
        encode = Encode()
        cache = FeatureCache(items(root, count), encode, KEY, place and root / place)
        found.append((encode.asked, torch.stack([cache[i]["image"] for i in range(count)])))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_share_the_work_and_have_all_of_it(tmp_path: Path) -> None:
    items(tmp_path)
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    asked = [[["0", "2", "4", "6"], ["0", "2", "4"], [], ["6"]], [["1", "3", "5"], ["1", "3", "5"], [], []]]
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert [[name.removesuffix(".png") for name in names] for names, _ in found] == asked[rank]
        for _, features in found:
            assert features.tolist() == [[i, 100 + i, 7] for i in range(len(features))]
