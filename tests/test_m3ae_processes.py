"""M3AE in two processes: the losses and gradients of one process on the joined batch, and a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from m3ae_runs import M3AE, SMALL
from supervised_runs import ENCODER, lines_of, results_of
from torch import Tensor, nn
from workflows import workflow

from bundle.networks.blocks.patch_masking import PatchMask

pytestmark = [pytest.mark.slow, pytest.mark.dist, pytest.mark.timeout(900)]

BATCH = 8
WHOLE = {**SMALL, "fusion_dropout": 0.0, "finalize": []}
"""Without dropout, whose draws depend on how a batch is cut; and processes stay joined after a workflow."""


@dataclass(frozen=True)
class Case:
    """A network, and the losses that it has.

    Attributes:
        terms: the losses.
        overlays: configs over M3AE's.
        values: overrides.
    """

    terms: tuple[str, ...]
    overlays: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


FROZEN = {
    "image_encoder": ENCODER,
    "image_name": "resnet18",
    "vision_transformer": {"image_size": 64, "patch_size": 16, "width": 16, "depth": 1, "heads": 2, "mlp": 32},
}
CASES = {
    "all losses": Case(("masked_language", "masked_image", "matching")),
    "without masked image": Case(("masked_language", "matching"), ("without_masked_image",)),
    "without masked language": Case(("masked_image", "matching"), ("without_masked_language",)),
    "aligned": Case(("masked_language", "masked_image", "matching", "contrastive"), ("aligned_m3ae",)),
    "frozen encoder": Case(
        ("masked_language", "masked_image", "matching"), ("frozen_m3ae", "encoder_resnet50"), FROZEN
    ),
}

Outcome = tuple[dict[str, Tensor], dict[str, Tensor]]


class JoinedPatches(nn.Module):
    """Keeps of each item the patches that were drawn for it, four of sixteen.

    Attributes:
        items: numbers of the items in the batch that is to come, in its order.
    """

    items: Tensor

    def forward(self, batch: int, patches: int, device: torch.device) -> PatchMask:
        order = torch.rand(BATCH, patches, generator=torch.Generator().manual_seed(3)).argsort(1)[self.items]
        restore = order.argsort(1)
        return PatchMask(order[:, :4], restore, (restore >= 4).double())


class JoinedPairs(nn.Module):
    """Gives items 0, 1, 4 and 5 the images of those after next; items of a process have even or odd numbers.

    Item 0 is not judged, so that processes judge unequally many.

    Attributes:
        items: as of `JoinedPatches`.
    """

    items: Tensor

    def forward(self, images: Tensor, texts: Tensor, text_id: Tensor) -> tuple[Tensor, Tensor]:
        other = self.items % 4 < 2
        wanted = torch.where(other, self.items + 2, self.items)
        place = (wanted[:, None] == self.items[None, :]).int().argmax(1)
        return place, torch.where(self.items == 0, torch.nan, (~other).float())


def network_of(parser: Any) -> nn.Module:
    """The network, with DDP around it if the config says so; in double precision, where sums know no order."""
    torch.manual_seed(0)
    bare = parser.get_parsed_content("network_def").double().train()
    bare.matching_head.float()  # which sees fp32 always
    bare.pairs, bare.patch_masking = JoinedPairs(), JoinedPatches()
    return parser.get_parsed_content("network")


def masked_words(parser: Any, items: Tensor, length: int) -> dict[str, Tensor]:
    """What the joined batch's draw has masked of some items, cut to the length of their own batch."""
    joined = parser.get_parsed_content("train::dataset").__getitems__(range(BATCH))
    drawn = parser.get_parsed_content("validate::prepare_batch").mask(joined["input_ids"], joined["attention_mask"])
    words = {name: value[joined["index"].argsort()][items] for name, value in drawn.items()}
    # Places that are not used may lie in padding that the shorter batch lacks.
    places = words["masked_positions"].clamp_max(length - 1)
    return words | {"masked_ids": words["masked_ids"][:, :length], "masked_positions": places}


def outcome(parser: Any, network: nn.Module, rows: range) -> Outcome:
    """Loss terms and gradients of a training step on some rows of the training list."""
    bare: Any = getattr(network, "module", network)
    network.zero_grad(set_to_none=True)
    batch = parser.get_parsed_content("train::dataset").__getitems__(rows)
    bare.pairs.items = bare.patch_masking.items = batch["index"]
    image, target, _, text = parser.get_parsed_content("validate::prepare_batch")(batch, "cpu")
    text |= masked_words(parser, batch["index"], text["input_ids"].shape[1])
    loss = parser.get_parsed_content("loss")
    total = loss(parser.get_parsed_content("train::inferer")(image.double(), network, **text), target)
    total.backward()
    gradients = {name: p.grad.clone() for name, p in bare.named_parameters() if p.requires_grad}
    return {"loss": total.detach(), **loss.last}, gradients


def process(rank: int, store: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for name, case in CASES.items():
        given = {**WHOLE, **case.values}
        with workflow(store, folder / "compared", (*M3AE, *case.overlays, "multi_gpu"), given) as made:
            network = network_of(made.parser)
            assert isinstance(network, nn.parallel.DistributedDataParallel)
            assert not network.find_unused_parameters
            for _ in range(2):  # the second step is where DDP finds out what took no part in the first
                terms, gradients = outcome(made.parser, network, range(rank, BATCH, 2))
            for term in terms.values():
                dist.all_reduce(term)
                term /= 2
            torch.save((terms, gradients), folder / f"{name}_{rank}.pt")
    with workflow(store, folder / "run", (*M3AE, "multi_gpu"), WHOLE) as made:
        made.run()
        torch.save(made.parser.get_parsed_content("network_def").state_dict(), folder / f"trained_{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what each of two processes found."""
    folder = tmp_path_factory.mktemp("two")
    # Not forked: a fork hangs where threads of autograd have run.
    mp.spawn(process, args=(phantom_store, folder), nprocs=2)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(phantom_store: Path, tmp_path: Path, together: Path, name: str) -> None:
    case = CASES[name]
    given = {**WHOLE, **case.values}
    with workflow(phantom_store, tmp_path, (*M3AE, *case.overlays), given) as made:
        terms, gradients = outcome(made.parser, network_of(made.parser), range(BATCH))
    assert set(terms) == {"loss", *case.terms}
    # Biases of attention keys have no gradient but rounding.
    assert [key for key, g in gradients.items() if not g.any() and not key.endswith("key.bias")] == []
    for rank in range(2):
        mean, averaged = torch.load(together / f"{name}_{rank}.pt", weights_only=True)
        assert mean.keys() == terms.keys()
        assert averaged.keys() == gradients.keys()
        for term in terms:
            torch.testing.assert_close(mean[term], terms[term], rtol=1e-5, atol=1e-5)
        wrong = {key: (averaged[key] - g).norm() for key, g in gradients.items()}
        assert [key for key, g in gradients.items() if wrong[key] > 1e-5 * g.norm() + 1e-8] == []


def test_shares_of_the_batch_are_unequal(phantom_store: Path, tmp_path: Path) -> None:
    """Means of the processes' means would not pass above."""
    with workflow(phantom_store, tmp_path, M3AE, WHOLE) as made:
        words = [masked_words(made.parser, torch.arange(rank, BATCH, 2), 99)["masked_labels"] for rank in range(2)]
        network = network_of(made.parser)
        halves = [outcome(made.parser, network, range(rank, BATCH, 2))[0] for rank in range(2)]
        whole = outcome(made.parser, network, range(BATCH))[0]
    assert len({int((labels >= 0).sum()) for labels in words}) == 2
    for term in ("masked_language", "matching"):
        assert abs((halves[0][term] + halves[1][term]) / 2 - whole[term]) > 1e-5


def test_two_processes_train_a_run(together: Path) -> None:
    first, second = (torch.load(together / f"trained_{rank}.pt", weights_only=True) for rank in range(2))
    assert [key for key, value in first.items() if not torch.equal(value, second[key])] == []
    folder = together / "run" / "pretrain" / "m3ae"
    for rank in ("", "1"):
        assert [line["iteration"] for line in lines_of(folder / f"losses{rank}.jsonl")] == [1, 2, 3]
    assert results_of(folder)["metrics"]["matching_accuracy"]["n"] == 8
    assert (folder / "models" / "model.safetensors").exists()
