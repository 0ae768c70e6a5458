"""Ranking of texts by M3AE's matching head: the pre-trained order at the start, one encoding of each, no waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from m3ae_parts import batch, small
from torch import Tensor, nn

from bundle.losses.candidate_ranking import CandidateRankingLoss
from bundle.networks.blocks.candidate_texts import CandidateTexts
from bundle.networks.nets.m3ae import M3AE
from bundle.networks.nets.matching_ranker import MatchingRanker


class Fixed(nn.Module):
    """Candidates that were drawn before."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers = numbers

    def forward(self, text_id: Tensor) -> tuple[Tensor, Tensor]:
        return self.numbers, torch.ones_like(self.numbers, dtype=torch.bool)


def ranker(candidates: nn.Module, source: M3AE | None = None) -> Any:
    """The network of `small` with other ends, and weights large enough to tell pairs apart."""
    source = source or small()
    parts = {name: getattr(source, name) for name in ("image_encoder", "text_encoder", "fusion", "pairs")}
    made = MatchingRanker(candidates, patch_masking=source.patch_masking, image_step=0, **parts)  # type: ignore[arg-type]
    made.matching_head = source.matching_head
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim > 1 and not name.startswith(("fusion.", "matching_head.")):
                parameter.mul_(5)  # the others are large enough; larger ones would make of rounding what can be seen
    return made


def pairs(lengths: tuple[int, ...] = (4, 6, 6, 9)) -> dict[str, Tensor]:
    return {name: one for name, one in batch(lengths).items() if not name.startswith("masked")}


def test_scores_are_those_of_the_pre_trained_head() -> None:
    """From one pair at a time, with texts that are not padded."""
    network, given = ranker(CandidateTexts(2)).eval(), pairs()
    scores = network(**given, lengths=[4, 6, 6, 9])["candidate_scores"]
    chosen, present = network.candidates(torch.arange(4))
    assert present.all()
    for row in range(4):
        for place, text in enumerate(chosen[row].tolist()):
            ids = given["input_ids"][text : text + 1][:, : int(given["attention_mask"][text].sum())]
            stream = network.encode_text(ids, torch.ones_like(ids))
            logit = network.match(network.encode_image(given["image"][row : row + 1]), stream)
            torch.testing.assert_close(scores[row, place], logit[0], rtol=1e-5, atol=1e-5)
    assert scores.std() > 0.01


def test_equal_texts_are_no_negatives() -> None:
    network = ranker(CandidateTexts(3)).eval()
    scores = network(**pairs(), text_id=torch.tensor([5, 5, 8, 5]))["candidate_scores"]
    assert scores.isneginf().sum(1).tolist() == [2, 2, 2, 2]
    assert scores[:, 0].isfinite().all()
    assert CandidateRankingLoss()({"candidate_scores": scores}).isfinite()


def test_every_image_and_text_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, counts = ranker(CandidateTexts(3)), {"encode_image": 0, "encode_text": 0, "match": 0}

    def counted(name: str) -> Any:
        def call(self: M3AE, first: Tensor, *rest: Any) -> Tensor:
            counts[name] += len(first)
            return original(self, first, *rest)

        original = getattr(M3AE, name)
        return call

    for name in counts:
        monkeypatch.setattr(M3AE, name, counted(name))
    network(**pairs())
    assert counts == {"encode_image": 4, "encode_text": 4, "match": 16}


def test_all_that_is_there_learns_and_is_named_as_in_pre_training() -> None:
    network = ranker(CandidateTexts(3))
    CandidateRankingLoss()(network(**pairs())).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    rows = network.matching_head.weight.grad
    torch.testing.assert_close(rows[0], -rows[1])
    whole = small().state_dict()
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {
        name: tensor.shape for name, tensor in whole.items() if not name.startswith(("image_decoder", "language_head"))
    }


def test_ranking_is_learned() -> None:
    torch.manual_seed(0)
    network, given, loss = ranker(CandidateTexts(3)), pairs(), CandidateRankingLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss(network(**given)).backward()
        optimizer.step()
    scores = network.eval()(**given)["candidate_scores"]
    assert (scores.argmax(1) == 0).all()
    assert loss({"candidate_scores": scores}).item() < 0.3


def test_nothing_needs_the_values_of_a_tensor() -> None:
    network = ranker(CandidateTexts(3)).train().to("meta")
    given = {name: value.to("meta") for name, value in pairs().items()}
    output = network(**given, lengths=[4, 6, 6, 9], text_id=torch.arange(4, device="meta"))
    CandidateRankingLoss()(output).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_heads_that_nothing_trains_are_refused() -> None:
    whole = small()
    parts = {
        name: getattr(whole, name) for name in ("image_encoder", "text_encoder", "fusion", "pairs", "patch_masking")
    }
    with pytest.raises(ValueError, match="does not train the language_head"):
        MatchingRanker(CandidateTexts(2), language_head=whole.language_head, image_step=0, **parts)


OTHERS = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]])  # of three pairs


def outcome(rows: slice, network: Any) -> tuple[Tensor, dict[str, Tensor]]:
    given = {name: one[rows] for name, one in pairs((3, 4, 5, 6, 7, 8)).items()}
    total = CandidateRankingLoss()(network(**given))
    total.backward()
    bare = getattr(network, "module", network)
    return total.detach(), {name: p.grad for name, p in bare.named_parameters()}


def _process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    network = nn.parallel.DistributedDataParallel(ranker(Fixed(OTHERS)))
    total, gradients = outcome(slice(3 * rank, 3 * rank + 3), network)
    dist.all_reduce(total)
    torch.save((total / 2, gradients), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_equal_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(_process, args=(str(tmp_path),), nprocs=2)
    total, gradients = outcome(slice(None), ranker(Fixed(torch.cat([OTHERS, OTHERS + 3]))))
    for rank in range(2):
        mean, averaged = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(mean, total, rtol=1e-5, atol=1e-5)
        assert averaged.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(averaged[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
