from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from bundle.networks.encoders.image_encoder import ImageEncoder, MonaiEncoder, TimmEncoder
from bundle.networks.weights.errors import WeightsError

NARROW = {"channels": (32, 64, 128, 256)}
SQUARE, OBLONG = (64, 64), (64, 96)

# name, options, image size, channels, strides
TIMM = [
    ("resnet18", NARROW, OBLONG, (64, 32, 64, 128, 256), (2, 4, 8, 16, 32)),
    ("resnet18", NARROW | {"out_indices": (0, 1, 2, 3)}, OBLONG, (64, 32, 64, 128), (2, 4, 8, 16)),
    ("resnet18", NARROW | {"stem_type": "deep", "stem_width": 16}, OBLONG, (32, 32, 64, 128, 256), (2, 4, 8, 16, 32)),
    ("resnet18", NARROW | {"output_stride": 16}, OBLONG, (64, 32, 64, 256), (2, 4, 8, 16)),
    ("resnet50", {"output_stride": 16}, OBLONG, (64, 256, 512, 2048), (2, 4, 8, 16)),
    ("convnext_atto", {}, OBLONG, (40, 80, 160, 320), (4, 8, 16, 32)),
    ("efficientnet_b0", {}, OBLONG, (16, 24, 40, 112, 320), (2, 4, 8, 16, 32)),
    ("swin_tiny_patch4_window7_224", {"img_size": 64}, SQUARE, (96, 192, 384, 768), (4, 8, 16, 32)),
    ("vit_tiny_patch16_224", {"img_size": 64}, SQUARE, (256,) * 4, (4, 8, 16, 32)),
    ("vit_tiny_patch16_224", {"img_size": 64, "output_stride": 16}, SQUARE, (256,) * 3, (4, 8, 16)),
    ("vit_tiny_patch16_224", {"dynamic_img_size": True}, OBLONG, (256,) * 4, (4, 8, 16, 32)),
]


def check_pyramid(
    encoder: ImageEncoder, size: tuple[int, int], channels: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """The maps are as announced, and every parameter takes part in them."""
    assert (encoder.channels, encoder.strides) == (channels, strides)
    features = encoder(torch.randn(2, 1, *size))
    expected = [(2, c, size[0] // s, size[1] // s) for c, s in zip(channels, strides, strict=True)]
    assert [tuple(feature.shape) for feature in features] == expected
    torch.stack([feature.square().mean() for feature in features]).sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("name", "options", "size", "channels", "strides"), TIMM)
def test_timm_pyramid(name: str, options: dict[str, Any], size: Any, channels: Any, strides: Any) -> None:
    check_pyramid(TimmEncoder(name, **options), size, channels, strides)


def test_monai_pyramid_of_resnet() -> None:
    check_pyramid(MonaiEncoder("resnet18"), OBLONG, (64, 64, 128, 256, 512), (2, 4, 8, 16, 32))


def test_monai_pyramid_of_efficientnet() -> None:
    check_pyramid(MonaiEncoder("efficientnet-b0"), OBLONG, (16, 24, 40, 112, 320), (2, 4, 8, 16, 32))


def test_resnet50_has_the_published_count() -> None:
    assert sum(parameter.numel() for parameter in TimmEncoder("resnet50", in_channels=3).parameters()) == 23_508_032


@pytest.mark.parametrize("size", [(65, 64), (64, 48), (80, 80)])
def test_a_size_between_the_strides_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]} px.*multiples of its coarsest stride, 32"):
        TimmEncoder("resnet18", **NARROW)(torch.zeros(1, 1, *size))


def test_channels_last_stays_channels_last() -> None:
    encoder = TimmEncoder("resnet18", **NARROW).eval().to(memory_format=torch.channels_last)
    image = torch.randn(2, 1, 64, 64)
    features = encoder(image.to(memory_format=torch.channels_last))
    assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in features)
    plain = encoder.to(memory_format=torch.contiguous_format)(image)
    for feature, expected in zip(features, plain, strict=True):
        torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-5)


def write(network: nn.Module, path: Path) -> Path:
    """Save a network, its norms no longer those of a new one, whose zeros switch off the residual branches."""
    for tensor in network.state_dict().values():
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "ending", "options"),
    [
        ("resnet18", ".safetensors", {}),
        ("resnet18", ".pth", {"out_indices": (0, 1, 2)}),
        ("convnext_atto", ".safetensors", {}),
        ("efficientnet_b0", ".pth", {}),
    ],
)
def test_a_local_file_gives_the_maps_of_the_original_on_a_grey_image(
    name: str, ending: str, options: dict[str, Any], tmp_path: Path
) -> None:
    original = timm.create_model(name).eval()
    path = write(original, tmp_path / f"weights{ending}")
    grey = torch.randn(1, 1, 64, 64)
    encoder = TimmEncoder(name, weights=str(path), **options).eval()
    expected = original.forward_intermediates(grey.expand(-1, 3, -1, -1), intermediates_only=True)
    features = encoder(grey)
    for feature, reference in zip(features, expected[: len(features)], strict=True):
        torch.testing.assert_close(feature, reference, rtol=1e-4, atol=1e-4)


def test_a_local_file_fills_a_vit(tmp_path: Path) -> None:
    original = timm.create_model("vit_tiny_patch16_224").eval()
    encoder = TimmEncoder(
        "vit_tiny_patch16_224", weights=write(original, tmp_path / "vit.safetensors"), dynamic_img_size=True
    )
    grey = torch.randn(1, 1, 224, 224)
    expected = original.forward_intermediates(grey.expand(-1, 3, -1, -1), indices=1, intermediates_only=True)
    torch.testing.assert_close(encoder.model.eval()(grey)[-1], expected[0], rtol=1e-4, atol=1e-4)


def test_a_torchvision_file_fills_timm_and_monai_alike(tmp_path: Path) -> None:
    path = write(torchvision.models.resnet50(), tmp_path / "resnet50.pth")
    image = torch.randn(1, 1, 64, 64)
    ours = TimmEncoder("resnet50", weights=path).eval()(image)
    for feature, reference in zip(MonaiEncoder("resnet50", weights=path).eval()(image), ours, strict=True):
        torch.testing.assert_close(feature, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "group"), [("resnet34", "unexpected"), ("resnet50", "missing|mismatched")])
def test_the_file_of_another_network_is_refused(name: str, group: str, tmp_path: Path) -> None:
    path = write(timm.create_model(name), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=rf"other\.safetensors: .*[1-9]\d* ({group})"):
        TimmEncoder("resnet18", weights=path)


def test_downloaded_weights_are_summed_too() -> None:
    weight = torch.randn(64, 3, 7, 7)
    grey = torch.randn(1, 1, 32, 32)
    summed = timm.models.adapt_input_conv(1, weight)
    convolve = nn.functional.conv2d
    torch.testing.assert_close(convolve(grey, summed), convolve(grey.expand(-1, 3, -1, -1), weight), rtol=0, atol=1e-4)


def test_offline_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="ImageNet weights of resnet18 are not at hand") as caught:
        TimmEncoder("resnet18", weights="imagenet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("resnet18", {"output_stride": 4}, "timm's resnet18 cannot be built with in_chans=1, output_stride=4$"),
        ("densenet121", {"output_stride": 16}, "output_stride=16: .*unexpected keyword argument 'output_stride'"),
    ],
)
def test_options_that_a_network_does_not_take_are_refused(name: str, options: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TimmEncoder(name, **options)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="timm has no network 'resnet'"):
        TimmEncoder("resnet")
    with pytest.raises(ValueError, match="MONAI has no encoder 'vgg'"):
        MonaiEncoder("vgg")
    with pytest.raises(ValueError, match="patch size of 14 px"):
        TimmEncoder("vit_small_patch14_dinov2")
