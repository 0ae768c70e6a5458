from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from bright_boxes import bright_boxes, half_of_two_processes, small_encoder, step
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.losses.yolo import Assignment, YoloLoss, assign_boxes
from bundle.networks.nets.yolo import YoloDetector

ANCHORS = torch.tensor([[8.0, 4.0], [4.0, 8.0], [16.0, 16.0]])


def assigned(boxes: list[list[float]], label: list[int] | None = None, **options: Any) -> Assignment:
    """Boxes of one image on 4 x 5 cells of 8 px."""
    label = label or [0] * len(boxes)
    given = torch.tensor(boxes).reshape(1, -1, 4), torch.tensor([label])
    return assign_boxes(*given, ANCHORS, 8, (4, 5), **options)


def places(mask: Tensor) -> list[list[int]]:
    """Image, anchor, row and column of what is true."""
    return mask.nonzero().tolist()


def test_a_box_goes_to_the_anchor_that_fits_best_in_its_cell() -> None:
    # Centre (27, 10): row 1, column 3, 3/8 and 2/8 into the cell. 6 x 4 in 8 x 4: 3/4; in 4 x 8: 16 / 40.
    found = assigned([[24.0, 8.0, 30.0, 12.0]], [2])
    assert places(found.responsible) == [[0, 0, 1, 3]]
    assert found.center[0, 0, 1, 3].tolist() == [0.375, 0.25]
    assert found.growth[0, 0, 1, 3].tolist() == pytest.approx([math.log(6 / 8), 0])
    assert found.label[0, 0, 1, 3] == 2
    assert places(~found.empty) == [[0, 0, 1, 3]]
    others = ~found.responsible
    assert not found.center[others].any()
    assert not found.growth[others].any()
    assert not found.label[others].any()


def test_anchors_that_fit_well_without_being_best_are_left_alone() -> None:
    # 7 x 7 in 8 x 4: 28 / 53 > 1/2; in 4 x 8 the same; in 16 x 16: 49 / 256.
    found = assigned([[0.0, 0.0, 7.0, 7.0]])
    assert places(found.responsible) == [[0, 0, 0, 0]]
    assert places(~found.empty) == [[0, 0, 0, 0], [0, 1, 0, 0]]
    assert places(~assigned([[0.0, 0.0, 7.0, 7.0]], ignore=0.53).empty) == [[0, 0, 0, 0]]


def test_the_best_anchor_is_responsible_however_badly_it_fits() -> None:
    found = assigned([[0.0, 0.0, 40.0, 32.0]])
    assert places(found.responsible) == [[0, 2, 2, 2]]
    assert places(~found.empty) == [[0, 2, 2, 2]]


def test_of_two_boxes_for_one_anchor_the_last_gets_it() -> None:
    first, last = [0.0, 0.0, 8.0, 4.0], [0.0, 1.0, 6.0, 5.0]
    for boxes in ([first, last], [last, first]):
        found = assigned(boxes, [1, 2])
        assert places(found.responsible) == [[0, 0, 0, 0]]
        assert found.label[0, 0, 0, 0] == 2
        assert found.growth[0, 0, 0, 0, 0].item() == pytest.approx(math.log((boxes[1][2] - boxes[1][0]) / 8))


def test_two_boxes_of_a_cell_may_have_an_anchor_each() -> None:
    found = assigned([[0.0, 0.0, 8.0, 4.0], [0.0, 0.0, 4.0, 8.0]], [1, 2])
    assert found.label[0, :, 0, 0].tolist() == [1, 2, 0]


@pytest.mark.parametrize("label", [[0], [-1]])
def test_padding_and_boxes_without_area_are_left_out(label: list[int]) -> None:
    box = [[3.0, 3.0, 3.0, 9.0]] if label == [0] else [[0.0, 0.0, 8.0, 4.0]]
    for found in (
        assigned(box, label),
        assign_boxes(torch.zeros(1, 0, 4), torch.zeros(1, 0).long(), ANCHORS, 8, (4, 5)),
    ):
        assert not found.responsible.any()
        assert found.empty.all()
        assert all(bool(values.isfinite().all()) for values in (found.center, found.growth))


def test_a_centre_on_the_far_edge_belongs_to_the_last_cell() -> None:
    found = assigned([[32.0, 24.0, 48.0, 40.0]])
    assert places(found.responsible) == [[0, 2, 3, 4]]
    assert found.center[0, 2, 3, 4].tolist() == [1, 1]


def naive_assignment(boxes: Tensor, label: Tensor, rows: int, columns: int) -> tuple[set, set, dict]:
    """The rule in plain loops: responsible and not empty places, and the box of each of the former."""
    owner, kept = {}, set()
    for image in range(len(boxes)):
        for number, (x1, y1, x2, y2) in enumerate(boxes[image].tolist()):
            if label[image, number] < 0:
                continue
            row, column = min(int((y1 + y2) / 2 // 8), rows - 1), min(int((x1 + x2) / 2 // 8), columns - 1)
            fits = []
            for width, height in ANCHORS.tolist():
                common = min(x2 - x1, width) * min(y2 - y1, height)
                fits.append(common / ((x2 - x1) * (y2 - y1) + width * height - common))
            kept |= {(image, anchor, row, column) for anchor in range(3) if fits[anchor] > 0.5}
            owner[image, fits.index(max(fits)), row, column] = number
    return set(owner), kept | set(owner), owner


@given(st.integers(0, 10**9), st.integers(0, 12))
def test_assignment_agrees_with_plain_loops(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(3, count, 2, generator=generator) * torch.tensor([38.0, 30.0])
    high = torch.minimum(low + 1 + 20 * torch.rand(3, count, 2, generator=generator), torch.tensor([40.0, 32.0]))
    boxes, label = torch.cat([low, high], -1), torch.randint(-1, 3, (3, count), generator=generator)
    before = boxes.clone(), label.clone()
    found = assign_boxes(boxes, label, ANCHORS, 8, (4, 5))
    responsible, kept, owner = naive_assignment(boxes, label, 4, 5)
    assert {tuple(place) for place in places(found.responsible)} == responsible
    assert {tuple(place) for place in places(~found.empty)} == kept
    for place, number in owner.items():
        box = boxes[place[0], number]
        assert found.label[place] == label[place[0], number]
        torch.testing.assert_close(found.growth[place], ((box[2:] - box[:2]) / ANCHORS[place[1]]).log())
        cell = torch.tensor([place[3], place[2]])
        torch.testing.assert_close(found.center[place], (box[:2] + box[2:]) / 16 - cell, rtol=1e-4, atol=1e-5)
    assert torch.equal(boxes, before[0])
    assert torch.equal(label, before[1])


def output(count: int = 1, classes: int = 2) -> dict[str, Any]:
    """Zeros for images of 64 px on scales of 2 x 2, 4 x 4 and 8 x 8 cells."""
    scales = [torch.zeros(count, 3, side, side, 5 + classes, requires_grad=True) for side in (2, 4, 8)]
    anchors = torch.tensor([[8.0, 4.0], [5.0, 9.0], [16.0, 16.0]])
    return {"scales": scales, "anchors": torch.stack([anchors * 4, anchors * 2, anchors]), "strides": [32, 16, 8]}


def test_loss_without_boxes_by_hand() -> None:
    loss = YoloLoss()
    value = loss(output(2), {"boxes": torch.zeros(2, 1, 4), "box_label": torch.full((2, 1), -1)})
    assert value.item() == pytest.approx(3 * 0.5 * math.log(2), rel=1e-6)
    assert {name: part.item() for name, part in loss.last.items() if name != "confidence"} == {
        "center": 0,
        "size": 0,
        "class": 0,
    }


def test_loss_of_one_box_by_hand() -> None:
    # 8 x 4 px at (4, 2): on each scale it belongs to one anchor of the first cell, and no other fits.
    loss = YoloLoss()
    target = {"boxes": torch.tensor([[[0.0, 0.0, 8.0, 4.0]]]), "box_label": torch.tensor([[1]])}
    value = loss(output(), target)
    anchors = (12, 48, 192)
    # Zero logits: ln 2 for each of two coordinates, whatever their target, and for each class.
    center = sum(2 * math.log(2) / count for count in anchors)
    # The best anchors are 32 x 16, 16 x 8 and 8 x 4.
    size = sum(2 * math.log(factor) ** 2 / count for count, factor in zip(anchors, (4, 2, 1), strict=True))
    confidence = sum(math.log(2) * (1 + 0.5 * (count - 1)) / count for count in anchors)
    assert loss.last["center"].item() == pytest.approx(center, rel=1e-5)
    assert loss.last["size"].item() == pytest.approx(size, rel=1e-5)
    assert loss.last["confidence"].item() == pytest.approx(confidence, rel=1e-5)
    assert loss.last["class"].item() == pytest.approx(3 * math.log(2), rel=1e-5)
    assert value.item() == pytest.approx(2.5 * center + 2.5 * size + confidence + 3 * math.log(2), rel=1e-5)


def test_gradients_point_to_the_box() -> None:
    prediction = output()
    target = {"boxes": torch.tensor([[[1.0, 1.0, 13.0, 4.0]]]), "box_label": torch.tensor([[1]])}
    YoloLoss()(prediction, target).backward()
    fine = prediction["scales"][2].grad[0, 0, 0, 0]
    # Centre (7, 2.5) lies right of the cell's middle and above it; the box is wider and lower than 8 x 4; class 1.
    assert (fine < 0).tolist() == [True, False, True, False, True, False, True]


def test_a_box_on_every_scale_and_no_box_changed() -> None:
    images, target = bright_boxes(4, seed=0)
    kept = {name: values.clone() for name, values in target.items()}
    network = YoloDetector(small_encoder(), 1, widths=(32, 24, 16))
    loss, prediction = YoloLoss(), network(images)
    for _ in range(3):
        loss(prediction, target)
    assert all(torch.equal(target[name], kept[name]) for name in target)
    for values, anchors, stride in zip(prediction["scales"], prediction["anchors"], prediction["strides"], strict=True):
        found = assign_boxes(target["boxes"], target["box_label"], anchors, stride, values.shape[2:4])
        assert found.responsible.sum((1, 2, 3)).tolist() == [1, 1, 1, 1]


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    network = YoloDetector(small_encoder(), 1, widths=(32, 24, 16)).eval()
    images, target = bright_boxes(2, seed=0)
    padded = {
        "boxes": F.pad(target["boxes"], (0, 0, 3, 2)),
        "box_label": F.pad(target["box_label"], (3, 2), value=-1),
    }
    values = [YoloLoss()(network(images), some) for some in (target, padded)]
    torch.testing.assert_close(*values, rtol=0, atol=0)


def test_a_step_needs_no_values() -> None:
    """On the meta device, whose tensors have no values, whatever would make a step wait for a GPU raises."""
    network = YoloDetector(small_encoder(), 2, widths=(32, 24, 16)).to("meta").train()
    loss = YoloLoss()
    target = {"boxes": torch.zeros(2, 5, 4), "box_label": torch.zeros(2, 5, dtype=torch.int64)}
    on_device = {name: values.to("meta") for name, values in target.items()}
    value = loss(network(torch.zeros(2, 1, 64, 64, device="meta")), on_device)
    value.backward()
    assert value.is_meta
    assert all(part.is_meta for part in loss.last.values())
    assert all(parameter.grad is not None and parameter.grad.is_meta for parameter in network.parameters())


def network_and_loss() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return YoloDetector(small_encoder(), 1, widths=(32, 24, 16)), YoloLoss()


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Path) -> None:
    """One process has two boxes, the other four: classes are a mean over the boxes of both."""
    mp.spawn(half_of_two_processes, args=(str(tmp_path), network_and_loss), nprocs=2)
    value, gradients = step(*network_and_loss(), slice(None))
    for rank in range(2):
        mean, averaged = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(mean, value, rtol=1e-5, atol=1e-6)
        assert averaged.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(averaged[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
