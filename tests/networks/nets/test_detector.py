from __future__ import annotations

from typing import Any

import pytest
import torch
from bright_boxes import bright_boxes, overlaps_on_new_images, small_encoder, train
from torch import Tensor, nn

from bundle.losses.retina import RetinaLoss
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.nets.detector import RetinaDetector


def small_detector(encoder: TimmEncoder | None = None, classes: int = 1, **options: Any) -> RetinaDetector:
    torch.manual_seed(0)
    return RetinaDetector(encoder or small_encoder(), classes, width=16, **options)


def output(scores: list[list[float]], anchors: list[list[float]]) -> dict[str, Any]:
    """What a network gives for one image of 40 x 60 px whose anchors are not moved, by probability of each class."""
    return {
        "classification": torch.tensor([scores]).logit(),
        "box_regression": torch.zeros(1, len(anchors), 4),
        "anchors": torch.tensor(anchors),
        "locations": [len(anchors)],
        "size": (40, 60),
    }


def test_anchors_are_columns_first_and_of_the_sizes_asked_for() -> None:
    network = small_detector(levels=(1, 2), anchor_scale=4, octaves=(1.0, 2.0), ratios=(0.25, 1.0))
    found = network(torch.zeros(1, 1, 64, 96))
    anchors = found["anchors"]
    # Strides 4 and 8: 16 x 24 and 8 x 12 cells with 4 anchors each. Width over height is 4 for a ratio of 1/4.
    assert found["locations"] == [384, 96]
    assert anchors.shape == (4 * 480, 4)
    assert found["classification"].shape == (1, 4 * 480, 1)
    assert found["box_regression"].shape == (1, 4 * 480, 4)
    sizes = anchors[:, 2:] - anchors[:, :2]
    assert sizes[:4].tolist() == [[32, 8], [64, 16], [16, 16], [32, 32]]
    assert sizes[-4:].tolist() == [[64, 16], [128, 32], [32, 32], [64, 64]]
    centers = (anchors[::4, 2:] + anchors[::4, :2]) / 2
    assert centers[:2].tolist() == [[2, 2], [6, 2]]
    assert centers[383:386].tolist() == [[94, 62], [4, 4], [12, 4]]


def test_values_stand_beside_the_anchor_of_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_detector(levels=(2, 3), classes=2)

    def maps(features: list[Tensor]) -> dict[str, list[Tensor]]:
        """Class logits that tell column and row of their cell in pixels, and the number of the anchor in the cell."""
        classes, boxes = [], []
        for stride, feature in ((8, features[2]), (16, features[3])):
            cells = torch.zeros(1, 9, 2, *feature.shape[2:])
            cells[:, :, 0] += torch.arange(feature.shape[3]) * stride + stride / 2
            cells[:, :, 1] += (torch.arange(feature.shape[2]) * stride + stride / 2)[:, None]
            classes.append(cells.flatten(1, 2))
            boxes.append(torch.arange(9.0).repeat_interleave(4)[None, :, None, None].expand(1, 36, *feature.shape[2:]))
        return {"classification": classes, "box_regression": boxes}

    monkeypatch.setattr(network.retina, "forward", maps)
    found = network(torch.zeros(1, 1, 64, 96))
    anchors = found["anchors"]
    torch.testing.assert_close(found["classification"][0], (anchors[:, :2] + anchors[:, 2:]) / 2)
    assert found["box_regression"][0, :, 0].tolist() == [*range(9)] * (12 * 8 + 6 * 4)


def test_detections_by_hand() -> None:
    network = small_detector(classes=2, min_score=0.3)
    first, close, apart, beyond = [0, 0, 20, 20], [0, 0, 20, 18], [30, 30, 50, 38], [50, 30, 90, 50]
    scores = [[0.6, 0.2], [0.8, 0.4], [0.1, 0.7], [0.35, 0.2]]
    (found,) = network.detect(output(scores, [first, close, apart, beyond]))
    # `first` overlaps `close` by .9 and is worse; the second class of `close` is another matter; `beyond` is clipped.
    assert found["boxes"].tolist() == [close, apart, close, [50, 30, 60, 40]]
    assert found["labels"].tolist() == [0, 1, 1, 0]
    assert found["scores"].tolist() == pytest.approx([0.8, 0.7, 0.4, 0.35])


def test_no_more_detections_than_allowed() -> None:
    anchors = [[float(x), 0.0, x + 2.0, 2.0] for x in range(0, 40, 4)]
    scores = [[0.5 + x / 100] for x in range(10)]
    (found,) = small_detector(limit=3).detect(output(scores, anchors))
    assert found["boxes"][:, 0].tolist() == [36, 32, 28]


def test_a_box_moves_and_grows_with_the_regression() -> None:
    given = output([[0.9]], [[10, 10, 20, 30]])
    given["box_regression"] = torch.tensor([[[0.5, -0.25, torch.tensor(2.0).log(), torch.tensor(0.5).log()]]])
    (found,) = small_detector().detect(given)
    # Centre (15, 20) + (.5 * 10, -.25 * 20) = (20, 15); width 10 * 2, height 20 / 2.
    torch.testing.assert_close(found["boxes"], torch.tensor([[10.0, 10.0, 30.0, 20.0]]))


def test_an_untrained_network_finds_nothing() -> None:
    network = small_detector().eval()
    with torch.no_grad():
        found = network.detect(network(torch.randn(2, 1, 64, 64)))
    assert [one["boxes"].shape for one in found] == [(0, 4), (0, 4)]


def test_the_encoder_keeps_its_names() -> None:
    network = small_detector()
    keys = network.state_dict().keys()
    assert {key for key in keys if key.startswith("image_encoder.")} == {
        f"image_encoder.{key}" for key in network.image_encoder.state_dict()
    }
    assert all(key.startswith(("image_encoder.", "retina.")) for key in keys)


@pytest.mark.parametrize(
    ("encoder", "levels"),
    [("resnet18", (-3, -2, -1)), ("resnet18", (0, 1)), ("vit_tiny_patch16_224", (-3, -2, -1))],
)
@pytest.mark.parametrize("boxes", [True, False])
def test_every_trained_parameter_gets_a_gradient(encoder: str, levels: tuple[int, ...], boxes: bool) -> None:
    options: dict[str, Any] = {"img_size": 64} if encoder.startswith("vit") else {}
    network = small_detector(TimmEncoder(encoder, **options), levels=levels)
    images, target = bright_boxes(2, seed=0)
    if not boxes:
        target["box_label"][:] = -1
    RetinaLoss(network)(network(images), target).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert all(
        bool(parameter.grad.isfinite().all()) for parameter in network.parameters() if parameter.grad is not None
    )


def test_frozen_the_encoder_stays_as_it_is() -> None:
    network = small_detector().freeze(["image_encoder"]).train()
    assert not any(isinstance(m, nn.BatchNorm2d) and m.training for m in network.image_encoder.modules())
    images, target = bright_boxes(2, seed=0)
    RetinaLoss(network)(network(images), target).backward()
    with_gradient = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert with_gradient == {"retina"}


def test_anchors_are_exact_under_autocast() -> None:
    network = small_detector()
    image = torch.zeros(1, 1, 320, 320)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = network(image)
    assert reduced["classification"].dtype == torch.bfloat16
    assert torch.equal(reduced["anchors"], network(image)["anchors"])


@pytest.mark.parametrize("levels", [(), (2, 1), (-5, -1), (1, 4), (1, 1)])
def test_levels_that_are_not_there_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"pyramid of 4 maps with strides \(2, 4, 8, 16\)"):
        small_detector(levels=levels)


@pytest.mark.slow
def test_it_learns_to_find_rectangles_whatever_the_batch() -> None:
    network = small_detector(levels=(1, 2), anchor_scale=3)
    train(network, RetinaLoss(network), steps=60, batch=8, rate=5e-3)
    overlaps = overlaps_on_new_images(network)
    assert sum(overlap > 0.5 for overlap in overlaps) >= 15
    images, _ = bright_boxes(6, seed=3)
    with torch.no_grad():
        together = network.detect(network(images))
        alone = [network.detect(network(image[None]))[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        assert len(one["boxes"])
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
