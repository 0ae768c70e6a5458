from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.metrics.retrieval_pairs import Pairs
from bundle.metrics.retrieval_precision import precision_figures, relevant_in_top
from bundle.metrics.samples import Samples


def counts(scores: list[list[float]], query: list[int], gallery: list[int], ks: list[int], chunk: int = 256) -> list:
    """Counts where the similarities are given and every item is of one group: the gallery is the unit vectors."""
    one_hot = torch.eye(max(*query, *gallery) + 1).bool()
    columns = torch.eye(len(gallery))
    return relevant_in_top(torch.tensor(scores), columns, one_hot[query], one_hot[gallery], ks, chunk).tolist()


def test_relevant_items_are_counted_up_to_each_place() -> None:
    # By falling similarity the groups are 1, 0, 0, 1.
    assert counts([[0.5, 0.9, 0.3, 0.1]], [0], [0, 1, 0, 1], [1, 2, 3, 4]) == [[0, 1, 2, 2]]


def test_ties_are_placed_by_position() -> None:
    assert counts([[0.2] * 4], [1], [0, 1, 0, 1], [1, 2, 3, 4]) == [[0, 1, 1, 2]]
    # The last is ahead; of the two that tie, the first in the list comes first.
    assert counts([[0.3, 0.3, 0.1, 0.4]], [0], [0, 1, 1, 1], [1, 2, 3]) == [[0, 1, 1]]


def test_a_similarity_that_is_no_number_is_the_lowest() -> None:
    query, gallery = torch.tensor([[1.0]]), torch.tensor([[math.nan], [-0.5], [0.5]])
    groups = torch.tensor([[True], [False], [False]])
    assert relevant_in_top(query, gallery, groups[:1], groups, [1, 2, 3]).tolist() == [[0, 0, 1]]


@given(st.data())
def test_counts_agree_with_sorting(data: st.DataObject) -> None:
    queries, pool = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 9))
    levels = st.lists(st.integers(-2, 2).map(float), min_size=pool, max_size=pool)
    scores = data.draw(st.lists(levels, min_size=queries, max_size=queries))
    groups = st.integers(0, 2)
    gallery = data.draw(st.lists(groups, min_size=pool, max_size=pool))
    query = data.draw(st.lists(groups, min_size=queries, max_size=queries))
    ks = list(range(1, pool + 1))
    expected = []
    for row, group in zip(scores, query, strict=True):
        order = sorted(range(pool), key=lambda column: (-row[column], column))
        expected.append([sum(gallery[column] == group for column in order[:k]) for k in ks])
    assert counts(scores, query, gallery, ks, chunk=data.draw(st.integers(1, 7))) == expected


def pairs(image: list[list[float]], text: list[list[float]], text_id: list[int]) -> Pairs:
    return Pairs(torch.tensor(image), torch.tensor(text), torch.tensor(text_id), torch.arange(len(image)))


def values(figures: dict[str, float | Samples]) -> dict[str, float]:
    return {name: one if isinstance(one, float) else float(one.values.double().mean()) for name, one in figures.items()}


def test_values_by_hand() -> None:
    # Texts are unit vectors, so row i holds the similarities of image i to the texts 0 to 3; groups are 0, 0, 1, 1.
    image = [[0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.9, 0.8], [0.9, 0.1, 0.8, 0.2], [0.1, 0.2, 0.3, 0.4]]
    found = values(
        precision_figures(pairs(image, torch.eye(4).tolist(), [4, 3, 2, 1]), torch.tensor([0, 0, 1, 1]), [2])
    )
    # Of the two best texts of each image 2, 0, 1, 2 are of its group.
    assert found["retrieval_p2_image_to_text"] == pytest.approx(5 / 8)
    # Columns: text 0 finds images 0, 2 (of equal similarity); text 1 finds 0 and, of 1 and 3 that tie, 1; text 2 finds
    # 1 and 2; text 3 finds 1 and 3.
    assert found["retrieval_p2_text_to_image"] == pytest.approx((1 / 2 + 2 / 2 + 1 / 2 + 1 / 2) / 4)
    for direction in ("image_to_text", "text_to_image"):
        assert found[f"retrieval_p2_{direction}_chance"] == 0.5
        assert found[f"retrieval_grouped_pool_{direction}"] == 4
    assert found["retrieval_p2_image_to_text_over_chance"] == pytest.approx(5 / 4)


def test_a_shared_text_is_of_the_groups_of_all_its_images() -> None:
    # Images 0 (group 7) and 1 (group 9) share a text; image 2 (group 9) has its own.
    image, text = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    found = values(precision_figures(pairs(image, text, [5, 5, 6]), torch.tensor([7, 9, 9]), [1, 2]))
    # All images find the shared text first, which is relevant to each of them; the second is relevant to two.
    assert found["retrieval_p1_image_to_text"] == 1
    assert found["retrieval_p2_image_to_text"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["retrieval_p1_image_to_text_chance"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    # To the shared text all three images are relevant, to the other the last two.
    assert found["retrieval_p2_text_to_image"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["retrieval_p2_text_to_image_chance"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["retrieval_grouped_pool_image_to_text"] == 2


def test_items_without_a_group_take_no_part() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(9, 3, generator=generator), torch.randn(9, 3, generator=generator)
    groups = torch.tensor([0, -1, 1, 0, -1, 1, 0, 1, 1])
    kept = groups >= 0
    every = Pairs(image, text, torch.arange(9), torch.arange(9))
    found, alone = precision_figures(every, groups, [1, 3]), precision_figures(every.of(kept), groups, [1, 3])
    assert values(found) == values(alone)
    index = found["retrieval_p3_image_to_text"].index  # type: ignore[union-attr]
    assert index.tolist() == [0, 2, 3, 5, 6, 7, 8]
    assert precision_figures(every, torch.full((9,), -1), [1]) == {}


def test_places_beyond_the_gallery_are_left_out() -> None:
    found = precision_figures(pairs([[1.0], [1.0]], [[1.0], [1.0]], [0, 1]), torch.tensor([0, 1]), [2, 3, 100])
    assert {name for name in found if "_p" in name and name.endswith("image_to_text")} == {
        "retrieval_p2_image_to_text",
        "retrieval_grouped_pool_image_to_text",
    }


def test_a_random_order_scores_at_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(12) % 3 // 2  # 8 and 4 items
    found = []
    for _ in range(300):
        image, text = torch.randn(12, 8, generator=generator), torch.randn(12, 8, generator=generator)
        found.append(values(precision_figures(Pairs(image, text, torch.arange(12), torch.arange(12)), groups, [3])))
    mean = sum(one["retrieval_p3_image_to_text"] for one in found) / len(found)
    assert found[0]["retrieval_p3_image_to_text_chance"] == pytest.approx((8 * 8 + 4 * 4) / 144)
    assert mean == pytest.approx(80 / 144, abs=0.02)
