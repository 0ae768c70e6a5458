"""Batches of labelled images become a network's input and its target."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch.utils.data import default_collate

from bundle.data.collate import pad_boxes
from bundle.engines.prepare_labelled import PrepareBoxBatch, PrepareLabelBatch, PrepareMaskBatch
from bundle.transforms.batch_augment import BatchAugment, CenterCrop, Jitter, RandomAffine, RandomFlip


def images(kind: Any = torch.as_tensor) -> dict[str, Any]:
    image = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    image[0, 0, 3, 4] = 255
    return {"image": kind(image), "index": torch.tensor([4, 7])}


def check_image(image: torch.Tensor) -> None:
    assert type(image) is torch.Tensor
    assert image.dtype == torch.float32
    assert image[0, 0, 3, 4] == 2  # (255 / 255 - .5) / .25
    assert image[1].unique().tolist() == [-2]


@pytest.mark.parametrize("kind", [torch.as_tensor, MetaTensor])
def test_labels(kind: Any) -> None:
    labels = default_collate([[1.0, math.nan, 0.0], [0.0, 1.0, math.nan]])  # lists become one tensor a class
    image, target = PrepareLabelBatch(0.5, 0.25)(images(kind) | {"label": labels}, "cpu")
    check_image(image)
    assert target["label"].dtype == torch.float32
    expected = torch.tensor([[1, math.nan, 0], [0, 1, math.nan]])
    torch.testing.assert_close(target["label"], expected, equal_nan=True)
    assert target["index"].tolist() == [4, 7]
    _, stacked = PrepareLabelBatch(0.5, 0.25)(images() | {"label": expected.double()}, "cpu")
    torch.testing.assert_close(stacked["label"], expected, equal_nan=True)


def test_class_numbers() -> None:
    _, target = PrepareLabelBatch(0.5, 0.25)(images() | {"label": default_collate([2, 0])}, "cpu")
    assert target["label"].dtype == torch.int64
    assert target["label"].tolist() == [2, 0]


def test_labels_with_augmentation() -> None:
    """The image alone is warped; the label stays."""
    augment = BatchAugment(6, [RandomFlip(1), RandomAffine(10)], [Jitter()])
    image, target = PrepareLabelBatch(0, 1, augment)(images() | {"label": torch.ones(2, 3)}, "cpu")
    assert image.shape == (2, 1, 6, 6)
    assert target["label"].tolist() == [[1] * 3] * 2
    mirrored, _ = PrepareLabelBatch(0, 1, BatchAugment(8, [RandomFlip(1)]))(images() | {"label": torch.ones(2)}, "cpu")
    assert mirrored[0, 0, 3, 3] == pytest.approx(1)  # column 4 of 8 becomes column 3


@pytest.mark.parametrize("kind", [torch.as_tensor, MetaTensor])
def test_masks(kind: Any) -> None:
    label = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    label[0, 2, 1, 1] = 1
    spacing = torch.tensor([[0.2, 0.3], [math.nan, math.nan]])
    batch = images(kind) | {"label": kind(label), "spacing": spacing}
    image, target = PrepareMaskBatch(0.5, 0.25)(batch, "cpu")
    check_image(image)
    assert type(target["label"]) is torch.Tensor
    assert target["label"].dtype == torch.bool
    assert target["label"].nonzero().tolist() == [[0, 2, 1, 1]]
    torch.testing.assert_close(target["spacing"], spacing, equal_nan=True)
    assert target["index"].tolist() == [4, 7]


def test_one_warp_for_image_and_masks() -> None:
    square = torch.zeros(16, 1, 32, 32, dtype=torch.uint8)
    square[:, :, 4:20, 8:28] = 255
    label = torch.cat([square > 0, square == 0], dim=1).to(torch.uint8)
    augment = BatchAugment(32, [RandomFlip(0.5), RandomAffine(20, 10, (0.9, 1.2), 0.1)])
    torch.manual_seed(0)
    image, target = PrepareMaskBatch(0, 1, augment)({"image": square, "label": label}, "cpu")
    assert target.keys() == {"label"}  # nothing else in the batch, nothing else in the target
    assert ((image[:, 0] > 0.5) != target["label"][:, 0]).float().mean() < 0.01
    assert not (target["label"][:, 0] & target["label"][:, 1]).any()
    assert not torch.equal(target["label"][0], target["label"][1])


def test_a_crop_is_an_augmentation() -> None:
    label = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    label[0, 0, 3, 4] = 1
    image, target = PrepareMaskBatch(0, 1, CenterCrop(4))(images() | {"label": label}, "cpu")
    assert image[0, 0, 1, 2] == 1
    assert target["label"].nonzero().tolist() == [[0, 0, 1, 2]]


def test_boxes() -> None:
    items = [
        {"image": images()["image"][0], "index": 0, "boxes": [[0, 1, 2, 3], [1, 1, 4, 4]], "box_label": [1, 0]},
        {"image": images()["image"][1], "index": 1, "boxes": [], "box_label": []},
    ]
    image, target = PrepareBoxBatch(0.5, 0.25)(pad_boxes(items), "cpu")
    check_image(image)
    assert {key: (tuple(value.shape), value.dtype) for key, value in target.items()} == {
        "boxes": ((2, 2, 4), torch.float32),
        "box_label": ((2, 2), torch.int64),
        "index": ((2,), torch.int64),
    }


def test_nothing_reads_from_the_device() -> None:
    """On PyTorch's meta device, which has no values to read."""
    device = torch.device("meta")
    augment = BatchAugment(6, [RandomFlip(), RandomAffine(10)], [Jitter()])
    label, mask = torch.ones(2, 3), torch.ones(2, 3, 8, 8, dtype=torch.uint8)
    boxes = {"boxes": torch.zeros(2, 1, 4), "box_label": torch.zeros(2, 1, dtype=torch.int64)}
    for prepare, more in (
        (PrepareLabelBatch(0, 1, augment), {"label": label}),
        (PrepareMaskBatch(0, 1, augment), {"label": mask}),
        (PrepareBoxBatch(0, 1), boxes),
    ):
        image, target = prepare(images() | more, device, non_blocking=True)
        assert image.is_meta
        assert all(value.is_meta for value in target.values())
