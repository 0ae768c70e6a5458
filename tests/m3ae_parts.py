"""M3AE small enough for tests, in the published sizes, and computed the published way: in three whole passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bundle.networks.blocks.co_attention import CoAttention
from bundle.networks.blocks.masked_image_decoder import MaskedImageDecoder, patch_targets
from bundle.networks.blocks.masked_language_head import MaskedLanguageHead
from bundle.networks.blocks.matching_pairs import RandomPairs
from bundle.networks.blocks.patch_masking import PatchMask, PatchMasking
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.encoders.vision_transformer import VisionTransformer
from bundle.networks.nets.m3ae import M3AE

BERT: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
ROBERTA_SIZES: dict[str, Any] = {
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def small(**options: Any) -> M3AE:
    """For images of 32 px in 16 patches and texts of `BERT`, without dropout."""
    torch.manual_seed(0)
    image = VisionTransformer(image_size=32, patch_size=8, width=12, depth=2, heads=3, mlp=24)
    fusion = CoAttention(16, 12, width=20, steps=4, heads=4, mlp=24, dropout=0.0)
    decoder = MaskedImageDecoder(20, (4, 4), patch_size=8, width=16, depth=1, heads=2, mlp=24)
    parts: dict[str, Any] = {
        "image_decoder": decoder,
        "language_head": MaskedLanguageHead(20, 60),
        "image_step": 2,
        "pairs": RandomPairs(),
    }
    text = TextEncoder(BERT, freeze_layers=0, freeze_embeddings=False, pooling="tokens")
    return M3AE(image, text, fusion, patch_masking=PatchMasking(), **(parts | options))


def published(dropout: float = 0.1) -> M3AE:
    """The published sizes: 288 px, three channels, RoBERTa's sizes."""
    text = TextEncoder(ROBERTA_SIZES, freeze_layers=0, freeze_embeddings=False, pooling="tokens")
    return M3AE(
        VisionTransformer(in_channels=3),
        text,
        CoAttention(dropout=dropout),
        RandomPairs(),
        PatchMasking(),
        MaskedImageDecoder(768, (18, 18), channels=3),
        MaskedLanguageHead(768, 50265),
    )


def batch(lengths: tuple[int, ...] = (4, 6, 6, 9), places: int = 2) -> dict[str, Tensor]:
    """Pairs for `small`, with masked words; the last place of the first text is not judged."""
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 60, mask.shape, generator=generator) * mask
    noise = torch.rand(mask.shape, generator=generator).masked_fill(mask == 0, 2)
    positions = noise.argsort(1)[:, :places]
    labels = ids.gather(1, positions)
    labels[0, -1] = -100
    return {
        "image": torch.randn(len(lengths), 1, 32, 32, generator=generator),
        "input_ids": ids,
        "attention_mask": mask,
        "masked_ids": ids.scatter(1, positions, torch.where(labels == -100, ids.gather(1, positions), 4)),
        "masked_positions": positions,
        "masked_labels": labels,
    }


def three_passes(
    network: M3AE, given: dict[str, Tensor], mask: PatchMask, chosen: Tensor, own: Tensor
) -> dict[str, Tensor]:
    """The three losses in three passes through everything, with given draws: patches, images of texts, labels."""
    image, ids, padding = given["image"], given["input_ids"], given["attention_mask"] == 0
    texts, _, _ = _pass(network, network.image_encoder(image), given["masked_ids"], padding)
    labels = torch.full_like(ids, -100).scatter(1, given["masked_positions"], given["masked_labels"])
    words = network.language_head(texts[-1])
    language = F.cross_entropy(words.flatten(0, 1), labels.flatten(), ignore_index=-100)

    model = network.image_encoder.model
    patches = (model.patch_embed(image).flatten(1, 2) + model.pos_embed[:, 1:])[~mask.removed.bool()]
    patches = patches.unflatten(0, (len(image), -1))  # kept patches from top left to bottom right
    first = (model.cls_token + model.pos_embed[:, :1]).expand(len(image), -1, -1)
    seen = model.norm(model.blocks(model.norm_pre(torch.cat([first, patches], 1))))
    _, images, _ = _pass(network, seen, ids, padding)
    rank = (1 - mask.removed).cumsum(1).long() - 1
    missing = (mask.removed.cumsum(1).long() - 1) + patches.shape[1]
    painted = network.image_decoder(images[network.image_step], torch.where(mask.removed.bool(), missing, rank))
    error = (painted - patch_targets(image, network.image_encoder.patch_size)).square().mean(-1)

    _, _, joint = _pass(network, network.image_encoder(image[chosen]), ids, padding)
    matching = F.cross_entropy(network.matching_head(joint), own.long())
    return {"language": language, "image": (error * mask.removed).sum() / mask.removed.sum(), "matching": matching}


def _pass(network: M3AE, features: Tensor, ids: Tensor, padding: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Both streams before fusion and after each step, and the joint feature."""
    fusion = network.fusion
    encoded = network.text_encoder(ids, (~padding).long())
    text = fusion.text_projection(encoded) + fusion.modality(torch.tensor(0))
    image = fusion.image_projection(features) + fusion.modality(torch.tensor(1))
    texts, images = [text], [image]
    for text_layer, image_layer in zip(fusion.text_layers, fusion.image_layers, strict=True):
        text = text_layer(texts[-1], texts[-1], images[-1], padding, None)
        image = image_layer(images[-1], images[-1], texts[-1], None, padding)
        texts.append(text)
        images.append(image)
    joint = torch.cat([fusion.text_pooler(texts[-1][:, 0]), fusion.image_pooler(images[-1][:, 0])], 1)
    return texts, images, joint
