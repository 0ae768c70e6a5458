"""The vision transformer against transformers' CLIP, its weights files, and images of other sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from bundle.networks.encoders.vision_transformer import VisionTransformer
from bundle.networks.weights.errors import WeightsError

SIZES: dict[str, Any] = {"patch_size": 8, "width": 12, "heads": 3, "mlp": 24}


def clip(blocks: int = 3) -> Any:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=12,
        intermediate_size=24,
        num_hidden_layers=blocks,
        num_attention_heads=3,
        image_size=32,
        patch_size=8,
        hidden_act="quick_gelu",
    )
    model = CLIPVisionModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def openai_file(model: Any, folder: Path) -> Path:
    """Its weights under OpenAI's names, projection and text tower included."""
    state = {name.removeprefix("vision_model."): tensor for name, tensor in model.state_dict().items()}
    ours = {
        "visual.class_embedding": state["embeddings.class_embedding"],
        "visual.positional_embedding": state["embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["embeddings.patch_embedding.weight"],
        "visual.proj": torch.zeros(12, 5),
        "token_embedding.weight": torch.zeros(7, 5),
        "logit_scale": torch.zeros(()),
    }
    for kind in ("weight", "bias"):
        ours[f"visual.ln_pre.{kind}"] = state[f"pre_layrnorm.{kind}"]
        ours[f"visual.ln_post.{kind}"] = state[f"post_layernorm.{kind}"]
        for block in range(model.config.num_hidden_layers):
            old, new = f"encoder.layers.{block}.", f"visual.transformer.resblocks.{block}."
            joined = [state[f"{old}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            ours[f"{new}attn.in_proj_{kind}"] = torch.cat(joined)
            ours[f"{new}attn.out_proj.{kind}"] = state[f"{old}self_attn.out_proj.{kind}"]
            ours[f"{new}ln_1.{kind}"] = state[f"{old}layer_norm1.{kind}"]
            ours[f"{new}ln_2.{kind}"] = state[f"{old}layer_norm2.{kind}"]
            ours[f"{new}mlp.c_fc.{kind}"] = state[f"{old}mlp.fc1.{kind}"]
            ours[f"{new}mlp.c_proj.{kind}"] = state[f"{old}mlp.fc2.{kind}"]
    save_file({name: tensor.clone() for name, tensor in ours.items()}, folder / "clip.safetensors")
    return folder / "clip.safetensors"


def positions(table: Tensor, side: int) -> Tensor:
    """A CLS row and 4 x 4 others, those bicubically on a larger grid."""
    grid = table[1:].T.reshape(1, -1, 4, 4)
    larger = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
    return torch.cat([table[:1], larger[0].flatten(1).T])


def test_equals_clip_without_its_last_block(tmp_path: Path) -> None:
    model = clip()
    ours = VisionTransformer(image_size=32, depth=2, in_channels=3, weights=openai_file(model, tmp_path), **SIZES)
    image = torch.randn(2, 3, 32, 32)
    theirs = model(pixel_values=image, output_hidden_states=True).hidden_states[2]
    norm = (getattr(model, "vision_model", model)).post_layernorm
    torch.testing.assert_close(ours.eval()(image), norm(theirs), rtol=1e-4, atol=1e-4)
    grey = VisionTransformer(image_size=32, depth=2, weights=tmp_path / "clip.safetensors", **SIZES)
    once = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(grey(once), ours(once.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [6, 8])
def test_positions_of_weights_and_of_images_are_interpolated_alike(tmp_path: Path, side: int) -> None:
    model = clip(2)
    path = openai_file(model, tmp_path)
    table = model.state_dict()[next(name for name in model.state_dict() if "position_embedding.weight" in name)]
    large = VisionTransformer(image_size=8 * side, depth=2, weights=path, **SIZES)
    torch.testing.assert_close(large.model.pos_embed[0], positions(table, side))
    small = VisionTransformer(image_size=32, depth=2, weights=path, **SIZES)
    image = torch.randn(1, 1, 8 * side, 8 * side)
    torch.testing.assert_close(small(image), large(image))
    assert torch.equal(small.model.pos_embed[0, 0], table[0])


@pytest.mark.parametrize(("image_size", "patches"), [(288, 324), (384, 576)])
def test_published_grids(image_size: int, patches: int) -> None:
    with torch.device("meta"):
        encoder = VisionTransformer(width=12, depth=1, heads=3, mlp=24)
        assert encoder(torch.zeros(2, 1, image_size, image_size)).shape == (2, 1 + patches, 12)


def test_own_weights_load_again(tmp_path: Path) -> None:
    first = VisionTransformer(image_size=32, depth=2, **SIZES)
    save_file(first.model.state_dict(), tmp_path / "own.safetensors")
    second = VisionTransformer(image_size=32, depth=2, weights=tmp_path / "own.safetensors", **SIZES)
    image = torch.randn(1, 1, 32, 32)
    assert torch.equal(first(image), second(image))
    with pytest.raises(WeightsError, match="missing"):
        VisionTransformer(image_size=32, depth=3, weights=tmp_path / "own.safetensors", **SIZES)


def test_some_patches_are_encoded_alone() -> None:
    encoder = VisionTransformer(image_size=32, depth=2, **SIZES)
    image = torch.randn(1, 1, 32, 32)
    tokens = encoder.embed(image)
    chosen = [0, 5, 9]
    got = encoder.encode(tokens[:, chosen])
    torch.testing.assert_close(encoder.encode(tokens[:, [0, 9, 5]])[:, [0, 2, 1]], got)
    image[:, :, 24:, 24:] += 1  # another patch
    torch.testing.assert_close(encoder.encode(encoder.embed(image)[:, chosen]), got)
    assert (encoder(image)[:, chosen] - got).abs().max() > 1e-3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="patches divide the image"):
        VisionTransformer(image_size=30, **SIZES)
    with pytest.raises(ValueError, match=r"32 x 30 px: both sides must be multiples of its patches' 8"):
        VisionTransformer(image_size=32, depth=1, **SIZES)(torch.zeros(1, 1, 32, 30))
