"""The published Adaptor: its counts, what its layers compute, and that nothing passes between rows or modalities."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from adaptor_parts import SMALL
from torch import nn

from bundle.losses.contrastive import ContrastiveLoss
from bundle.networks.blocks.adaptor_layer import AdaptorLayer, ValueLayer
from bundle.networks.nets.adaptor import Adaptor


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def adaptor(**options: float) -> Adaptor:
    torch.manual_seed(0)
    return Adaptor(12, 10, **(SMALL | options))


def features(batch: int = 5, tokens: int = 1, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, tokens, 12, generator=generator), torch.randn(batch, tokens, 10, generator=generator)


def test_a_layer_has_the_published_parameters() -> None:
    with torch.device("meta"):
        layer = AdaptorLayer()
    assert count(layer.attention) == 2_362_368
    assert count(layer.feedforward) == 3_148_544
    assert count(layer) == 5_513_984


@pytest.mark.parametrize(("width", "total"), [(512, 12_011_009), (384, 11_912_705), (768, 12_207_617)])
def test_published_totals(width: int, total: int) -> None:
    with torch.device("meta"):
        network = Adaptor(width, 768)
    assert count(network) == total
    assert count(network) == 2 * 5_513_984 + width * 768 + 768 * 768 + 1


def attended(layer: ValueLayer, tokens: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """The layer in the published form, with attention of a query."""
    context, _ = layer.attention(query, tokens, tokens)
    tokens = layer.attention_norm(tokens + context)
    return layer.feedforward_norm(tokens + layer.feedforward(tokens))


def test_the_value_path_is_the_attention_to_one_token() -> None:
    torch.manual_seed(0)
    layer = ValueLayer(24, 4, 20).eval()
    nn.init.normal_(layer.attention.in_proj_bias)
    nn.init.normal_(layer.attention.out_proj.bias)
    tokens, query = torch.randn(6, 1, 24), torch.randn(6, 1, 24)
    torch.testing.assert_close(layer(tokens), attended(layer, tokens, query))


def test_the_query_has_no_influence() -> None:
    """In the published form, too: neither the other modality nor the maps of queries and keys change anything."""
    torch.manual_seed(0)
    layer = ValueLayer(24, 4, 20).eval()
    tokens = torch.randn(6, 1, 24)
    first = attended(layer, tokens, torch.randn(6, 1, 24))
    assert torch.equal(first, attended(layer, tokens, 9 * torch.randn(6, 1, 24)))
    expected = layer(tokens)
    with torch.no_grad():
        layer.attention.in_proj_weight[: 2 * 24].normal_()
        layer.attention.in_proj_bias[: 2 * 24].normal_()
    assert torch.equal(layer(tokens), expected)
    network = adaptor().eval()
    image, text = features()
    other = network(image, -3 * text)
    assert torch.equal(network(image, text)["image_embedding"], other["image_embedding"])
    assert torch.equal(network.encode_image(image), other["image_embedding"])


def test_the_whole_is_the_published_computation() -> None:
    """Both streams through each layer in turn, the text's query being the image as the layer has left it."""
    network = adaptor().eval()
    image, text = features()
    v, t = (
        nn.functional.normalize(x, dim=-1) for x in (network.image_projection(image), network.text_projection(text))
    )
    for layer in network.layers:
        v = attended(layer, v, t)
        t = attended(layer, t, v)
    output = network(image, text)
    torch.testing.assert_close(output["image_embedding"], nn.functional.normalize(v[:, 0], dim=-1))
    torch.testing.assert_close(output["text_embedding"], nn.functional.normalize(t[:, 0], dim=-1))


def test_queries_and_keys_get_no_gradient_but_zero() -> None:
    network = adaptor()
    output = network(*features())
    ContrastiveLoss(temperature=None)(output).backward()
    for layer in network.layers:
        for gradient in (layer.attention.in_proj_weight.grad, layer.attention.in_proj_bias.grad):
            assert not gradient[: 2 * 24].any()
            assert gradient[2 * 24 :].abs().sum(-1).min() > 0
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_item_does_not_depend_on_its_batch() -> None:
    network = adaptor().eval()
    image, text = features(6)
    whole = network(image, text)
    changed = image.clone()
    changed[3] = 100.0
    assert torch.equal(network(changed, text)["image_embedding"][:3], whole["image_embedding"][:3])
    for row in range(6):
        one = network(image[row : row + 1], text[row : row + 1])
        for name in ("image_embedding", "text_embedding"):
            torch.testing.assert_close(one[name][0], whole[name][row], rtol=0, atol=1e-6)


def test_only_pooled_features_are_read_and_embeddings_have_length_1() -> None:
    network = adaptor().eval()
    image, text = features(tokens=4)
    output = network(image, text, text_mask=torch.ones(5, 4), text_id=torch.arange(5))
    assert torch.equal(output["image_embedding"], network(image[:, :1], text[:, :1])["image_embedding"])
    for name in ("image_embedding", "text_embedding"):
        torch.testing.assert_close(output[name].norm(dim=-1), torch.ones(5))
    torch.testing.assert_close(network.encode_tokens(image)[:, 0], output["image_embedding"])


def test_half_precision_features_and_autocast_give_fp32_embeddings() -> None:
    network = adaptor().eval()
    image, text = features()
    exact = network(image.half().float(), text.half().float())
    half = network(image.half(), text.half())
    assert all(torch.equal(half[name], exact[name]) for name in exact)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(image.half(), text.half())
    assert {value.dtype for value in output.values()} == {torch.float32}
    torch.testing.assert_close(output["image_embedding"].norm(dim=-1), torch.ones(5))


@pytest.mark.parametrize("part", ["encode_image", "encode_tokens"])
def test_what_has_no_tokens_is_refused(part: str) -> None:
    image, text = features()
    with pytest.raises(ValueError, match=r"images must be \[batch, tokens, 12\], not \[5, 12\]; .*features\[:, None\]"):
        getattr(adaptor(), part)(image[:, 0])
    with pytest.raises(ValueError, match=r"texts must be \[batch, tokens, 10\], not \[5, 10\]"):
        adaptor()(image, text[:, 0])
    with pytest.raises(ValueError, match=r"not \[5, 1, 10\]"):
        adaptor()(text, text)


def test_without_layers_it_is_the_projection() -> None:
    network = adaptor(layers=0)
    image, _ = features()
    expected = nn.functional.normalize(network.image_projection(image)[:, 0], dim=-1)
    torch.testing.assert_close(network.encode_image(image), expected)
    assert count(network) == 24 * 12 + 24 * 10 + 1


def test_the_scale_starts_at_clips_and_is_bounded() -> None:
    network = adaptor()
    assert network.scale().item() == pytest.approx(1 / 0.07, rel=1e-4)
    with torch.no_grad():
        network.logit_scale.fill_(7.0)
    scale = network.scale()
    assert scale.item() == pytest.approx(100.0)
    scale.backward()
    assert network.logit_scale.grad.item() == pytest.approx(100.0)  # which leads down again
    unbounded = adaptor(max_scale=None)
    with torch.no_grad():
        unbounded.logit_scale.fill_(7.0)
    assert unbounded.scale().item() == pytest.approx(math.exp(7.0))


def test_dropout_of_attention_silences_whole_heads() -> None:
    """As dropout of the one weight of each head does in the published form."""
    torch.manual_seed(0)
    layer = ValueLayer(8, 4, 8, dropout=0.5)
    layer.dropout.p = layer.feedforward[2].p = 0.0
    seen = []
    layer.attention.out_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tokens = torch.randn(1, 1, 8).expand(400, 1, 8)
    layer.eval()(tokens)
    layer.train()(tokens)
    full, dropped = (x.unflatten(-1, (4, 2)) for x in seen)
    silent = (dropped == 0).all(-1)
    torch.testing.assert_close(dropped[~silent], 2 * full[~silent])
    assert silent.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert 0 < silent.all(-1).sum() < 100


def outcome(network: nn.Module, rows: slice) -> torch.Tensor:
    image, text = features(8)
    loss = ContrastiveLoss(None, image_to_text=0.25, text_to_image=0.75, exclude_same="text_id")
    value = loss(network(image[rows], text[rows]), {"text_id": (torch.arange(8) // 3)[rows]})
    value.backward()
    return value.detach()


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    network = nn.parallel.DistributedDataParallel(adaptor(dropout=0.0))
    for _ in range(2):  # the second step fails where DDP has missed a parameter
        network.zero_grad()
        value = outcome(network, slice(rank, None, 2)) / 2
    dist.all_reduce(value)
    torch.save((value, {name: p.grad for name, p in network.module.named_parameters()}), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_one_on_the_joined_batch(tmp_path: object) -> None:
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    network = adaptor(dropout=0.0)
    value = outcome(network, slice(None))
    assert network.logit_scale.grad.abs() > 1e-4
    for rank in range(2):
        mean, gradients = torch.load(f"{tmp_path}/{rank}.pt", weights_only=True)
        torch.testing.assert_close(mean, value, rtol=0, atol=1e-5)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-5)
