"""Question answering and image-text classification in two processes: figures, losses and gradients of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from question_runs import lists_of, stages
from safetensors.torch import load_file
from supervised_runs import UNDRAWN, evaluated, lines_of, results_of, supervised
from torch import Tensor, nn

pytestmark = [pytest.mark.slow, pytest.mark.dist]

BATCH = 8
NAMES = ("vqa", "image_text")
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
    for head in (bare.head, bare.question_only.head):
        head[-1].float()  # which sees fp32 always
    network, loss = parser.get_parsed_content("network"), parser.get_parsed_content("loss")
    dataset, collate = parser.get_parsed_content("train::dataset"), parser.get_parsed_content("collate")
    batch = collate([dataset[row] for row in rows])
    image, target, _, words = parser.get_parsed_content("validate::prepare_batch")(batch)
    total = loss(parser.get_parsed_content("train::inferer")(image.double(), network, **words), target)
    total.backward()
    gradients = {name: p.grad.clone() for name, p in bare.named_parameters()}
    return {"loss": total.detach(), **loss.last}, gradients


def process(rank: int, lists: dict[str, Path], store: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for name, stage in stages(store).items():
        values = {"batch_size": 3, **UNDRAWN, **JOINED}
        with evaluated(folder / "alone" / stage.folder, folder / "evaluated" / name, values, ("multi_gpu",)) as made:
            made.run()
        with supervised(stage, lists[name], folder / "compared", JOINED, ("multi_gpu",)) as made:
            terms, gradients = outcome(made.parser, range(rank, BATCH, 2))
            assert isinstance(made.parser.get_parsed_content("network"), nn.parallel.DistributedDataParallel)
        for term in terms.values():
            dist.all_reduce(term)
            term /= 2
        torch.save((terms, gradients), folder / f"{name}_{rank}.pt")
        values = {"batch_size": 8, "fraction": 10 if name == "vqa" else 100, **UNDRAWN, **JOINED}
        with supervised(stage, lists[name], folder / "trained", values, ("multi_gpu",)) as made:
            made.run()
            state = made.parser.get_parsed_content("saved_network").state_dict()
        torch.save(state, folder / f"trained_{name}_{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(phantoms: Path, phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with runs of this process, and with what two processes made of them."""
    folder = tmp_path_factory.mktemp("two")
    lists = {name: lists_of(name, phantoms, folder / "list") for name in NAMES}
    for name, stage in stages(phantom_store).items():
        with supervised(stage, lists[name], folder / "alone", {"learning_rate": 1e-3, **UNDRAWN}) as made:
            made.run()
    # Not forked: a fork hangs where threads of autograd have run.
    mp.spawn(process, args=(lists, phantom_store, folder), nprocs=2)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_gives_the_figures_of_one_process(together: Path, phantom_store: Path, name: str) -> None:
    alone = results_of(together / "alone" / stages(phantom_store)[name].folder)["metrics"]
    two = results_of(together / "evaluated" / name)["metrics"]
    assert two.keys() == alone.keys()
    for metric, entry in alone.items():
        assert two[metric] == pytest.approx(entry, abs=1e-5), metric


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradients_are_those_of_the_joined_batch(
    together: Path, phantoms: Path, phantom_store: Path, tmp_path: Path, name: str
) -> None:
    lists = lists_of(name, phantoms, tmp_path / "list")
    with supervised(stages(phantom_store)[name], lists, tmp_path) as made:
        terms, gradients = outcome(made.parser, range(BATCH))
    assert set(terms) == {"loss", "answers", "question_only"}
    assert all(bool(g.any()) for key, g in gradients.items() if key.endswith("head.0.weight"))
    for rank in range(2):
        mean, averaged = torch.load(together / f"{name}_{rank}.pt", weights_only=True)
        torch.testing.assert_close(mean, terms, rtol=1e-5, atol=1e-5)
        wrong = [key for key, g in gradients.items() if (averaged[key] - g).norm() > 1e-5 * g.norm() + 1e-7]
        assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_training_leaves_what_one_process_leaves(together: Path, phantom_store: Path, name: str) -> None:
    stage = stages(phantom_store)[name]
    folder = together / "trained" / stage.folder
    assert results_of(folder)["metrics"][stage.key]["n"] == {"vqa": 44, "image_text": 7}[name]
    saved = load_file(folder / "models" / "best.safetensors")
    for rank in range(2):
        tested = torch.load(together / f"trained_{name}_{rank}.pt", weights_only=True)
        assert [key for key, value in saved.items() if not torch.equal(value, tested[key])] == []
        assert lines_of(folder / f"losses{rank or ''}.jsonl")
    assert sorted(path.name for path in (folder / "models").iterdir()) == [
        *(["answers.json"] if name == "vqa" else []),
        *("best.json", "best.safetensors", "tokenizer"),
    ]
