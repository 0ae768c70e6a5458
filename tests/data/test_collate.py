from __future__ import annotations

import numpy as np
import torch

from bundle.data.collate import pad_boxes


def item(count: int, index: int) -> dict:
    return {
        "image": np.full((1, 4, 4), index, dtype=np.uint8),
        "boxes": np.arange(4 * count, dtype=np.float32).reshape(count, 4),
        "box_label": np.arange(count),
        "index": index,
    }


def test_boxes_are_padded_to_the_most() -> None:
    batch = pad_boxes([item(1, 7), item(0, 8), item(2, 9)])
    assert batch["boxes"].dtype == torch.float32
    assert batch["boxes"].tolist() == [
        [[0, 1, 2, 3], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 1, 2, 3], [4, 5, 6, 7]],
    ]
    assert batch["box_label"].dtype == torch.int64
    assert batch["box_label"].tolist() == [[0, -1], [-1, -1], [0, 1]]
    assert batch["image"].shape == (3, 1, 4, 4)
    assert batch["image"].dtype == torch.uint8
    assert batch["index"].tolist() == [7, 8, 9]


def test_there_is_room_for_one_box_at_least() -> None:
    batch = pad_boxes([item(0, 0)])
    assert batch["boxes"].tolist() == [[[0, 0, 0, 0]]]
    assert batch["box_label"].tolist() == [[-1]]


def test_lists_will_do() -> None:
    batch = pad_boxes([{"boxes": [[0, 0, 5, 5]], "box_label": [2]}, {"boxes": [], "box_label": []}])
    assert batch["boxes"].shape == (2, 1, 4)
    assert batch["box_label"].tolist() == [[2], [-1]]
