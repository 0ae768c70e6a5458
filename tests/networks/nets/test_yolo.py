from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from bright_boxes import bright_boxes, overlaps_on_new_images, small_encoder, train
from torch import Tensor

from bundle.losses.yolo import YoloLoss
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.nets.yolo import YoloDetector, YoloHead


def small_detector(encoder: TimmEncoder | None = None, classes: int = 1, **options: Any) -> YoloDetector:
    torch.manual_seed(0)
    return YoloDetector(encoder or small_encoder(), classes, widths=(32, 24, 16), **options)


def unit(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + 2 * outputs


def scale(inputs: int, width: int, classes: int) -> int:
    """Parameters of six units and the convolution to three anchors."""
    wide = 2 * width
    units = unit(inputs, width, 1) + 3 * unit(width, wide, 3) + 2 * unit(wide, width, 1)
    return units + (wide + 1) * 3 * (5 + classes)


@pytest.mark.parametrize("classes", [1, 2])
def test_parameters_of_the_public_head(classes: int) -> None:
    # 2048 channels; 1024 and 256 of the branch; 512 and 128 of the branch.
    expected = scale(2048, 512, classes) + unit(512, 256, 1) + scale(1280, 256, classes) + unit(256, 128, 1)
    expected += scale(640, 128, classes)
    head = YoloHead((512, 1024, 2048), classes)
    assert sum(parameter.numel() for parameter in head.parameters()) == expected
    assert expected == {1: 21_626_934, 2: 21_632_319}[classes]


def test_shapes_of_the_public_protocol() -> None:
    with torch.device("meta"):
        network = YoloDetector(TimmEncoder("resnet50"), classes=1)
        found = network(torch.zeros(2, 1, 224, 224))
    assert [tuple(values.shape) for values in found["scales"]] == [(2, 3, s, s, 6) for s in (7, 14, 28)]
    assert found["strides"] == [32, 16, 8]


def test_anchors_shrink_with_the_image() -> None:
    found = small_detector()(torch.zeros(1, 1, 208, 208))
    assert found["anchors"][0].tolist() == [[58, 45], [78, 99], [186.5, 163]]
    assert found["anchors"][2].tolist() == [[5, 6.5], [8, 15], [16.5, 11.5]]


def test_a_finer_scale_sees_the_coarser_one_and_not_the_other_way_round() -> None:
    head = YoloHead((4, 6, 8), classes=1, widths=(8, 4, 2)).eval()
    maps = [torch.randn(1, channels, side, side, requires_grad=True) for channels, side in ((4, 8), (6, 4), (8, 2))]
    for number, raw in enumerate(head(maps)):
        reached = torch.autograd.grad(raw.square().sum(), maps, allow_unused=True, retain_graph=True)
        assert [gradient is not None for gradient in reached] == [number >= 2, number >= 1, True]


def output(boxes: dict[tuple[int, int, int, int], list[float]], classes: int = 2) -> dict[str, Any]:
    """What a network gives for one image of 64 px, all sure of nothing but at some (scale, anchor, row, column)."""
    anchors = torch.tensor(
        [[[32.0, 16], [40, 40], [60, 60]], [[16, 8], [20, 20], [30, 30]], [[8, 4], [10, 10], [15, 15]]]
    )
    scales = [torch.zeros(1, 3, side, side, 5 + classes) for side in (2, 4, 8)]
    for values in scales:
        values[..., 4] = -9
    for (number, *place), values in boxes.items():
        scales[number][0, place[0], place[1], place[2]] = torch.tensor(values)
    return {"scales": scales, "anchors": anchors, "strides": [32, 16, 8], "size": (64, 64)}


def test_decoding_by_hand() -> None:
    third = -math.log(2)  # sigmoid 1/3
    given = {
        (0, 0, 1, 0): [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        (2, 1, 3, 5): [third, 0.0, math.log(2), math.log(0.5), 2.0, 3.0, 1.0],
    }
    (found,) = small_detector(classes=2).detect(output(given))
    # Cell (row 3, column 5) of 8 px: centre (40 + 8 / 3, 28), size 20 x 5. Cell (1, 0) of 32 px: centre (16, 48).
    expected = [[40 + 8 / 3 - 10, 25.5, 40 + 8 / 3 + 10, 30.5], [0, 40, 32, 56]]
    torch.testing.assert_close(found["boxes"], torch.tensor(expected))
    assert found["labels"].tolist() == [0, 1]
    assert found["scores"].tolist() == pytest.approx([1 / (1 + math.exp(-2)), 0.5])


def pair(overlap_rows: float, labels: tuple[int, int]) -> dict[str, Tensor]:
    """Two boxes of one cell and its first two anchors: 10 x 10 at [5, 15], and 10 wide with fewer rows inside it."""
    square = [0.0, 0.0, math.log(10 / 16), math.log(10 / 8), 3.0]
    flat = [0.0, 0.0, math.log(10 / 20), math.log(overlap_rows / 20), 2.0]
    one_hot = [[1.0, 0.0], [0.0, 1.0]]
    given = {(1, 0, 0, 0): square + one_hot[labels[0]], (1, 1, 0, 0): flat + one_hot[labels[1]]}
    return small_detector(classes=2).detect(output(given))[0]


def test_overlap_is_that_of_closed_pixel_intervals() -> None:
    # 10 x 4.6 in 10 x 10 is an IoU of .46; of closed intervals 11 x 5.6 in 11 x 11, or .509.
    assert len(pair(4.6, (0, 0))["boxes"]) == 1
    assert len(pair(4.4, (0, 0))["boxes"]) == 2
    assert len(pair(4.6, (0, 1))["boxes"]) == 2


def test_the_encoder_keeps_its_names_and_anchors_are_no_weights() -> None:
    network = small_detector()
    keys = network.state_dict().keys()
    assert {key for key in keys if key.startswith("image_encoder.")} == {
        f"image_encoder.{key}" for key in network.image_encoder.state_dict()
    }
    assert all(key.startswith(("image_encoder.", "head.")) for key in keys)


@pytest.mark.parametrize(
    ("encoder", "levels"),
    [("resnet18", (-3, -2, -1)), ("resnet18", (0, 1, 2)), ("vit_tiny_patch16_224", (-3, -2, -1))],
)
@pytest.mark.parametrize("boxes", [True, False])
def test_every_trained_parameter_gets_a_gradient(encoder: str, levels: tuple[int, ...], boxes: bool) -> None:
    options: dict[str, Any] = {"img_size": 64} if encoder.startswith("vit") else {}
    network = small_detector(TimmEncoder(encoder, **options), levels=levels)
    images, target = bright_boxes(2, seed=0)
    if not boxes:
        target["box_label"][:] = -1
    YoloLoss()(network(images), target).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert all(
        bool(parameter.grad.isfinite().all()) for parameter in network.parameters() if parameter.grad is not None
    )


def test_frozen_only_the_head_is_trained() -> None:
    network = small_detector().freeze(["image_encoder"]).train()
    images, target = bright_boxes(2, seed=0)
    YoloLoss()(network(images), target).backward()
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None} == {"head"}
    assert not network.image_encoder.training


def test_another_number_of_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="three maps, fine to coarse, not 2"):
        small_detector(levels=(-2, -1))


@pytest.mark.slow
def test_it_learns_to_find_rectangles_whatever_the_batch() -> None:
    network = small_detector()
    train(network, YoloLoss(), steps=150, batch=16, rate=1e-2)
    overlaps = overlaps_on_new_images(network)
    assert sum(overlap > 0.5 for overlap in overlaps) >= 15
    images, _ = bright_boxes(6, seed=3)
    with torch.no_grad():
        together = network.detect(network(images))
        alone = [network.detect(network(image[None]))[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        assert len(one["boxes"])
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
