"""Frozen image encoders: shapes, order of positions, what freezing means, and weights in the layouts of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import transformers
from adaptor_parts import DINO, ENCODERS, image_encoder
from safetensors.torch import save_file
from torch import nn

from bundle.networks.encoders.autoencoder import AutoencoderEncoder
from bundle.networks.encoders.frozen_image import (
    AutoencoderTokens,
    HuggingFaceTokens,
    PyramidTokens,
    TimmTokens,
    position_map,
)
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.weights.errors import WeightsError
from bundle.networks.weights.fingerprint import fingerprint

TINY_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2}
GRIDS = {"pyramid": (7, 14), "timm": (4, 8), "registers": (4, 8), "hugging face": (4, 8), "autoencoder": (1, 2)}


@pytest.mark.parametrize("kind", ENCODERS)
def test_pooled_vector_and_positions(kind: str) -> None:
    encoder, (rows, columns) = image_encoder(kind), GRIDS[kind]
    image = torch.randn(2, 1, 56, 112)
    tokens = encoder(image)
    assert tokens.shape == (2, 1 + rows * columns, encoder.width)
    assert position_map(tokens, image).shape == (2, encoder.width, rows, columns)


@pytest.mark.parametrize("kind", ENCODERS)
def test_it_stays_in_evaluation_without_gradients(kind: str) -> None:
    encoder = image_encoder(kind)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    whole = nn.Sequential(encoder, nn.Linear(encoder.width, 3)).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    image = torch.randn(2, 1, 56, 112, requires_grad=True)
    features = encoder(image)
    assert not features.requires_grad
    whole(image).sum().backward()
    assert image.grad is None
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_image_does_not_depend_on_its_batch(kind: str) -> None:
    encoder = image_encoder(kind)
    image = torch.randn(3, 1, 56, 112)
    whole = encoder(image)
    changed = torch.stack([image[1], 9 * image[0], -image[2]])
    for other in (encoder(image[1:2])[0], encoder(changed)[0]):
        torch.testing.assert_close(other, whole[1], rtol=0, atol=1e-5 * whole.abs().max().item())


def test_positions_of_a_pyramid_are_rows_of_the_last_map_and_their_mean() -> None:
    encoder, image = image_encoder("pyramid"), torch.randn(2, 1, 64, 96)
    tokens, last = encoder(image), encoder.maps(image)[-1]
    assert torch.equal(position_map(tokens, image), last)
    assert torch.equal(tokens[:, 1 + 12 * 2 + 5], last[:, :, 2, 5])
    torch.testing.assert_close(tokens[:, 0], last.mean((2, 3)))


def test_a_vit_gives_its_normalised_tokens_without_registers() -> None:
    encoder, image = image_encoder("registers"), torch.randn(2, 1, 56, 56)
    whole = encoder.encoder.forward_features(image)
    assert whole.shape[1] == 1 + 4 + 16
    assert torch.equal(encoder(image), torch.cat([whole[:, :1], whole[:, 5:]], 1))


def test_a_vit_without_cls_token_is_averaged() -> None:
    encoder = TimmTokens("vit_small_patch14_dinov2", **TINY_VIT, img_size=56, class_token=False, global_pool="avg")
    tokens = encoder(torch.randn(2, 1, 56, 56))
    assert tokens.shape == (2, 17, 32)
    torch.testing.assert_close(tokens[:, 0], tokens[:, 1:].mean(1))


def colour_vit(folder: Path, **options: int) -> tuple[nn.Module, Path]:
    """A ViT for three channels, with a classifier, and its file."""
    torch.manual_seed(5)
    model = timm.create_model("vit_small_patch14_dinov2", **TINY_VIT, num_classes=4, **options).eval()
    save_file(model.state_dict(), folder / "vit.safetensors")
    return model, folder / "vit.safetensors"


def test_timm_weights_see_grey_as_three_equal_channels(tmp_path: Path) -> None:
    model, path = colour_vit(tmp_path, img_size=56)
    encoder = TimmTokens("vit_small_patch14_dinov2", path, **TINY_VIT, img_size=56)
    image = torch.randn(2, 1, 56, 56)
    with torch.no_grad():
        expected = model.forward_features(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(encoder(image), expected, rtol=1e-4, atol=1e-5)


def test_positions_of_another_image_size_are_interpolated(tmp_path: Path) -> None:
    _, path = colour_vit(tmp_path, img_size=112)
    fixed = TimmTokens("vit_small_patch14_dinov2", path, **TINY_VIT, img_size=56)
    assert fixed.encoder.pos_embed.shape[1] == 17
    dynamic = TimmTokens("vit_small_patch14_dinov2", path, **TINY_VIT, img_size=112)
    image = torch.randn(2, 1, 56, 56)
    torch.testing.assert_close(fixed(image), dynamic(image), rtol=1e-4, atol=1e-4)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    _, path = colour_vit(tmp_path, img_size=56)
    with pytest.raises(WeightsError, match="mismatched"):
        TimmTokens("vit_small_patch14_dinov2", path, **(TINY_VIT | {"embed_dim": 64}), img_size=56)
    with pytest.raises(WeightsError, match="no such weights file"):
        AutoencoderTokens(tmp_path / "absent.pt")


@pytest.mark.parametrize("name", ["resnet18", "swin_base_patch4_window7_224", "no_such_network"])
def test_other_networks_than_plain_transformers_are_told(name: str) -> None:
    with pytest.raises(ValueError, match=f"no plain vision transformer '{name}'"):
        TimmTokens(name)


@pytest.mark.parametrize("kind", ["timm", "hugging face"])
def test_sides_that_do_not_fit_are_told(kind: str) -> None:
    with pytest.raises(ValueError, match="56 x 64 px: its sides must be multiples of the patch's, 14 x 14"):
        image_encoder(kind)(torch.zeros(1, 1, 56, 64))


@pytest.mark.parametrize("registers", [0, 4])
def test_a_folder_of_hugging_face_gives_what_transformers_gives(registers: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if registers:
        config = transformers.Dinov2WithRegistersConfig(**DINO, num_register_tokens=registers)
        model = transformers.Dinov2WithRegistersModel(config).eval()
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**DINO)).eval()
    model.save_pretrained(tmp_path)
    image = torch.randn(2, 1, 56, 56)
    with torch.no_grad():
        expected = model(pixel_values=image.expand(-1, 3, -1, -1)).last_hidden_state
    tokens = HuggingFaceTokens(tmp_path)(image)
    torch.testing.assert_close(tokens[:, 0], expected[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens[:, 1:], expected[:, 1 + registers :], rtol=1e-4, atol=1e-5)


def test_unusable_folders_are_told(tmp_path: Path) -> None:
    transformers.BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(WeightsError, match=r"it is a 'bert', not one of dinov2"):
        HuggingFaceTokens(tmp_path / "bert")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        HuggingFaceTokens(tmp_path / "absent")
    model = transformers.Dinov2Model(transformers.Dinov2Config(**DINO))
    del model.encoder.layer[1]
    model.save_pretrained(tmp_path / "half")
    transformers.Dinov2Config(**DINO).save_pretrained(tmp_path / "half")
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors, such as"):
        HuggingFaceTokens(tmp_path / "half")
    with pytest.raises(ValueError, match="no value hiden_size"):
        HuggingFaceTokens({"hiden_size": 32})


def test_the_autoencoder_has_the_published_shapes() -> None:
    with torch.device("meta"):
        encoder = AutoencoderEncoder().eval()
        maps = encoder(torch.zeros(1, 1, 224, 224))
    shapes = [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (512, 3, 3)]
    assert [tuple(level.shape[1:]) for level in maps] == shapes
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 28_680_128


def test_blocks_of_the_autoencoder_rectify_before_the_sum() -> None:
    """Without it torchxrayvision's weights would load and give something else."""
    block = AutoencoderEncoder().eval().layer1[1]
    nn.init.constant_(block.bn3.weight, 0.0)
    nn.init.constant_(block.bn3.bias, -1.0)
    x = torch.rand(1, 256, 4, 4)
    assert torch.equal(block(x), x)


def test_the_autoencoders_decoder_is_left_out(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = AutoencoderEncoder()
    state = source.state_dict() | {"uplayer1.0.conv1.weight": torch.zeros(3), "conv1_1.weight": torch.zeros(3)}
    torch.save(state, tmp_path / "ae.pt")
    assert fingerprint(AutoencoderTokens(tmp_path / "ae.pt").encoder) == fingerprint(source)


def test_a_run_leaves_weights_for_a_pyramid(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = TimmEncoder("resnet18", channels=(8, 16, 24, 32))
    state = {f"image_encoder.{name}": tensor for name, tensor in source.state_dict().items()}
    save_file(state | {"decoder.head.bias": torch.zeros(1)}, tmp_path / "model.safetensors")
    encoder = PyramidTokens(TimmEncoder("resnet18", channels=(8, 16, 24, 32)), tmp_path / "model.safetensors")
    assert fingerprint(encoder.encoder) == fingerprint(source)
    assert encoder.channels == (64, 8, 16, 24, 32)
