"""The supervised stages in two processes: figures, losses and gradients of one process, and whole trainings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from supervised_runs import (
    STAGES,
    UNDRAWN,
    edited_list,
    evaluated,
    lines_of,
    many_to_test,
    results_of,
    supervised,
)
from torch import Tensor, nn

pytestmark = [pytest.mark.slow, pytest.mark.dist]

BATCH = 8
EVALUATED = ("segmentation", "classification", "linear_cached", "detection", "yolo")
COMPARED = {
    "segmentation": {},
    "mgca": {},
    "medklip": {},
    "classification": {},
    "detection": {"loss::pool": 1, "loss::samples": 10**6},  # all positives and the hardest negatives, none drawn
    "yolo": {"frozen": []},
}
"""Stages whose loss and gradients are compared, with values that take chance out."""
TRAINED = ("segmentation", "classification", "linear_cached", "detection", "yolo")

JOINED = {"finalize": []}
"""Values that keep the processes joined after a workflow."""

Outcome = tuple[dict[str, Tensor], dict[str, Tensor]]


def outcome(parser: Any, rows: range) -> Outcome:
    """Loss terms and gradients of one training step on some training items, in double precision."""
    torch.manual_seed(0)
    bare = parser.get_parsed_content("network_def").double().train()
    for module in bare.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()  # its statistics would be those of each process
        if isinstance(module, nn.Linear):
            module.float()  # the classifier's head, which sees fp32 always
    network, loss = parser.get_parsed_content("network"), parser.get_parsed_content("loss")
    dataset, collate = parser.get_parsed_content("train::dataset"), parser.get_parsed_content("collate")
    image, target = parser.get_parsed_content("validate::prepare_batch")(collate([dataset[row] for row in rows]))
    total = loss(parser.get_parsed_content("train::inferer")(image.double(), network), target)
    total.backward()
    gradients = {name: p.grad.clone() for name, p in bare.named_parameters() if p.requires_grad}
    return {"loss": total.detach(), **getattr(loss, "last", {})}, gradients


def trained_values(name: str) -> dict[str, Any]:
    """Values of a training whose predictions say something."""
    sure = {"task_network::min_score": 0.01} if STAGES[name].folder.startswith("detection") else {}
    return {"max_epochs": 8, "val_interval": 8, "learning_rate": 1e-3, "batch_size": 8, **UNDRAWN, **sure}


def evaluate_together(folder: Path) -> None:
    """23 items in batches of three of two processes: 12 and 11."""
    for name in EVALUATED:
        run, output = folder / "alone" / name / STAGES[name].folder, folder / "evaluated" / name
        with evaluated(run, output, {"batch_size": 3, **JOINED}, ("multi_gpu",)) as made:
            made.run()
            assert len(made.parser.get_parsed_content("items::test")) % 2 == 1, "shards are to be uneven"


def compare_together(rank: int, phantoms: Path, folder: Path) -> None:
    """Write this process's share of each comparison; the loss terms are means over processes."""
    for name, values in COMPARED.items():
        with supervised(STAGES[name], phantoms, folder / "compared", {**values, **JOINED}, ("multi_gpu",)) as made:
            terms, gradients = outcome(made.parser, range(rank, BATCH, 2))
            assert isinstance(made.parser.get_parsed_content("network"), nn.parallel.DistributedDataParallel)
        for term in terms.values():
            dist.all_reduce(term)
            term /= 2
        torch.save((terms, gradients), folder / f"{name}_{rank}.pt")


def train_together(rank: int, phantoms: Path, folder: Path) -> None:
    for name in TRAINED:
        values = {"max_epochs": 2, "batch_size": 8, **JOINED}
        with supervised(STAGES[name], phantoms, folder / "trained" / name, values, ("multi_gpu",)) as made:
            assert made.check_properties() == []
            made.run()
            state = made.parser.get_parsed_content("saved_network").state_dict()
        torch.save(state, folder / f"trained_{name}_{rank}.pt")


def process(rank: int, phantoms: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    evaluate_together(Path(folder))
    compare_together(rank, Path(phantoms), Path(folder))
    train_together(rank, Path(phantoms), Path(folder))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with runs of this process, and with what two processes made of them."""
    folder = tmp_path_factory.mktemp("two")
    varied = edited_list(phantoms, folder / "varied", many_to_test)
    for name in EVALUATED:
        with supervised(STAGES[name], varied, folder / "alone" / name, trained_values(name)) as made:
            made.run()
    # Not forked: a fork hangs where threads of autograd have run.
    mp.spawn(process, args=(str(phantoms), str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize("name", EVALUATED)
def test_evaluation_gives_the_figures_of_one_process(together: Path, name: str) -> None:
    alone = results_of(together / "alone" / name / STAGES[name].folder)
    two = results_of(together / "evaluated" / name)
    assert two["metrics"].keys() == alone["metrics"].keys()
    assert len({entry["value"] for entry in alone["metrics"].values()}) > 4
    for metric, entry in alone["metrics"].items():
        # Calibration errors are sums of probabilities, which know the size of the batch in their last digits.
        assert two["metrics"][metric] == (pytest.approx(entry, abs=1e-6) if "ece" in metric else entry), metric


@pytest.mark.parametrize("name", COMPARED)
def test_loss_and_gradients_are_those_of_the_joined_batch(
    phantoms: Path, tmp_path: Path, together: Path, name: str
) -> None:
    with supervised(STAGES[name], phantoms, tmp_path, COMPARED[name]) as made:
        terms, gradients = outcome(made.parser, range(BATCH))
    assert any(bool(gradient.any()) for gradient in gradients.values())
    for rank in range(2):
        mean, averaged = torch.load(together / f"{name}_{rank}.pt", weights_only=True)
        assert (mean.keys(), averaged.keys()) == (terms.keys(), gradients.keys())
        torch.testing.assert_close(mean["loss"], terms["loss"], rtol=1e-5, atol=1e-5)
        assert unequal(averaged, gradients) == []


def unequal(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Names of gradients that differ by more than 1e-5 of their norm."""
    return [name for name, g in wanted.items() if (found[name] - g).norm() > 1e-5 * g.norm() + 1e-8]


@pytest.mark.parametrize("name", TRAINED)
def test_training_leaves_what_one_process_leaves(together: Path, name: str) -> None:
    stage = STAGES[name]
    folder = together / "trained" / name / stage.folder
    results = results_of(folder)
    assert results["metrics"][stage.key]["n"] == stage.scored
    saved = load_file(folder / "models" / "best.safetensors")
    for rank in range(2):
        tested = torch.load(together / f"trained_{name}_{rank}.pt", weights_only=True)
        assert [key for key, value in saved.items() if not torch.equal(value, tested[key])] == []
        losses = lines_of(folder / f"losses{rank or ''}.jsonl")
        assert [line["iteration"] for line in losses] == list(range(1, 7))
    assert len(lines_of(folder / "metrics.jsonl")) == 2
    assert json.loads((folder / "models" / "best.json").read_text(encoding="utf-8"))["best"]["metric"] == stage.key
