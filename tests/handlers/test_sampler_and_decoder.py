from types import SimpleNamespace

import pytest
import torch

from bundle.handlers.delayed_decoder import DelayedDecoder
from bundle.handlers.sampler_position import SamplerPosition
from bundle.losses.weighted_sum import WeightedSum


def engine(iteration: int, epoch: int = 1, epoch_length: int = 10) -> SimpleNamespace:
    return SimpleNamespace(state=SimpleNamespace(iteration=iteration, epoch=epoch, epoch_length=epoch_length))


def test_sampler_is_told_epoch_and_first_batch():
    told = []
    sampler = SimpleNamespace(
        set_epoch=lambda epoch: told.append(("epoch", epoch)), set_start=lambda batch: told.append(("start", batch))
    )
    SamplerPosition(sampler)(engine(iteration=23, epoch=3))
    assert told == [("epoch", 3), ("start", 3)]


@pytest.mark.parametrize(("iteration", "started"), [(1, False), (200, False), (201, True)])
def test_decoder_starts_after_its_step(iteration, started):
    network = torch.nn.Module()
    loss = WeightedSum({"contrastive": torch.nn.Identity(), "pseudo_segmentation": torch.nn.Identity()})
    DelayedDecoder(network, loss, start_step=200)(engine(iteration))
    assert network.decoding is started
    assert ("pseudo_segmentation" in loss.paused) is not started


def test_wrapped_network_is_unwrapped():
    inner = torch.nn.Module()
    outer = SimpleNamespace(module=inner)
    DelayedDecoder(outer, WeightedSum({"pseudo_segmentation": torch.nn.Identity()}))(engine(1))
    assert inner.decoding is True
