"""Mode `tokens`: what fusion reads and what the embeddings must not, padding, and the choice of negatives."""

from __future__ import annotations

import math

import pytest
import torch
from adaptor_parts import SMALL
from hypothesis import given
from hypothesis import strategies as st

from bundle.losses.contrastive import ContrastiveLoss
from bundle.losses.matching import MatchingLoss
from bundle.networks.blocks.adaptor_layer import FusionLayer
from bundle.networks.nets.token_adaptor import TokenAdaptor, hard_negatives

LENGTHS = (3, 4, 6, 6, 7)


def adaptor(**options: float) -> TokenAdaptor:
    torch.manual_seed(0)
    return TokenAdaptor(12, 10, **(SMALL | {"dropout": 0.0} | options))


def features() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    return torch.randn(5, 9, 12, generator=generator), torch.randn(5, 7, 10, generator=generator), mask


def test_the_query_has_influence() -> None:
    torch.manual_seed(0)
    layer = FusionLayer(24, 4, 20).eval()
    context, stream = torch.randn(2, 7, 24), torch.randn(2, 3, 24)
    seen = []
    layer.attention.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    layer(stream, context)
    layer(-stream, context)
    assert (seen[0] - seen[1]).abs().max() > 1e-3  # what attention alone gives, without the residual


def test_fused_images_and_texts_read_each_other() -> None:
    network = adaptor().eval()
    image, text, mask = features()
    images, texts, padding = network._images(image), network._texts(text, mask == 0), mask == 0
    logits = network.match(images, texts, padding)
    words, patches = texts.clone(), images.clone()
    words[:, 1:3] *= -1
    patches[:, 1:3] *= -1
    assert (network.match(images, words, padding) - logits).abs().min() > 1e-5
    assert (network.match(patches, texts, padding) - logits).abs().min() > 1e-5


def test_embeddings_have_not_seen_their_partner_but_their_own_tokens() -> None:
    network = adaptor().eval()
    image, text, mask = features()
    output = network(image, text, mask)
    other = network(image, text.flip(0), mask.flip(0))
    assert torch.equal(output["image_embedding"], other["image_embedding"])
    assert torch.equal(output["image_embedding"], network.encode_image(image))
    assert torch.equal(output["text_embedding"], network.encode_text(text, mask))
    torch.testing.assert_close(output["image_embedding"].norm(dim=-1), torch.ones(5))
    image[:, 4] *= -1
    assert (network.encode_image(image) - output["image_embedding"]).abs().max() > 1e-4


def test_padding_is_read_by_nothing() -> None:
    network = adaptor().eval()
    image, text, mask = features()
    output = network(image, text, mask)
    text[mask == 0] = 50.0
    again = network(image, text, mask)
    for name, value in output.items():
        torch.testing.assert_close(again[name], value)
    short = network.encode_text(text[:1, :3])
    torch.testing.assert_close(short[0], output["text_embedding"][0])


def test_an_item_does_not_depend_on_its_batch() -> None:
    network = adaptor().eval()
    image, text, mask = features()
    for row in range(5):
        torch.testing.assert_close(network.encode_image(image[row : row + 1])[0], network.encode_image(image)[row])
        alone = network.encode_text(text[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(alone[0], network.encode_text(text, mask)[row])


def test_logits_are_of_pairs_and_of_the_hardest_in_evaluation() -> None:
    network = adaptor().eval()
    image, text, mask = features()
    output = network(image, text, mask)
    images, texts, padding = network._images(image), network._texts(text, mask == 0), mask == 0
    similarity = (output["image_embedding"] @ output["text_embedding"].T).fill_diagonal_(-2)
    expected = []
    for row in range(5):
        hardest = similarity[row].argmax()
        expected.append(network.match(images[[row]], texts[hardest][None], padding[hardest][None]))
    torch.testing.assert_close(output["matching_logits"][:5], network.match(images, texts, padding))
    torch.testing.assert_close(output["matching_logits"][5:10], torch.cat(expected))
    last = network.match(images[similarity.argmax(0)], texts, padding)
    torch.testing.assert_close(output["matching_logits"][10:], last)
    assert output["matching_label"].tolist() == [1] * 5 + [0] * 10


def test_equal_texts_are_no_negatives() -> None:
    network = adaptor()
    image, text, mask = features()
    output = network(image, text, mask, torch.tensor([3, 3, 3, 3, 3]))
    assert output["matching_label"][:5].tolist() == [1.0] * 5
    assert output["matching_label"][5:].isnan().all()
    loss = MatchingLoss()(output)
    assert math.isfinite(loss.item())
    single = network(image[:1], text[:1])
    assert single["matching_label"].isnan().tolist() == [False, True, True]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.booleans())
def test_negatives_are_of_another_text(numbers: list[int], draw: bool) -> None:
    ids = torch.tensor(numbers)
    chosen = hard_negatives(torch.randn(len(ids), len(ids)) * 30, ids, draw)
    for own, other in zip(numbers, ids[chosen].tolist(), strict=True):
        assert own != other or len(set(numbers)) == 1


def test_negatives_are_drawn_by_their_similarity() -> None:
    torch.manual_seed(0)
    probability = torch.tensor([0.5, 0.1, 0.3, 0.1])
    similarity = torch.cat([torch.tensor([9.0]), probability.log()]).expand(5, 5)
    rows = torch.stack([hard_negatives(similarity, torch.arange(5), draw=True)[0] for _ in range(4000)])
    shares = torch.bincount(rows, minlength=5) / 4000
    torch.testing.assert_close(shares, torch.cat([torch.zeros(1), probability]), rtol=0, atol=0.03)


def test_every_parameter_gets_a_gradient() -> None:
    network = adaptor(layers=1, fusion_layers=2)
    output = network(*features(), text_id=torch.arange(5))
    (ContrastiveLoss(temperature=None)(output) + MatchingLoss()(output)).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_nothing_needs_the_values_of_a_tensor() -> None:
    network = adaptor().train().to("meta")
    output = network(*(x.to("meta") for x in features()), text_id=torch.arange(5, device="meta"))
    (ContrastiveLoss(temperature=None)(output) + MatchingLoss()(output)).backward()
    assert output["matching_logits"].is_meta


def test_autocast_gives_fp32() -> None:
    image, text, mask = features()
    with torch.autocast("cpu", torch.bfloat16):
        output = adaptor()(image.half(), text.half(), mask)
    assert {value.dtype for value in output.values()} == {torch.float32}


def test_what_cannot_be_is_refused() -> None:
    image, text, _ = features()
    with pytest.raises(ValueError, match=r"images must be \[batch, tokens, 12\], not \[5, 12\]"):
        adaptor()(image[:, 0], text)
    with pytest.raises(ValueError, match="needs a fusion layer"):
        adaptor(fusion_layers=0)
