from __future__ import annotations

import pytest
import torch

from bundle.losses.pixel_reconstruction import PixelReconstructionLoss


def test_nothing_painted_costs_one_and_the_standardised_image_nothing() -> None:
    image = (
        torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1.0, 0.5, 0.1])[:, None, None, None]
    )
    loss = PixelReconstructionLoss()
    assert loss({"logits": torch.zeros_like(image)}, {"image": image}).item() == pytest.approx(1.0, abs=2e-3)
    standard = torch.stack([(x - x.mean()) / x.std(correction=0) for x in image])
    assert loss({"logits": standard}, {"image": image}).item() == pytest.approx(0.0, abs=1e-5)


def test_a_value_by_hand() -> None:
    # Mean .5, deviation .5: the standardised image is -1 and 1; errors 1 and 2, squares 1 and 4.
    image = torch.tensor([[[[0.0, 1.0]]]])
    logits = torch.tensor([[[[0.0, 3.0]]]])
    assert PixelReconstructionLoss()({"logits": logits}, {"image": image}).item() == pytest.approx(2.5, abs=1e-4)


def test_exposure_does_not_matter_and_a_black_image_is_finite() -> None:
    image = torch.rand(2, 1, 8, 8)
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    loss = PixelReconstructionLoss()
    assert loss({"logits": logits}, {"image": 0.5 * image + 0.2}).item() == pytest.approx(
        loss({"logits": logits}, {"image": image}).item(), rel=1e-3
    )
    black = loss({"logits": logits}, {"image": torch.zeros_like(image)})
    black.backward()
    assert torch.isfinite(black)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
