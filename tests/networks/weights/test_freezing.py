"""Frozen parts: no gradient, and statistics that stay or drift."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from monai.networks.utils import eval_mode, train_mode
from torch import nn

from bundle.networks.weights.freezing import FreezableNetwork


class Net(FreezableNetwork):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.neck = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.neck(self.body(x)))


def trained(network: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}


def step(network: nn.Module, rows: torch.Tensor) -> None:
    """One step as a trainer takes it: `train` is called every time."""
    network.train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    network(rows).square().sum().backward()
    optimizer.step()


ROWS = 5 + 2 * torch.randn(16, 3, generator=torch.Generator().manual_seed(1))


def test_fixed_parts_do_not_change_and_compute_the_same_in_training() -> None:
    network = Net().freeze(["body"])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    features = network.eval().body(ROWS)
    step(network, ROWS)
    assert (network.body.training, network.body[1].training, network.neck.training) == (False, False, True)
    assert torch.equal(network.body(ROWS), features)  # no dropout, no statistics of the batch
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in changed} == {"neck", "head"}
    assert all(p.grad is None for p in network.body.parameters())
    assert trained(network) == {"neck", "head"}


def test_drifting_parts_keep_their_weights_and_move_their_statistics() -> None:
    network = Net().freeze(["body"], statistics="drifting")
    mean, weight = network.body[1].running_mean.clone(), network.body[0].weight.clone()
    expected = 0.1 * network.body[0](ROWS).mean(0)  # momentum .1 from 0
    step(network, ROWS)
    assert network.body.training
    torch.testing.assert_close(network.body[1].running_mean, expected)
    assert not torch.equal(network.body[1].running_mean, mean)
    assert torch.equal(network.body[0].weight, weight)
    assert all(p.grad is None for p in network.body.parameters())


def test_freezing_adds_up_and_the_last_word_on_statistics_counts() -> None:
    network = Net().train().freeze(["body"]).freeze(["neck"])
    assert trained(network) == {"head"}
    assert (network.body.training, network.neck.training, network.head.training) == (False, False, True)
    network.freeze(["body"], "drifting")
    assert (network.body.training, network.neck.training) == (True, False)
    assert trained(network) == {"head"}
    assert trained(Net().freeze([])) == {"body", "neck", "head"}


def test_the_modes_that_monai_sets_leave_fixed_parts_in_evaluation() -> None:
    network = Net().freeze(["body"])
    with eval_mode(network):
        assert not network.head.training
    assert (network.head.training, network.body.training) == (True, False)
    with train_mode(network.eval()):
        assert (network.head.training, network.body.training) == (True, False)
    wrapped = nn.Sequential(network).train()
    assert (wrapped[0].head.training, wrapped[0].body.training) == (True, False)


@pytest.mark.parametrize("parts", [["head", "tail"], "body", ["body.0"]])
def test_an_unknown_part_is_named_with_those_there_are(parts: list[str]) -> None:
    network = Net()
    with pytest.raises(ValueError, match=r"Net has no part '.+' to freeze; give a list of some of body, neck, head\.$"):
        network.freeze(parts)
    assert trained(network) == {"body", "neck", "head"}


def test_another_word_for_statistics_is_refused() -> None:
    network = Net()
    with pytest.raises(ValueError, match="one of fixed, drifting, not 'frozen'"):
        network.freeze(["body"], "frozen")  # type: ignore[arg-type]
    assert trained(network) == {"body", "neck", "head"}


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    network = nn.parallel.DistributedDataParallel(Net().freeze(["body", "neck"]))
    for _ in range(2):  # the second forward is where DDP misses gradients that did not come
        network.train()
        network.zero_grad()
        (network(ROWS[rank::2]).square().sum(1).mean()).backward()
    torch.save(network.module.head.weight.grad, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_with_frozen_parts_equal_one(tmp_path) -> None:
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    network = Net().freeze(["body", "neck"]).train()
    network(ROWS).square().sum(1).mean().backward()
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), network.head.weight.grad)
