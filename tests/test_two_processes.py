"""The whole network with its whole loss: two processes give the loss and the gradients of one on the joined batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from workflows import NO_DROPOUT, workflow

pytestmark = [pytest.mark.slow, pytest.mark.dist]

BATCH = 8
CASES = {"decoding": True, "sleeping decoder": False}

Outcome = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]


def network_of(parser: Any) -> nn.Module:
    """The network, with DDP around it if the config says so; in double precision, where sums know no order."""
    torch.manual_seed(0)
    for module in parser.get_parsed_content("network_def").double().train().modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # its statistics would be those of each process
    return parser.get_parsed_content("network")


def outcome(parser: Any, network: nn.Module, rows: range, decoding: bool) -> Outcome:
    """Loss terms and gradients of one training step on some rows of the training list."""
    bare = getattr(network, "module", network)
    bare.decoding = decoding
    loss = parser.get_parsed_content("loss")
    loss.pause("pseudo_segmentation", not decoding)
    network.zero_grad(set_to_none=True)
    batch = parser.get_parsed_content("train::dataset").__getitems__(rows)
    image, target, _, text = parser.get_parsed_content("validate::prepare_batch")(batch, "cpu")
    total = loss(parser.get_parsed_content("train::inferer")(image.double(), network, **text), target)
    total.backward()
    gradients = {name: p.grad for name, p in bare.named_parameters() if p.requires_grad}
    return {"loss": total.detach(), **loss.last}, gradients


def process(rank: int, store: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    with workflow(Path(store), Path(folder), ("pretrain", "demo", "multi_gpu"), NO_DROPOUT) as made:
        network = network_of(made.parser)
        assert isinstance(network, nn.parallel.DistributedDataParallel)
        assert not network.find_unused_parameters
        found = {}
        for name, decoding in CASES.items():
            terms, gradients = outcome(made.parser, network, range(rank, BATCH, 2), decoding)
            for term in terms.values():
                dist.all_reduce(term)
                term /= 2
            found[name] = (terms, {key: gradient.clone() for key, gradient in gradients.items()})
        torch.save(found, f"{folder}/{rank}.pt")
        assert made.check_properties() == []


@pytest.fixture(scope="module")
def together(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Outcome]]:
    """What each of two processes found, for each case."""
    folder = tmp_path_factory.mktemp("two")
    # Not forked: a fork hangs where threads of autograd have run.
    mp.spawn(process, args=(str(phantom_store), str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one(
    phantom_store: Path, tmp_path: Path, together: list[dict[str, Outcome]], case: str
) -> None:
    with workflow(phantom_store, tmp_path, ("pretrain", "demo"), NO_DROPOUT) as made:
        terms, gradients = outcome(made.parser, network_of(made.parser), range(BATCH), CASES[case])
    assert set(terms) == {"loss", "contrastive"} | ({"pseudo_segmentation"} if CASES[case] else set())
    assert any(bool(g.any()) for n, g in gradients.items() if n.startswith("decoder.")) == CASES[case]
    for rank in range(2):
        mean, averaged = together[rank][case]
        assert mean.keys() == terms.keys()
        assert averaged.keys() == gradients.keys()
        for name in terms:
            torch.testing.assert_close(mean[name], terms[name], rtol=1e-5, atol=1e-5)
        wrong = {name: (averaged[name] - g).norm() for name, g in gradients.items()}
        # Biases of attention keys have no gradient but rounding, hence the absolute part.
        assert [name for name, g in gradients.items() if wrong[name] > 1e-5 * g.norm() + 1e-8] == []
