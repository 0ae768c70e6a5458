"""M3AE: passes reused equal passes repeated, counts of the published sizes, and what no loss may wait for."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from m3ae_parts import BERT, batch, published, small, three_passes
from torch import Tensor, nn

from bundle.losses.masked_modeling import MaskedImageLoss, MaskedLanguageLoss
from bundle.losses.matching import MatchingLoss
from bundle.losses.weighted_sum import WeightedSum
from bundle.networks.blocks.matching_pairs import RandomPairs, SimilarPairs
from bundle.networks.blocks.patch_masking import PatchMask
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.nets.m3ae import M3AE


def total() -> WeightedSum:
    return WeightedSum({"language": MaskedLanguageLoss(), "image": MaskedImageLoss(), "matching": MatchingLoss()})


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


class Recorded(nn.Module):
    """A module and what it has returned last."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any) -> Any:
        self.last = self.module(*args)
        return self.last


class Fixed(nn.Module):
    """Returns the same, whatever it is given."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, *args: Any) -> Any:
        return self.value


def test_published_parameters() -> None:
    with torch.device("meta"):
        network = published()
    fusion = network.fusion
    assert count(network.image_encoder) == 78_809_856
    assert count(network.text_encoder) == 124_645_632 - 590_592  # without its unused pooler
    assert count(fusion.text_layers, fusion.image_layers) == 113_421_312
    assert count(fusion.text_layers[0]) == 9_451_776
    assert count(fusion.text_projection, fusion.image_projection) == 1_181_184
    assert count(fusion.modality) == 1_536
    assert count(fusion.text_pooler, fusion.image_pooler) == 1_181_184
    assert count(network.image_encoder, network.text_encoder, fusion) == 319_240_704 - 590_592
    assert count(network.language_head) == 39_245_913
    assert count(network.image_decoder) == 7_689_984
    assert count(network.matching_head) == 3_074
    assert count(network) == 366_179_675 - 590_592
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("step", [0, 1, 2, 4])
@pytest.mark.parametrize("pairs", [RandomPairs, SimilarPairs])
def test_reused_passes_equal_three_whole_ones(step: int, pairs: type) -> None:
    given, loss = batch(), total()
    network = small(image_step=step, pairs=Recorded(pairs()))
    network.patch_masking = Recorded(network.patch_masking)
    value = loss(network(**given, lengths=[4, 6, 6, 9]), {})
    value.backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    expected = three_passes(network, given, network.patch_masking.last, *network.pairs.last)
    sum(expected.values(), torch.zeros(())).backward()
    for name, term in expected.items():
        assert loss.last[name].item() == pytest.approx(term.item(), abs=1e-5)
    assert gradients.keys() == dict(network.named_parameters()).keys()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-5, atol=1e-5, msg=name)
        assert gradients[name].any(), name


def test_image_loss_reaches_no_later_step() -> None:
    network = small()
    MaskedImageLoss()(network(**batch())).backward()
    fusion = network.fusion
    assert fusion.image_layers[1].cross_attention.in_proj_weight.grad.any()
    assert fusion.text_layers[0].feedforward[0].weight.grad.any()
    later = (fusion.image_layers[2:], fusion.text_layers[1:], fusion.text_pooler, network.matching_head)
    assert all(p.grad is None for part in later for p in part.parameters())


def test_padding_and_masked_places_without_label_have_no_influence() -> None:
    network, given = small().eval(), batch()
    output = network(**given)
    altered = {**given, "input_ids": given["input_ids"].masked_fill(given["attention_mask"] == 0, 33)}
    altered["masked_ids"] = given["masked_ids"].masked_fill(given["attention_mask"] == 0, 44)
    again = network(**altered)
    for name, value in output.items():
        torch.testing.assert_close(again[name], value)
    wide = {k: nn.functional.pad(v, (0, 5)) if k in ("input_ids", "attention_mask", "masked_ids") else v
            for k, v in given.items()}  # fmt: skip
    torch.testing.assert_close(network(**wide, lengths=[4, 6, 6, 9]), output)
    torch.testing.assert_close(network(**wide), output)


def test_text_changes_images_only_through_fusion() -> None:
    network, given = small().eval(), batch()
    images = network.encode_image(given["image"])
    texts, others = (network.encode_text(ids, given["attention_mask"]) for ids in (given["input_ids"],
                                                                               given["input_ids"].flip(0)))  # fmt: skip
    fusion = network.fusion
    assert torch.equal(fusion.images_after(0, texts, images), fusion.images_after(0, others, images))
    assert (fusion.images_after(1, texts, images) - fusion.images_after(1, others, images)).abs().max() > 1e-5


def test_matching_scores_cached_streams() -> None:
    network, given = small(pairs=Fixed((torch.tensor([0, 2, 1, 3]), torch.tensor([1.0, 0, 0, 1])))).eval(), batch()
    output = network(**given)
    padding = given["attention_mask"] == 0
    images, texts = (
        network.encode_image(given["image"]),
        network.encode_text(given["input_ids"], given["attention_mask"]),
    )
    torch.testing.assert_close(output["matching_logits"], network.match(images[[0, 2, 1, 3]], texts, padding))
    alone = network.match(images[2:3], texts[1:2, :6])
    torch.testing.assert_close(alone, output["matching_logits"][1:2])


def test_evaluation_repeats_and_training_does_not() -> None:
    network, given = small(), batch()
    first, second = network(**given), network(**given)
    assert not torch.equal(first["mim_mask"], second["mim_mask"])
    network.eval()
    torch.testing.assert_close(network(**given), network(**given))


def test_ablations_leave_losses_out() -> None:
    given = batch()
    words = {name: given.pop(name) for name in ("masked_ids", "masked_positions", "masked_labels")}
    plain = small(image_decoder=None, language_head=None)(**given)
    assert sorted(plain) == ["matching_label", "matching_logits"]
    assert "mlm_logits" not in small(language_head=None)(**given)
    assert "mim_mask" not in small(image_decoder=None)(**given, **words)
    with pytest.raises(ValueError, match="got no masked words"):
        small()(**given)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot read after step 5 of 4"):
        small(image_step=5)
    pooling = TextEncoder(BERT, 0, False)
    parts = small()
    with pytest.raises(ValueError, match="pooling tokens, not cls"):
        M3AE(parts.image_encoder, pooling, parts.fusion, RandomPairs(), parts.patch_masking)
    with pytest.raises(ValueError, match="built for 16 patches and got 4"):
        small()(**{**batch(), "image": torch.zeros(4, 1, 16, 16)})


@pytest.mark.parametrize("pairs", [RandomPairs, SimilarPairs])
def test_nothing_needs_the_values_of_a_tensor(pairs: type) -> None:
    network = small(pairs=pairs()).train().to("meta")
    given = {name: value.to("meta") for name, value in batch().items()}
    output = network(**given, lengths=[4, 6, 6, 9], text_id=torch.arange(4, device="meta"))
    total()(output, {}).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_bf16_stays_close_to_fp32() -> None:
    network, given = small().eval(), batch()
    exact, loss = network(**given), total()
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(**given)
    assert rough["matching_logits"].dtype == rough["mim_target"].dtype == torch.float32
    assert loss(rough, {}).item() == pytest.approx(loss(exact, {}).item(), rel=0.02)


SWAPS = (torch.tensor([1, 0, 2]), torch.tensor([0.0, 0.0, 1.0]))


def draws(rows: slice) -> tuple[PatchMask, tuple[Tensor, Tensor]]:
    """Of six pairs in two groups of three, rows of one group or of both."""
    order = torch.rand(6, 16, generator=torch.Generator().manual_seed(3)).argsort(1)[rows]
    restore = order.argsort(1)
    chosen = torch.cat([SWAPS[0], SWAPS[0] + 3])[rows]
    return (
        PatchMask(order[:, :4], restore, (restore >= 4).float()),
        (chosen - (rows.start or 0), SWAPS[1].repeat(2)[rows]),
    )


def six_pairs(rows: slice) -> dict[str, Tensor]:
    given = batch((4, 6, 6, 9, 5, 7), places=3)
    given["masked_labels"][:2] = -100  # so that processes have unequally many masked words
    return {name: value[rows] for name, value in given.items()}


def with_draws(rows: slice) -> M3AE:
    mask, pairs = draws(rows)
    network = small(pairs=Fixed(pairs))
    network.patch_masking = Fixed(mask)
    return network


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    rows, loss = slice(3 * rank, 3 * rank + 3), total()
    network = nn.parallel.DistributedDataParallel(with_draws(rows))
    for _ in range(2):  # the second step is where DDP finds out what took no part in the first
        network.zero_grad()
        loss(network(**six_pairs(rows)), {}).backward()
    means = torch.stack(list(loss.last.values())) / 2
    dist.all_reduce(means)
    torch.save((means, {name: p.grad for name, p in network.module.named_parameters()}), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Any) -> None:
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    alone, loss = with_draws(slice(0, 6)), total()
    loss(alone(**six_pairs(slice(0, 6))), {}).backward()
    for rank in range(2):
        means, gradients = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert means.tolist() == pytest.approx([value.item() for value in loss.last.values()], abs=1e-5)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.slow
def test_published_step_is_faster_than_three_passes() -> None:
    torch.manual_seed(0)
    network, loss, size, length, places = published(dropout=0.0), total(), 2, 64, 10
    ids = torch.randint(5, 50265, (size, length))
    positions = torch.rand(size, length).argsort(1)[:, :places]
    given = {
        "image": torch.randn(size, 3, 288, 288),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "masked_ids": ids.scatter(1, positions, 4),
        "masked_positions": positions,
        "masked_labels": ids.gather(1, positions),
    }
    mask = network.patch_masking(size, 324, torch.device("cpu"))
    chosen, own = torch.arange(size).flip(0), torch.zeros(size)
    network.pairs, network.patch_masking = Fixed((chosen, own)), Fixed(mask)

    def seconds(step: Any) -> float:
        network.zero_grad(set_to_none=False)
        before = time.process_time()
        step().backward()
        return time.process_time() - before

    def repeated() -> Tensor:
        return sum(three_passes(network, given, mask, chosen, own).values(), torch.zeros(()))

    def reused() -> Tensor:
        return loss(network(**given), {})

    with torch.no_grad():  # everything is warm then
        assert repeated().item() == pytest.approx(reused().item(), rel=1e-5)
    slow, fast = seconds(repeated), seconds(reused)
    print(
        f"CPU seconds of a step of {size} pairs: {slow:.1f} in three passes, {fast:.1f} reused, {slow / fast:.2f} times"
    )
    assert slow / fast >= 1.3
