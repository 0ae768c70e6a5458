"""Where cells look, measured by gradients, against what a spot in the image changes and against arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from bundle.networks.encoders.cell_offset import cell_offset
from bundle.networks.encoders.image_encoder import ImageEncoder, TimmEncoder
from bundle.transforms.moved import moved

RESNET18: dict[str, Any] = {"name": "resnet18", "out_indices": (0, 1, 2)}  # stride 8


@pytest.mark.parametrize(
    ("given", "size", "least", "most"),
    [
        (RESNET18, 128, -4, -3),  # cell i looks at pixel 8 i, 3.5 px from the middle of its block
        ({"name": "resnet50", "out_indices": (0, 1, 2, 3)}, 256, -8, -7),  # 16 i
        ({"name": "convnext_tiny"}, 224, 0, 0),  # cuts patches
        ({"name": "vit_tiny_patch16_224"}, 224, -1, 1),
    ],
)
def test_published_networks(given: dict[str, Any], size: int, least: int, most: int) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        assert least <= cell_offset(TimmEncoder(**given), (size, size)) <= most


class Convolution(ImageEncoder):
    """One convolution of stride 8 whose kernel looks at one pixel of its 8 x 8."""

    channels, strides = (1,), (8,)

    def __init__(self, pixel: int) -> None:
        super().__init__()
        self.kernel = torch.nn.Parameter(torch.zeros(1, 1, 8, 8))
        self.kernel.data[0, 0, pixel, pixel] = 1.0

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [F.conv2d(x, self.kernel, stride=8)]


@pytest.mark.parametrize(("pixel", "offset"), [(0, -4), (2, -2), (5, 2), (7, 4)])
def test_a_kernel_that_looks_at_one_pixel(pixel: int, offset: int) -> None:
    assert cell_offset(Convolution(pixel), (64, 48)) == offset  # pixel - 3.5, halves to the even


@pytest.mark.parametrize("place", [(40, 72), (57, 49), (83, 62)])
def test_what_a_spot_changes_is_shown_where_the_spot_is(place: tuple[int, int]) -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder(**RESNET18).eval()
    image = torch.randn(8, 1, 128, 128)
    spotted = image.clone()
    spotted[:, :, place[0] - 2 : place[0] + 3, place[1] - 2 : place[1] + 3] += 3
    with torch.no_grad():
        change = (encoder(spotted)[-1] - encoder(image)[-1]).abs().sum((0, 1))
    fine = F.interpolate(change[None, None], size=(128, 128), mode="bilinear", align_corners=False)

    def distance(heat: torch.Tensor) -> float:
        mass, at = heat[0, 0] / heat.sum(), torch.arange(128.0)
        centre = torch.stack([mass.sum(1) @ at, mass.sum(0) @ at])
        return float((centre - torch.tensor(place)).norm())

    assert distance(fine) > 4  # as maps are commonly enlarged: half a cell down and right
    assert distance(moved(fine, cell_offset(encoder, (128, 128)))) < 1.5


def test_a_network_in_double_precision() -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder(**RESNET18)
    assert cell_offset(encoder.double(), (64, 64)) == cell_offset(encoder.float(), (64, 64))


def test_measuring_leaves_nothing_behind() -> None:
    encoder = TimmEncoder(**RESNET18).train()
    next(module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)).eval()  # frozen
    modes = [module.training for module in encoder.modules()]
    before, state = {name: value.clone() for name, value in encoder.state_dict().items()}, torch.get_rng_state()
    with torch.no_grad():
        cell_offset(encoder, (64, 64))
    assert [module.training for module in encoder.modules()] == modes
    assert all(p.grad is None for p in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
