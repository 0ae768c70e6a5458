from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing import spawn

from bundle.metrics.retrieval import RetrievalMetric, chance_recall, first_hit_ranks, retrieval_ranks


def ranks(scores: list[list[float]], query_group: list[int], gallery_group: list[int], chunk: int = 256) -> list[int]:
    """Ranks where the similarities are given: the gallery is the unit vectors."""
    query = torch.tensor(scores)
    groups = torch.tensor(query_group), torch.tensor(gallery_group)
    return first_hit_ranks(query, torch.eye(query.shape[1]), *groups, chunk).tolist()


def test_rank_is_the_place_of_the_own_item() -> None:
    assert ranks([[0.9, 0.1, 0.5]] * 3, [0, 1, 2], [0, 1, 2]) == [1, 3, 2]


def test_the_best_of_several_own_items_counts() -> None:
    assert ranks([[0.1, 0.9, 0.8]], [5], [5, 6, 5]) == [2]


def test_ties_are_placed_by_position() -> None:
    assert ranks([[0.2, 0.2, 0.2]] * 3, [0, 1, 2], [0, 1, 2]) == [1, 2, 3]
    assert ranks([[0.1, 0.3, 0.3]], [2], [0, 1, 2]) == [2]


def test_a_similarity_that_is_no_number_is_the_lowest() -> None:
    nan = math.nan
    query, gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.5, 0.0], [nan, 0.0], [-0.5, 0.0]])
    assert first_hit_ranks(query, gallery, torch.tensor([0, 1]), torch.arange(3)).tolist() == [1, 3]


def test_nothing_but_nan_is_no_success() -> None:
    embedding = torch.full((20, 4), math.nan)
    image_to_text, text_to_image = retrieval_ranks(embedding, embedding, torch.arange(20))
    assert image_to_text.tolist() == text_to_image.tolist() == list(range(1, 21))


def test_a_query_without_own_item_never_hits() -> None:
    assert ranks([[0.9, 0.1]], [7], [0, 1]) == [3]


@given(st.data())
@settings(deadline=None)
def test_ranks_agree_with_sorting(data: st.DataObject) -> None:
    queries, pool = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    levels = st.lists(st.integers(-2, 2).map(float), min_size=pool, max_size=pool)
    scores = data.draw(st.lists(levels, min_size=queries, max_size=queries))
    gallery_group = data.draw(st.lists(st.integers(0, 3), min_size=pool, max_size=pool))
    query_group = data.draw(st.lists(st.sampled_from(gallery_group), min_size=queries, max_size=queries))
    expected = []
    for row, group in zip(scores, query_group, strict=True):
        order = sorted(range(pool), key=lambda column: (-row[column], column))
        expected.append(1 + next(place for place, column in enumerate(order) if gallery_group[column] == group))
    assert ranks(scores, query_group, gallery_group, chunk=data.draw(st.integers(1, 8))) == expected


def test_a_shared_text_is_one_text_of_the_pool() -> None:
    # Texts A, B, A, C: three distinct. Similarity of images (rows) and the texts A, B, C:
    scores = torch.tensor([[0.9, 0.1, 0.5], [0.8, 0.7, 0.1], [0.2, 0.3, 0.1], [0.3, 0.2, 0.1]])
    texts = torch.eye(3)[[0, 1, 0, 2]]
    image_to_text, text_to_image = retrieval_ranks(scores, texts, torch.tensor([40, 10, 40, 20]))
    assert image_to_text.tolist() == [1, 2, 2, 3]
    # Columns: A is best at its own image 0; B at its own image 1; C (.5, .1, .1, .1) is behind 0, and ties 1 and 2.
    assert text_to_image.tolist() == [1, 1, 4]


@pytest.mark.parametrize(
    ("relevant", "pool", "k", "expected"),
    [
        ([1, 1], 10, 5, 0.5),
        ([2], 4, 1, 1 / 2),
        ([2], 4, 2, 1 - 1 / 6),  # of 6 pairs of places one holds neither
        ([3, 1], 4, 2, (1 + 1 / 2) / 2),
        ([1], 3, 10, 1.0),
    ],
)
def test_chance(relevant: list[int], pool: int, k: int, expected: float) -> None:
    assert chance_recall(torch.tensor(relevant), pool, k) == pytest.approx(expected)


def test_chance_agrees_with_random_orders() -> None:
    generator = torch.Generator().manual_seed(0)
    text_id = torch.tensor([0] * 6 + [1] * 3 + [2])
    hits = []
    for _ in range(1500):
        image, text = torch.randn(10, 8, generator=generator), torch.randn(10, 8, generator=generator)
        hits.append((retrieval_ranks(image, text, text_id)[1] <= 2).double().mean())
    expected = chance_recall(torch.tensor([6, 3, 1]), 10, 2)
    assert float(torch.stack(hits).mean()) == pytest.approx(expected, abs=0.02)


def pairs(items: int = 12, seed: int = 0) -> dict[str, Tensor]:
    """Pairs of related embeddings, rounded so that ties occur; some texts are shared."""
    generator = torch.Generator().manual_seed(seed)
    text_id = torch.arange(items) % (items - 3)
    text = torch.randn(items, 2, generator=generator)[text_id].round()
    image = (text + torch.randn(items, 2, generator=generator)).round()
    return {"image_embedding": image, "text_embedding": text, "text_id": text_id, "index": torch.arange(items)}


def measured(data: dict[str, Tensor], batches: list[list[int]]) -> RetrievalMetric:
    metric = RetrievalMetric()
    for batch in batches:
        part = {name: values[batch] for name, values in data.items()}
        metric(part, part)
    return metric


def test_values_and_names() -> None:
    numbers = torch.arange(20)
    image = torch.eye(20)
    text = torch.eye(20)[(numbers + numbers // 10) % 20]  # the second half is moved by one: never the first hit
    data = {"image_embedding": image, "text_embedding": text, "text_id": numbers, "index": numbers}
    result = measured(data, [list(range(20))]).aggregate()
    assert result["retrieval_r1_image_to_text"] == result["retrieval_r1_text_to_image"] == 0.5
    assert result["retrieval_r1_image_to_text_over_chance"] == pytest.approx(10)
    assert result["retrieval_pool_image_to_text"] == 20
    directions = ("image_to_text", "text_to_image")
    expected = {f"retrieval_r{k}_{d}{ratio}" for k in (1, 5, 10) for d in directions for ratio in ("", "_over_chance")}
    expected |= {f"retrieval_{name}_{d}" for name in ("median_rank", "pool") for d in directions}
    assert result.keys() == expected


def test_the_median_rank_of_an_even_number_is_between() -> None:
    data = pairs()
    result = measured(data, [list(range(12))]).aggregate()
    expected = (
        retrieval_ranks(data["image_embedding"], data["text_embedding"], data["text_id"])[0].double().sort().values
    )
    assert result["retrieval_median_rank_image_to_text"] == float(expected[5:7].mean())


def test_order_batches_and_repeated_items_do_not_matter() -> None:
    data = pairs()
    expected = measured(data, [list(range(12))]).aggregate()
    assert measured(data, [[11, 3, 8], [0, 1, 2, 4, 10], [9, 7, 6, 5]]).aggregate() == expected
    assert measured(data, [[11, 3, 8, 0, 1], [2, 4, 10, 9, 7, 6, 5, 3, 11]]).aggregate() == expected


@pytest.mark.parametrize("items", [200, 2500])
def test_a_collapsed_network_scores_at_chance(items: int) -> None:
    numbers = torch.arange(items)
    embedding = torch.nn.functional.normalize(torch.randn(128, generator=torch.Generator().manual_seed(1)), dim=0)
    same = embedding.expand(items, 128)
    data = {"image_embedding": same, "text_embedding": same, "text_id": numbers, "index": numbers}
    metric = measured(data, [list(range(items))])
    result = metric.aggregate()
    assert result["retrieval_r5_image_to_text_over_chance"] <= 1.5
    assert result["retrieval_r5_text_to_image_over_chance"] <= 1.5
    assert result["retrieval_median_rank_image_to_text"] > items / 4


def test_the_samples_average_to_the_metrics() -> None:
    metric = measured(pairs(), [list(range(12))])
    result, samples = metric.aggregate(), metric.samples()
    assert samples.keys() == {name for name in result if name.startswith("retrieval_r")}
    for name, sample in samples.items():
        assert float(sample.values.mean()) == pytest.approx(result[name])
    assert samples["retrieval_r1_image_to_text"].index.tolist() == list(range(12))
    assert samples["retrieval_r1_text_to_image"].index.tolist() == list(range(9))


def test_an_empty_validation_is_refused() -> None:
    with pytest.raises(ValueError, match="before any pair"):
        RetrievalMetric().aggregate()


def test_reset_forgets() -> None:
    metric = measured(pairs(seed=1), [list(range(12))])
    metric.reset()
    data = pairs(seed=2)
    metric(data, data)
    assert metric.aggregate() == measured(data, [list(range(12))]).aggregate()


def _process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    shards = [[0, 2, 4, 6, 8, 10, 11], [1, 3, 5, 7, 9]]
    torch.save(measured(pairs(), [shards[rank]]).aggregate(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_with_unequal_shards_give_the_result_of_one(tmp_path: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    spawn(_process, (str(tmp_path),), nprocs=2)
    expected = measured(pairs(), [list(range(12))]).aggregate()
    assert torch.load(tmp_path / "0.pt") == torch.load(tmp_path / "1.pt") == expected
