"""Co-attention: a layer by hand, rows computed alone, steps in parallel, padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.networks.blocks.co_attention import CoAttention, CoAttentionLayer


def fusion(steps: int = 3) -> CoAttention:
    torch.manual_seed(0)
    return CoAttention(10, 14, width=12, steps=steps, heads=3, mlp=20).eval()


def streams() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    padding = torch.arange(5) >= torch.tensor([5, 2])[:, None]
    return torch.randn(2, 5, 12, generator=generator), torch.randn(2, 7, 12, generator=generator), padding


def by_hand(attention: nn.MultiheadAttention, rows: Tensor, read: Tensor, readable: Tensor) -> Tensor:
    """Softmax attention of three heads for one item, over what may be read."""
    projections = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    (q, k, v) = (F.linear(x, *p) for x, p in zip((rows, read[readable], read[readable]), projections, strict=True))
    heads = []
    for part in (slice(0, 4), slice(4, 8), slice(8, 12)):
        heads.append((q[:, part] @ k[:, part].T / 2).softmax(-1) @ v[:, part])
    return attention.out_proj(torch.cat(heads, 1))


def test_layer_by_hand() -> None:
    torch.manual_seed(0)
    layer = CoAttentionLayer(12, 3, 20).eval()
    texts, images, padding = streams()
    got = layer(texts, texts, images, padding)[1, :2]
    rows, everything = texts[1, :2], torch.ones(7, dtype=torch.bool)
    rows = F.layer_norm(rows + by_hand(layer.self_attention, rows, texts[1], ~padding[1]), (12,), eps=1e-12)
    rows = F.layer_norm(rows + by_hand(layer.cross_attention, rows, images[1], everything), (12,), eps=1e-12)
    first, _, second = layer.feedforward
    rows = F.layer_norm(rows + second(F.gelu(first(rows))), (12,), eps=1e-12)
    torch.testing.assert_close(got, rows)


def test_streams_before_fusion() -> None:
    network = fusion()
    features = torch.randn(2, 5, 10)
    expected = F.linear(features, network.text_projection.weight) + network.modality(torch.tensor(0))
    torch.testing.assert_close(network.texts(features), expected)
    features = torch.randn(2, 7, 14)
    expected = F.linear(features, network.image_projection.weight) + network.modality(torch.tensor(1))
    torch.testing.assert_close(network.images(features), expected)


def test_both_layers_of_a_step_read_the_step_before() -> None:
    network = fusion(1)
    texts, images, padding = streams()
    text, image = network(texts, images, padding)
    torch.testing.assert_close(text, network.text_layers[0](texts, texts, images, padding, None))
    torch.testing.assert_close(image, network.image_layers[0](images, images, texts, None, padding))


def test_what_is_wanted_alone_equals_the_whole() -> None:
    network = fusion()
    texts, images, padding = streams()
    text, image = network(texts, images, padding)
    positions = torch.tensor([[4, 0, 2], [1, 0, 1]])
    expected = torch.stack([text[item, row] for item, row in enumerate(positions)])
    torch.testing.assert_close(network.text_rows(texts, images, positions, padding), expected)
    torch.testing.assert_close(network.images_after(3, texts, images, padding), image)
    pooled = torch.cat([network.text_pooler(text[:, 0]), network.image_pooler(image[:, 0])], 1)
    torch.testing.assert_close(network.pooled(texts, images, padding), pooled)


def test_images_after_some_steps() -> None:
    network, shorter = fusion(3), fusion(2)
    shorter.load_state_dict({k: v for k, v in network.state_dict().items() if "layers.2." not in k})
    texts, images, padding = streams()
    torch.testing.assert_close(network.images_after(2, texts, images, padding), shorter(texts, images, padding)[1])
    assert network.images_after(0, texts, images, padding) is images
    with pytest.raises(ValueError, match="has 3 steps; its images after step 4"):
        network.images_after(4, texts, images, padding)


def test_padding_is_read_by_nothing() -> None:
    network = fusion()
    texts, images, padding = streams()
    text, image = network(texts, images, padding)
    alone = network(texts[1:, :2], images[1:])
    torch.testing.assert_close(text[1:, :2], alone[0])
    torch.testing.assert_close(image[1:], alone[1])


@pytest.mark.parametrize(("width", "std"), [(768, 0.02), (48, 0.08)])
def test_random_start(width: int, std: float) -> None:
    """BERT's at its width; at others maps pass on the same variance: 0.02 * sqrt(768 / 48) = 0.08."""
    network = CoAttention(width, width, width=width, steps=1, heads=4, mlp=256)
    for name, parameter in network.named_parameters():
        if "norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
        elif name.endswith("bias"):
            assert not parameter.any(), name
        else:
            assert parameter.std().item() == pytest.approx(std, rel=0.2), name


@pytest.mark.parametrize("sizes", [{"steps": 0}, {"width": 10, "heads": 3}])
def test_what_cannot_be_built_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one step or more, and heads that divide the width"):
        CoAttention(8, 8, **({"width": 12, "heads": 3} | sizes))
