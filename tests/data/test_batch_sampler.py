from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.batch_sampler import ShardedBatchSampler

sizes = {"length": st.integers(1, 60), "batch": st.integers(1, 7), "world": st.integers(1, 5)}
orders = {"shuffle": st.booleans(), "seed": st.integers(0, 2**32), "epoch": st.integers(0, 9)}


def sampler_of(length: int, batch: int, world: int, rank: int, epoch: int = 0, **options: bool | int):
    sampler = ShardedBatchSampler(length, batch, world_size=world, rank=rank, **options)
    sampler.set_epoch(epoch)
    return sampler


@given(**sizes, **orders, drop_last=st.booleans())
def test_ranks_together_see_the_batches_of_one_process(
    length: int, batch: int, world: int, shuffle: bool, seed: int, epoch: int, drop_last: bool
) -> None:
    length = max(length, batch * world)
    options = {"shuffle": shuffle, "seed": seed, "epoch": epoch, "drop_last": drop_last}
    joined = list(sampler_of(length, batch * world, 1, 0, **options))
    shards = [list(sampler_of(length, batch, world, rank, **options)) for rank in range(world)]
    for number, whole in enumerate(joined):
        parts = [shard[number] for shard in shards if number < len(shard)]
        assert sorted(index for part in parts for index in part) == sorted(whole)
        assert all(part == whole[rank::world] for rank, part in enumerate(parts))
    assert max(len(shard) for shard in shards) == len(joined)


@given(**sizes, **orders)
def test_training_gives_every_rank_equal_steps_and_full_batches(
    length: int, batch: int, world: int, shuffle: bool, seed: int, epoch: int
) -> None:
    length = max(length, batch * world)
    samplers = [sampler_of(length, batch, world, rank, epoch, shuffle=shuffle, seed=seed) for rank in range(world)]
    shards = [list(sampler) for sampler in samplers]
    assert (
        [len(shard) for shard in shards]
        == [len(sampler) for sampler in samplers]
        == [length // (batch * world)] * world
    )
    assert all(len(part) == batch for shard in shards for part in shard)
    seen = [index for shard in shards for part in shard for index in part]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(length))


@given(**sizes)
def test_validation_gives_every_item_once(length: int, batch: int, world: int) -> None:
    length = max(length, world)
    samplers = [sampler_of(length, batch, world, rank, shuffle=False, drop_last=False) for rank in range(world)]
    shards = [list(sampler) for sampler in samplers]
    assert sorted(index for shard in shards for part in shard for index in part) == list(range(length))
    assert [len(shard) for shard in shards] == [len(sampler) for sampler in samplers]
    assert all(part for shard in shards for part in shard)


@given(**sizes, **orders, drop_last=st.booleans(), data=st.data())
def test_a_resumed_epoch_goes_on_with_the_rest(
    length: int, batch: int, world: int, shuffle: bool, seed: int, epoch: int, drop_last: bool, data: st.DataObject
) -> None:
    length = max(length, batch * world)
    rank = data.draw(st.integers(0, world - 1))
    options = {"shuffle": shuffle, "seed": seed, "drop_last": drop_last}
    whole = list(sampler_of(length, batch, world, rank, epoch, **options))
    start = data.draw(st.integers(0, len(whole)))

    interrupted = sampler_of(length, batch, world, rank, epoch, **options)
    interrupted.set_start(start)
    resumed = sampler_of(length, batch, world, rank, **options)
    resumed.load_state_dict(interrupted.state_dict())
    assert len(resumed) == len(whole)
    assert list(resumed) == whole[start:]
    assert list(resumed) == whole[start:]  # a loader with workers iterates twice before it starts


def test_order_of_a_small_case_by_hand() -> None:
    batches = [list(sampler_of(9, 2, 2, rank, shuffle=False)) for rank in range(2)]
    assert batches == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]
    rest = [list(sampler_of(9, 2, 2, rank, shuffle=False, drop_last=False)) for rank in range(2)]
    assert rest == [[[0, 2], [4, 6], [8]], [[1, 3], [5, 7]]]


def test_epochs_and_seeds_give_other_orders() -> None:
    orders = {
        (seed, epoch): [i for part in sampler_of(50, 10, 1, 0, epoch, seed=seed) for i in part]
        for seed in range(3)
        for epoch in range(3)
    }
    assert len({tuple(order) for order in orders.values()}) == 9
    assert all(sorted(order) == list(range(50)) for order in orders.values())


def test_start_stays_until_it_is_set_again() -> None:
    sampler = ShardedBatchSampler(8, 2, shuffle=False)
    sampler.set_start(3)
    late = iter(sampler)
    sampler.set_start(2)
    assert list(late) == [[6, 7]]
    assert list(sampler) == list(sampler) == [[4, 5], [6, 7]]


def test_processes_are_asked_for_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = ShardedBatchSampler(8, 2, shuffle=False)
    assert len(sampler) == 4
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    assert len(sampler) == 1
    assert list(sampler) == [[3, 7]]


def test_too_small_a_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has 5 items, fewer than one global batch of 6 \(3 x 2 processes\)"):
        ShardedBatchSampler(5, 3, world_size=2, rank=0)
    sampler = ShardedBatchSampler(["a"] * 5, 6)
    with pytest.raises(ValueError, match="fewer than one global batch"):
        iter(sampler)
    with pytest.raises(ValueError, match="fewer than one global batch"):
        len(sampler)
    assert list(ShardedBatchSampler(5, 6, shuffle=False, drop_last=False)) == [[0, 1, 2, 3, 4]]


def test_a_process_without_items_is_refused_in_all_processes() -> None:
    """It would have no figures to gather, and the others would wait for them."""
    for rank in range(4):
        with pytest.raises(ValueError, match="3 items for 4 processes, and each needs one: use at most 3"):
            ShardedBatchSampler(3, 2, drop_last=False, world_size=4, rank=rank)
    assert list(ShardedBatchSampler(0, 2, drop_last=False, world_size=1, rank=0)) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 1, "world_size": 2, "rank": 2}, r"rank must be in 0\.\.1, got 2"),
    ],
)
def test_impossible_options(options: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ShardedBatchSampler(8, **options)
    with pytest.raises(ValueError, match="must not be negative"):
        ShardedBatchSampler(8, 1).set_start(-1)


def test_a_position_is_only_taken_over_where_it_means_the_same() -> None:
    state = ShardedBatchSampler(24, 2, world_size=2, rank=0, seed=1).state_dict()
    ShardedBatchSampler(24, 4, world_size=1, rank=0, seed=1).load_state_dict(state)  # same global batch
    with pytest.raises(
        ValueError, match="length: saved 24, now 30; global_batch: saved 4, now 6; seed: saved 1, now 0"
    ):
        ShardedBatchSampler(30, 6, world_size=1, rank=0).load_state_dict(state)
