"""Dice of the whole batch by hand, and the losses over it in two processes against one."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from bundle.losses.batch_dice import batch_dice
from bundle.losses.medklip_segmentation import MedklipSegmentationLoss
from bundle.losses.mgca_segmentation import MgcaSegmentationLoss


def test_value_by_hand():
    logits = torch.zeros(2, 1, 2, 2)  # probabilities of 1/2
    label = torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 0]]).reshape(2, 1, 2, 2)
    assert batch_dice(logits, label).item() == pytest.approx((2 * 1.5 + 1) / (4 + 3 + 1))
    assert batch_dice(logits, label, smooth=0).item() == pytest.approx(3 / 7)


def test_it_is_one_for_masks_that_agree_and_for_empty_ones():
    label = torch.zeros(2, 1, 8, 8)
    assert batch_dice(torch.full_like(label, -100), label).item() == pytest.approx(1)
    label[1, 0, 2:5, 3:] = 1
    assert batch_dice(200 * label - 100, label).item() == pytest.approx(1)
    assert batch_dice(100 - 200 * label, label).item() == pytest.approx(1 / (64 * 2 + 1))


def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 1, 16, 16, generator=generator)
    label = torch.rand(4, 2, 16, 16, generator=generator) < torch.tensor([0.0, 0.1, 0.4, 0.9])[:, None, None, None]
    return image, label


def network():
    torch.manual_seed(1)
    return torch.nn.Conv2d(1, 2, 3, padding=1)


LOSSES = {"mgca": MgcaSegmentationLoss, "medklip": MedklipSegmentationLoss}


@pytest.mark.parametrize("kind", LOSSES.values())
def test_nothing_needs_the_values_of_a_tensor(kind):
    logits = torch.zeros(2, 1, 4, 4, device="meta", requires_grad=True)
    kind()(logits, {"label": torch.zeros(2, 1, 4, 4, device="meta", dtype=torch.bool)}).backward()
    assert logits.grad.is_meta


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {}
    for name, kind in LOSSES.items():
        wrapped = torch.nn.parallel.DistributedDataParallel(network())
        image, label = (x[rank::2] for x in batch())
        loss = kind()(wrapped(image), {"label": label})
        loss.backward()
        with torch.no_grad():
            alone = kind()(wrapped.module(image), {"label": label})
        mean = loss.detach() / 2
        dist.all_reduce(mean)
        found[name] = (mean, {k: p.grad for k, p in wrapped.module.named_parameters()}, alone)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_one_on_the_joined_batch(tmp_path):
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    for name, kind in LOSSES.items():
        alone = network()
        image, label = batch()
        loss = kind()(alone(image), {"label": label})
        loss.backward()
        for rank in range(2):
            mean, grads, own = torch.load(tmp_path / f"{rank}.pt", weights_only=True)[name]
            assert mean.item() == pytest.approx(loss.item(), rel=1e-6)
            for key, parameter in alone.named_parameters():
                torch.testing.assert_close(grads[key], parameter.grad, rtol=1e-5, atol=1e-6)
            with torch.no_grad():  # evaluation gathers nothing
                expected = kind()(alone(image[rank::2]), {"label": label[rank::2]})
            assert own.item() == pytest.approx(expected.item(), rel=1e-6)
            assert abs(own.item() - loss.item()) > 1e-3
