"""Adaptor from cached features: two processes give the loss and the gradients of one on the joined batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from adaptor_runs import adaptor_workflow, cached
from pretrained import pretrained_run
from torch import nn

pytestmark = [pytest.mark.slow, pytest.mark.dist]

BATCH = 16
NO_DROPOUT = {"adaptor::dropout": 0.0}  # whose draws depend on how a batch is cut into pieces

Outcome = tuple[torch.Tensor, dict[str, torch.Tensor]]


def outcome(parser: Any, rows: range) -> Outcome:
    """Loss and gradients of one training step on some pairs, with DDP if the config says so."""
    torch.manual_seed(0)
    bare = parser.get_parsed_content("network_def").double().train()
    network = parser.get_parsed_content("network")
    batch = parser.get_parsed_content("train::dataset").__getitems__(rows)
    images, target, _, texts = parser.get_parsed_content("train::prepare_batch")(batch, "cpu")
    loss = parser.get_parsed_content("loss")(
        parser.get_parsed_content("train::inferer")(images, network, **texts), target
    )
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in bare.named_parameters()}


def process(rank: int, cache: str, encoders: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    with adaptor_workflow(Path(cache), Path(encoders), Path(folder), NO_DROPOUT, extra=("multi_gpu",)) as made:
        loss, gradients = outcome(made.parser, range(rank, BATCH, 2))
        assert isinstance(made.parser.get_parsed_content("network"), nn.parallel.DistributedDataParallel)
        dist.all_reduce(loss)
        torch.save((loss / 2, gradients), f"{folder}/{rank}.pt")
        assert made.check_properties() == []


def test_two_processes_equal_one(phantom_store: Path, tmp_path: Path) -> None:
    encoders = pretrained_run(phantom_store, tmp_path / "encoders")[0]
    cache = cached(phantom_store, encoders, tmp_path / "cache")
    # Not forked: a fork hangs where threads of autograd have run.
    mp.spawn(process, args=(str(cache), str(encoders), str(tmp_path)), nprocs=2)
    with adaptor_workflow(cache, encoders, tmp_path / "one", NO_DROPOUT) as made:
        loss, gradients = outcome(made.parser, range(BATCH))
    assert gradients["layers.0.attention.in_proj_weight"].any()
    for rank in range(2):
        mean, averaged = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(mean, loss, rtol=1e-5, atol=1e-5)
        assert averaged.keys() == gradients.keys()
        wrong = {name: (averaged[name] - g).norm() for name, g in gradients.items()}
        assert [name for name, g in gradients.items() if wrong[name] > 1e-5 * g.norm() + 1e-8] == []
