"""The assembled network: published totals, padding, the sleeping decoder."""

import pytest
import torch

from bundle.networks.blocks.attention_pool import AttentionPool
from bundle.networks.blocks.projection import AllTokensProjection, PatchProjection, Projection
from bundle.networks.blocks.unet import PyramidDecoder
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.nets.g2d import G2D

BERT_POOLER = 768 * 768 + 768  # published, never used, absent here
TINY_BERT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def tiny(decoder: bool = True, pooling: str = "cls") -> G2D:
    torch.manual_seed(0)
    encoder = TimmEncoder("resnet18", channels=(8, 16, 24, 32), out_indices=(0, 1, 2, 3))
    text = TextEncoder(TINY_BERT, freeze_layers=0, freeze_embeddings=False, pooling=pooling)
    projection = AllTokensProjection if pooling == "tokens" else Projection
    return G2D(
        encoder,
        PatchProjection(encoder.channels[-1], 8),
        AttentionPool(8, 2, (4, 4)),
        text,
        projection(16, 8),
        PyramidDecoder(encoder.channels, encoder.strides, (16, 8, 8, 4)) if decoder else None,
    )


def pairs(batch: int = 4, pad: int = 0) -> dict:
    generator = torch.Generator().manual_seed(1)
    lengths = [5, 7, 7, 9][:batch]
    ids = torch.zeros(batch, 9 + pad, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, 50, (length,), generator=generator)
    mask = torch.arange(9 + pad) < torch.tensor(lengths)[:, None]
    image = torch.randn(batch, 1, 64, 64, generator=generator)
    return {"image": image, "input_ids": ids, "attention_mask": mask.long(), "lengths": lengths}


def test_published_total():
    with torch.device("meta"):
        encoder = TimmEncoder("resnet50", in_channels=3)
        bert = {"vocab_size": 28_996, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
        network = G2D(
            encoder,
            PatchProjection(2048, 128),
            AttentionPool(128, 4, (8, 8)),
            TextEncoder(bert | {"intermediate_size": 3072}, freeze_layers=9),
            Projection(768, 128),
            PyramidDecoder(encoder.channels, encoder.strides, (256, 128, 64, 32, 16)),
        )
    assert count(network.image_encoder) + count(network.decoder) == 32_521_105
    assert count(network) + BERT_POOLER == 141_315_473


def test_outputs():
    output = tiny()(**pairs())
    assert {name: tuple(value.shape) for name, value in output.items()} == {
        "image_embedding": (4, 8),
        "text_embedding": (4, 8),
        "attention": (4, 2, 4, 4),
        "patch_values": (4, 8, 4, 4),
        "logits": (4, 1, 64, 64),
    }
    for name in ("image_embedding", "text_embedding"):
        torch.testing.assert_close(output[name].norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_changes_no_embedding(pooling):
    network = tiny(pooling=pooling).train()
    network.text_encoder.eval()  # without dropout; the projection's BatchNorm stays in training mode
    short, padded = pairs(), pairs(pad=11)
    for lengths in (None, short["lengths"]):
        torch.testing.assert_close(
            network.encode_text(short["input_ids"], short["attention_mask"], lengths),
            network.encode_text(padded["input_ids"], padded["attention_mask"], lengths),
            atol=1e-5,
            rtol=1e-4,
        )


def test_padding_changes_embeddings_of_the_released_form():
    network = tiny(pooling="tokens").train()
    network.text_encoder.eval()
    short, padded = pairs(), pairs(pad=11)
    difference = network.encode_text(short["input_ids"], short["attention_mask"]) - network.encode_text(
        padded["input_ids"], padded["attention_mask"]
    )
    assert difference.abs().max() > 1e-2


def test_sleeping_decoder_gives_zero_gradients_and_no_logits():
    network = tiny().train()
    network.decoding = False
    output = network(**pairs())
    assert "logits" not in output
    (output["image_embedding"] * torch.randn(4, 8)).sum().backward()
    decoder = list(network.decoder.parameters())
    assert decoder
    assert all(p.grad is not None and not p.grad.any() for p in decoder)
    assert all(p.grad is not None for p in network.image_encoder.parameters())
    assert "logits" in network.eval()(**pairs())


def test_sleeping_decoder_changes_no_gradient_of_the_rest():
    gradients = []
    for decoder in (True, False):
        network = tiny(decoder=decoder).eval()
        network.train()
        network.text_encoder.eval()
        network.decoding = False
        output = network(**pairs())
        (output["image_embedding"] * output["text_embedding"]).sum().backward()
        gradients.append({n: p.grad for n, p in network.named_parameters() if not n.startswith("decoder")})
    assert gradients[0].keys() == gradients[1].keys()
    shared = [n for n in gradients[0] if n.startswith("image_encoder")]
    for name in shared:
        torch.testing.assert_close(gradients[0][name], gradients[1][name])


def test_every_parameter_gets_a_gradient():
    network = tiny()
    output = network(**pairs())
    sum((value * torch.randn_like(value)).sum() for value in output.values()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_patches_share_the_space():
    patches, values = tiny().encode_patches(pairs()["image"])
    assert patches.shape == values.shape == (4, 8, 4, 4)
