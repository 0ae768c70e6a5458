import pytest
import torch
from torch import nn

from bundle.networks.weights.fingerprint import fingerprint


def network(**options: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, **options), nn.BatchNorm2d(4))


def test_equal_networks_have_one_fingerprint_in_any_mode_and_layout():
    same = network().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    assert fingerprint(network()) == fingerprint(same)
    assert len(fingerprint(network())) == 64


def one_bit(module: nn.Module) -> nn.Module:
    module[0].weight.data[0, 0, 0, 0] = torch.nextafter(module[0].weight.data[0, 0, 0, 0], torch.tensor(9.0))
    return module


def statistics(module: nn.Module) -> nn.Module:
    module[1].running_mean[2] = 1e-6
    return module


@pytest.mark.parametrize("change", [one_bit, statistics, nn.Module.bfloat16])
def test_every_tensor_counts(change):
    assert fingerprint(change(network())) != fingerprint(network())


def test_what_no_tensor_shows_counts():
    assert fingerprint(network(dilation=2)) != fingerprint(network())
