from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing import spawn

from bundle.metrics.matching_retrieval import MatchingRetrieval
from bundle.metrics.retrieval import first_hit_ranks, score_ranks
from bundle.metrics.retrieval_controls import ControlledRetrieval
from bundle.metrics.samples import first_of_each

DIRECTIONS = ("image_to_text", "text_to_image")
# Texts A, B, A, C: three distinct ones, in columns. The second image judges A as well as its own B, and C is judged
# equally by three images.
TEXT_ID = torch.tensor([40, 10, 40, 20])
COLUMNS = torch.tensor([40, 10, 20])
SCORES = torch.tensor([[0.9, 0.1, 0.5], [0.5, 0.5, 0.1], [0.2, 0.3, 0.1], [0.3, 0.2, 0.1]])


def measured(batches: list[list[int]], **options: object) -> MatchingRetrieval:
    metric = MatchingRetrieval(COLUMNS, **options)  # type: ignore[arg-type]
    for rows in batches:
        metric({"scores": SCORES[rows]}, {"text_id": TEXT_ID[rows], "index": torch.tensor(rows)})
    return metric


def test_figures_of_a_matrix_with_ties() -> None:
    result = measured([[0, 1, 2, 3]], ks=(1, 2)).aggregate()
    # From image to text the ranks are 1, 2 (A stands before B), 2, 3; from text to image 1, 1, 4 (image 0, and the ties
    # of images 1 and 2 stand before 3).
    assert result["retrieval_r1_image_to_text"] == 1 / 4
    assert result["retrieval_r2_image_to_text"] == 3 / 4
    assert result["retrieval_median_rank_image_to_text"] == 2
    assert result["retrieval_pool_image_to_text"] == 3
    assert result["retrieval_r1_text_to_image"] == result["retrieval_r2_text_to_image"] == pytest.approx(2 / 3)
    assert result["retrieval_median_rank_text_to_image"] == 1
    assert result["retrieval_pool_text_to_image"] == 4
    # A has two of four images, B and C one each.
    assert result["retrieval_r1_text_to_image_chance"] == pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3)
    assert result["retrieval_r1_image_to_text_chance"] == pytest.approx(1 / 3)
    assert result["retrieval_r1_image_to_text_over_chance"] == pytest.approx(3 / 4)


def test_a_blank_image_leaves_one_order_of_texts_and_none_of_images() -> None:
    result = measured([[0, 1, 2, 3]], ks=(1, 2), blank=torch.tensor([0.1, 0.3, 0.2])).aggregate()
    # B, C, A: the own texts A, B, A, C have the places 3, 1, 3, 2. All images tie: A, B, C find theirs at 1, 2, 4.
    assert result["retrieval_r1_image_to_text_blank_image"] == 1 / 4
    assert result["retrieval_r2_image_to_text_blank_image"] == 1 / 2
    assert result["retrieval_r1_text_to_image_blank_image"] == pytest.approx(1 / 3)
    assert result["retrieval_r2_text_to_image_blank_image"] == pytest.approx(2 / 3)
    assert result["retrieval_median_rank_text_to_image_blank_image"] == 2


def test_equal_scores_give_the_order_of_the_data_set() -> None:
    numbers = torch.arange(200)
    metric = MatchingRetrieval(numbers)
    metric({"scores": torch.full((200, 200), 0.7)}, {"text_id": numbers, "index": numbers})
    result = metric.aggregate()
    assert all(result[f"retrieval_r5_{direction}"] == 5 / 200 for direction in DIRECTIONS)
    assert all(result[f"retrieval_median_rank_{direction}"] == 100.5 for direction in DIRECTIONS)


def test_batches_order_and_repeated_images_do_not_matter() -> None:
    expected = measured([[0, 1, 2, 3]]).aggregate()
    assert measured([[3, 0], [2], [1]]).aggregate() == expected
    assert measured([[2, 3, 0], [1, 3, 2]]).aggregate() == expected


def test_scores_that_are_no_numbers_are_the_lowest() -> None:
    scores = torch.tensor([[math.nan, 0.0], [0.0, math.nan]])
    assert score_ranks(scores, torch.arange(2), torch.arange(2)).tolist() == [2, 2]
    assert score_ranks(torch.full((2, 2), math.nan), torch.arange(2), torch.arange(2)).tolist() == [1, 2]


def embedded(seed: int = 0) -> dict[str, Tensor]:
    """Thirty related pairs with 25 different texts."""
    generator = torch.Generator().manual_seed(seed)
    text_id = torch.arange(30) % 25 + 7
    text = torch.randn(30, 8, generator=generator)[text_id - 7]
    image = text + 2 * torch.randn(30, 8, generator=generator)
    return {"image_embedding": image, "text_embedding": text, "text_id": text_id, "index": torch.arange(30)}


def test_names_and_values_are_those_of_embeddings_with_these_products() -> None:
    data, blank = embedded(), torch.randn(8, generator=torch.Generator().manual_seed(5))
    expected = ControlledRetrieval(blank=blank, seed=3)
    expected(data, data)
    texts = data["text_embedding"][first_of_each(data["text_id"])]
    metric = MatchingRetrieval(data["text_id"][first_of_each(data["text_id"])], blank=texts @ blank, seed=3)
    metric({"scores": data["image_embedding"] @ texts.T}, data)
    result = metric.aggregate()
    assert result.keys() == expected.aggregate().keys()
    for name, value in expected.aggregate().items():
        assert result[name] == pytest.approx(value), name
    assert metric.samples().keys() == expected.samples().keys()
    for name, sample in metric.samples().items():
        assert float(sample.values.mean()) == pytest.approx(result[name])
        assert sample.index.tolist() == expected.samples()[name].index.tolist() or name.endswith("_shuffled")


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31), st.integers(1, 8))
def test_ranks_of_scores_are_those_of_unit_vectors(queries: int, pool: int, seed: int, chunk: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-2, 3, (queries, pool), generator=generator).float()
    groups = torch.randint(0, 3, (queries,), generator=generator), torch.randint(0, 3, (pool,), generator=generator)
    expected = first_hit_ranks(scores, torch.eye(pool), *groups)
    assert score_ranks(scores, *groups, chunk).tolist() == expected.tolist()
    for row, group, rank in zip(scores.tolist(), groups[0].tolist(), expected.tolist(), strict=True):
        order = sorted(range(pool), key=lambda column: (-row[column], column))
        places = [place for place, column in enumerate(order, 1) if groups[1][column] == group]
        assert rank == (places[0] if places else pool + 1)


def test_nothing_judged_is_refused_and_reset_forgets() -> None:
    metric = MatchingRetrieval(COLUMNS)
    with pytest.raises(ValueError, match="before any image was judged"):
        metric.aggregate()
    metric({"scores": torch.zeros(1, 3)}, {"text_id": torch.tensor([20]), "index": torch.tensor([0])})
    metric.reset()
    metric({"scores": SCORES}, {"text_id": TEXT_ID, "index": torch.arange(4)})
    assert metric.aggregate() == measured([[0, 1, 2, 3]]).aggregate()


def _process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(
        measured([[[0, 2, 3], [1]][rank]], blank=torch.tensor([0.1, 0.3, 0.2])).aggregate(), f"{folder}/{rank}.pt"
    )
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_with_unequal_shards_give_the_result_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    spawn(_process, (str(tmp_path),), nprocs=2)
    expected = measured([[0, 1, 2, 3]], blank=torch.tensor([0.1, 0.3, 0.2])).aggregate()
    assert torch.load(tmp_path / "0.pt") == torch.load(tmp_path / "1.pt") == expected
