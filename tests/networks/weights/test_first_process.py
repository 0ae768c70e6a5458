"""A network that is the same in all processes; two of them are in `tests/test_supervised_processes.py`."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from bundle.networks.weights.first_process import as_in_first_process


def test_one_process_keeps_its_weights(tmp_path) -> None:
    network = nn.Linear(2, 1)
    before = network.weight.clone()
    assert as_in_first_process(network) is network
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        assert as_in_first_process(network) is network
    finally:
        dist.destroy_process_group()
    assert torch.equal(network.weight, before)
