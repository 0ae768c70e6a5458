from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from bright_boxes import bright_boxes, half_of_two_processes, small_encoder, step
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from torch import nn
from torch.nn import functional as F

from bundle.losses.retina import RetinaLoss
from bundle.networks.nets.detector import RetinaDetector

# Without a choice among hard negatives, and with room for every anchor that has an object, nothing is drawn at random.
SETTLED: dict[str, Any] = {"samples": 1000, "pool": 1}


def small_detector() -> RetinaDetector:
    torch.manual_seed(0)
    return RetinaDetector(small_encoder(), 1, levels=(1, 2), width=16, anchor_scale=3)


class Both(nn.Module):
    """Encoder and heads as MONAI's detector takes them."""

    num_classes, spatial_dims, size_divisible = 1, 2, (8, 8)
    cls_key, box_reg_key, num_anchors = "classification", "box_regression", 9

    def __init__(self, network: RetinaDetector) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> Any:
        return self.network.retina(self.network.image_encoder(images))


def test_an_image_alone_has_the_loss_of_monai() -> None:
    network = small_detector().eval()
    monai = RetinaNetDetector(Both(network), network.anchors).train()
    monai.network.eval()
    monai.set_atss_matcher(num_candidates=4, center_in_gt=False)
    monai.set_hard_negative_sampler(1000, 0.3, min_neg=16, pool_size=1)
    images, target = bright_boxes(3, seed=0)
    singles = []
    for image, boxes in zip(images, target["boxes"], strict=True):
        expected = monai(image[None], [{"boxes": boxes[:1], "labels": torch.tensor([0])}])
        loss = RetinaLoss(network, **SETTLED)
        given = {"boxes": boxes[None], "box_label": torch.tensor([[0, -1]])}
        singles.append(loss(network(image[None]), given))
        assert loss.last["classification"] > 0
        assert loss.last["box_regression"] > 0
        for name, value in loss.last.items():
            torch.testing.assert_close(value, expected[name].detach())
    together = RetinaLoss(network, **SETTLED)(network(images), target)
    torch.testing.assert_close(together, torch.stack(singles).mean())


def output(logit: float, anchors: list[list[float]]) -> dict[str, Any]:
    return {
        "classification": torch.full((2, len(anchors), 1), logit, requires_grad=True),
        "box_regression": torch.zeros(2, len(anchors), 4, requires_grad=True),
        "anchors": torch.tensor(anchors),
        "locations": [len(anchors)],
        "size": (64, 64),
    }


ROW = [[float(x), 0.0, x + 8.0, 8.0] for x in range(0, 56, 8)]


class OneAnchor:
    """A cell has one anchor."""

    @staticmethod
    def num_anchors_per_location() -> list[int]:
        return [1]


class Judged:
    anchors: Any = OneAnchor()


def test_values_by_hand() -> None:
    # One image with a box that one of seven anchors matches but for a width of 10; one without. Of the first image that
    # anchor and two negatives are sampled (positive fraction 1/3), of the second two.
    loss = RetinaLoss(Judged(), candidates=4, samples=3, positive_fraction=1 / 3, min_negatives=1, pool=1, box_weight=2)
    boxes = torch.tensor([[[23.0, 0.0, 33.0, 8.0]], [[0.0, 0.0, 0.0, 0.0]]])
    given = output(1.0, ROW)
    value = loss(given, {"boxes": boxes, "box_label": torch.tensor([[0], [-1]])})
    negative, positive = math.log(1 + math.e), math.log(1 + 1 / math.e)
    classification = ((positive + 2 * negative) / 3 + negative) / 2
    # Smooth L1 (beta 1/9) of the logarithm of 10 / 8 alone, a mean over four numbers; half of it for the empty image.
    growth = math.log(10 / 8)
    box = (growth - 1 / 18) / 4 / 2
    assert loss.last["classification"].item() == pytest.approx(classification, rel=1e-5)
    assert loss.last["box_regression"].item() == pytest.approx(box, rel=1e-5)
    assert value.item() == pytest.approx(classification + 2 * box, rel=1e-5)


def test_without_any_box_it_is_finite_and_reaches_both_heads() -> None:
    given = output(0.0, ROW)
    loss = RetinaLoss(Judged(), samples=3, positive_fraction=1 / 3, min_negatives=1, pool=1)
    value = loss(given, {"boxes": torch.zeros(2, 0, 4), "box_label": torch.zeros(2, 0, dtype=torch.int64)})
    assert value.item() == pytest.approx(math.log(2))
    assert loss.last["box_regression"] == 0
    value.backward()
    assert not given["box_regression"].grad.any()
    assert given["classification"].grad.any()


def test_padding_and_boxes_without_area_change_nothing() -> None:
    network = small_detector().eval()
    images, target = bright_boxes(2, seed=0)
    before = {name: values.clone() for name, values in target.items()}
    flat = torch.tensor([5.0, 5.0, 5.0, 20.0]).expand(2, 1, 4)
    more = {
        "boxes": torch.cat([flat, F.pad(target["boxes"], (0, 0, 3, 2))], 1),
        "box_label": torch.cat([torch.zeros(2, 1, dtype=torch.int64), F.pad(target["box_label"], (3, 2), value=-1)], 1),
    }
    values = [RetinaLoss(network, **SETTLED)(network(images), some) for some in (target, more)]
    assert torch.equal(*values)
    assert all(torch.equal(before[name], target[name]) for name in target)


def test_outputs_of_reduced_precision_are_judged_in_full() -> None:
    network = small_detector()
    images, target = bright_boxes(2, seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = network(images)
    assert RetinaLoss(network)(given, target).dtype == torch.float32


def network_and_loss() -> tuple[nn.Module, nn.Module]:
    network = small_detector()
    return network, RetinaLoss(network, **SETTLED)


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Path) -> None:
    mp.spawn(half_of_two_processes, args=(str(tmp_path), network_and_loss), nprocs=2)
    value, gradients = step(*network_and_loss(), slice(None))
    for rank in range(2):
        mean, averaged = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(mean, value, rtol=1e-5, atol=1e-6)
        assert averaged.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(averaged[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
