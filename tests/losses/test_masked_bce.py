"""Unknown labels have no say, in one process and in two."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F

from bundle.losses.masked_bce import MaskedBCE

NAN = math.nan


def test_mean_over_the_known_labels():
    logits = torch.tensor([[math.log(3), 5.0], [-7.0, 0.0]], requires_grad=True)
    value = MaskedBCE()(logits, {"label": torch.tensor([[1.0, NAN], [NAN, 0.0]])})
    assert value.item() == pytest.approx((-math.log(0.75) + math.log(2)) / 2, rel=1e-6)
    value.backward()
    assert logits.grad.tolist() == [[pytest.approx(-0.125), 0], [0, pytest.approx(0.25)]]


def test_all_known_is_the_plain_loss():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([[1, 0, 1]] * 5, dtype=torch.uint8)
    expected = F.binary_cross_entropy_with_logits(logits, label.float())
    assert MaskedBCE()(logits, {"label": label}).item() == pytest.approx(expected.item(), rel=1e-6)


def test_nothing_known_is_zero_with_zero_gradients():
    logits = torch.randn(2, 3, dtype=torch.bfloat16, requires_grad=True)
    value = MaskedBCE()(logits, {"label": torch.full((2, 3), NAN)})
    value.backward()
    assert value.item() == 0
    assert value.dtype == torch.float32
    assert logits.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_nothing_needs_the_values_of_a_tensor():
    logits = torch.zeros(2, 3, device="meta", requires_grad=True)
    MaskedBCE()(logits, {"label": torch.zeros(2, 3, device="meta")}).backward()
    assert logits.grad.is_meta


def batch():
    generator = torch.Generator().manual_seed(0)
    label = (torch.rand(6, 3, generator=generator) > 0.5).float()
    label[0::2] = NAN  # rank 0 of two knows one label, rank 1 all
    label[2, 1] = 1
    return torch.randn(6, 4, generator=generator), label


def network():
    torch.manual_seed(1)
    return torch.nn.Linear(4, 3)


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    wrapped = torch.nn.parallel.DistributedDataParallel(network())
    rows, label = (x[rank::2] for x in batch())
    loss = MaskedBCE()(wrapped(rows), {"label": label})
    loss.backward()
    mean = loss.detach() / 2
    dist.all_reduce(mean)
    if rank == 0:
        with torch.no_grad():  # evaluation waits for no other process
            MaskedBCE()(wrapped.module(rows), {"label": label})
    torch.save((mean, wrapped.module.weight.grad), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_one_on_the_joined_batch(tmp_path):
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    alone = network()
    rows, label = batch()
    loss = MaskedBCE()(alone(rows), {"label": label})
    loss.backward()
    for rank in range(2):
        mean, gradient = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert mean.item() == pytest.approx(loss.item(), rel=1e-6)
        torch.testing.assert_close(gradient, alone.weight.grad, rtol=1e-5, atol=1e-7)
