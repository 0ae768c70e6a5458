from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing import spawn

from bundle.metrics.retrieval import RetrievalMetric
from bundle.metrics.retrieval_controls import ControlledRetrieval
from bundle.metrics.retrieval_pairs import Pairs

ITEMS = 60
DIRECTIONS = ("image_to_text", "text_to_image")


def data(items: int = ITEMS) -> dict[str, Tensor]:
    """Pairs whose embeddings are equal and unlike those of all others; three groups, some items without one."""
    embedding = torch.nn.functional.normalize(torch.randn(items, 16, generator=torch.Generator().manual_seed(3)))
    number = torch.arange(items)
    return {"image_embedding": embedding, "text_embedding": embedding, "text_id": number + 100, "index": number}


def groups() -> list[int]:
    return [number % 4 - 1 for number in range(ITEMS)]


def controlled(**options: object) -> ControlledRetrieval:
    chosen = {"ks": (1, 5), "precision_ks": (3,), "groups": groups(), "blank": torch.ones(1, 16), **options}
    return ControlledRetrieval(**chosen)  # type: ignore[arg-type]


def measured(metric: ControlledRetrieval, batches: int = 1) -> dict[str, float]:
    for rows in torch.arange(ITEMS).tensor_split(batches):
        part = {name: one[rows] for name, one in data().items()}
        metric(part, part)
    return metric.aggregate()


def test_plain_figures_are_those_of_retrieval() -> None:
    plain = RetrievalMetric((1, 5))
    plain(data(), data())
    assert plain.aggregate().items() <= measured(controlled()).items()


def test_perfect_embeddings_beside_their_controls() -> None:
    result = measured(controlled())
    for direction in DIRECTIONS:
        assert result[f"retrieval_r1_{direction}"] == 1
        assert result[f"retrieval_r1_{direction}_chance"] == pytest.approx(1 / ITEMS)
        assert result[f"retrieval_r5_{direction}_chance"] == pytest.approx(5 / ITEMS)
        assert result[f"retrieval_r5_{direction}_shuffled"] <= 0.2
        assert result[f"retrieval_p3_{direction}_shuffled"] < 0.5
        # One order for every query: the first text is the own one of one image; of texts, all images tie.
        assert result[f"retrieval_r1_{direction}_blank_image"] == pytest.approx(1 / ITEMS)
        assert result[f"retrieval_r5_{direction}_blank_image"] == pytest.approx(5 / ITEMS)
        assert result[f"retrieval_median_rank_{direction}_blank_image"] == (ITEMS + 1) / 2
        # 15 items of each of three groups.
        assert result[f"retrieval_p3_{direction}_chance"] == pytest.approx(1 / 3)
        assert result[f"retrieval_p3_{direction}_blank_image"] == pytest.approx(1 / 3)


def test_controls_have_intervals_where_they_are_means() -> None:
    metric = controlled()
    result, samples = measured(metric), metric.samples()
    without = {name for name in result if name not in samples}
    assert all(any(part in name for part in ("median_rank", "pool", "_r1_", "_r5_")) for name in without)
    assert {name for name in without if "_r1_" in name or "_r5_" in name} == {
        f"retrieval_r{k}_{direction}_chance" for k in (1, 5) for direction in DIRECTIONS
    }
    for name, sample in samples.items():
        assert float(sample.values.mean()) == pytest.approx(result[name])
    assert len(samples["retrieval_p3_image_to_text_shuffled"].index) == 45


def test_names_without_groups_and_blank_image() -> None:
    names = measured(controlled(groups=None, blank=None)).keys()
    assert not any("_p3_" in name or "grouped" in name or "blank" in name for name in names)
    assert {name for name in names if name.endswith("_shuffled")} == {
        f"retrieval_{figure}_{direction}_shuffled" for figure in ("r1", "r5", "median_rank") for direction in DIRECTIONS
    }


def test_shuffled_texts_are_those_of_the_list_in_another_order() -> None:
    number = torch.arange(ITEMS)
    pairs = Pairs(torch.eye(ITEMS), torch.eye(ITEMS), number, number)
    shuffled = pairs.shuffled(4)
    assert torch.equal(shuffled.image, pairs.image)
    assert torch.equal(shuffled.index, pairs.index)
    assert shuffled.text_id.tolist() != number.tolist()
    assert sorted(shuffled.text_id.tolist()) == number.tolist()
    assert torch.equal(shuffled.text, torch.eye(ITEMS)[shuffled.text_id])
    assert torch.equal(pairs.shuffled(4).text_id, shuffled.text_id)
    assert not torch.equal(pairs.shuffled(5).text_id, shuffled.text_id)


def test_batches_do_not_matter() -> None:
    assert measured(controlled(), batches=7) == measured(controlled())


def _process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    metric = controlled()
    part = {name: one[rank::2] for name, one in data().items()}
    metric(part, part)
    torch.save(metric.aggregate(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_give_the_result_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    spawn(_process, (str(tmp_path),), nprocs=2)
    assert torch.load(tmp_path / "0.pt") == torch.load(tmp_path / "1.pt") == measured(controlled())
