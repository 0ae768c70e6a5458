"""Parts of real networks, taken over from files of ours and of other people."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from bundle.networks.blocks.attention_pool import AttentionPool
from bundle.networks.blocks.projection import PatchProjection, Projection
from bundle.networks.blocks.unet import PyramidDecoder
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.nets.classifier import Classifier
from bundle.networks.nets.g2d import G2D
from bundle.networks.nets.segmenter import Segmenter
from bundle.networks.weights.checkpoint import CARD_FIELDS, save_weights
from bundle.networks.weights.errors import WeightsError
from bundle.networks.weights.transfer import start_card, transfer

BERT = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
CARD = dict.fromkeys(CARD_FIELDS) | {"method": "g2d", "image_mean": 0.449}
PARTS = {"encoder": ["image_encoder"], "encoder_decoder": ["image_encoder", "decoder"], "model": [""]}
BOTH = ["image_encoder", "decoder"]


def encoder(name: str = "resnet18") -> TimmEncoder:
    return TimmEncoder(name, channels=(8, 16, 24, 32), out_indices=(0, 1, 2, 3))


def segmenter(classes: int = 1, name: str = "resnet18", width: int = 4) -> Segmenter:
    image_encoder = encoder(name)
    widths = (16, 8, 8, width)
    return Segmenter(image_encoder, PyramidDecoder(image_encoder.channels, image_encoder.strides, widths, classes))


def copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def differing(network: nn.Module, state: dict[str, torch.Tensor]) -> set[str]:
    """Top-level parts of which a tensor is not that of `state`."""
    own = network.state_dict()
    return {name.split(".")[0] for name in own if name not in state or not torch.equal(own[name], state[name])}


@pytest.fixture(scope="module")
def pretrained() -> G2D:
    source = segmenter()
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    return G2D(
        source.image_encoder,
        PatchProjection(24, 8),
        AttentionPool(8, 2, (4, 4)),
        TextEncoder(BERT, freeze_layers=0, freeze_embeddings=False),
        Projection(8, 8),
        source.decoder,
    )


@pytest.fixture(scope="module")
def files(pretrained: G2D, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files that pre-training leaves."""
    folder = tmp_path_factory.mktemp("models")
    state = pretrained.state_dict()
    return {
        file: save_weights(
            {name: tensor for name, tensor in state.items() if name.startswith(tuple(parts))},
            folder / f"{file}.safetensors",
            CARD | {"part": file},
        )
        for file, parts in PARTS.items()
    }


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("encoder", ["image_encoder"]),
        ("encoder_decoder", ["image_encoder"]),
        ("encoder_decoder", BOTH),
        ("model", BOTH),
        ("model", ["decoder"]),
    ],
)
def test_parts_asked_for_are_those_of_pretraining_and_others_stay(
    files: dict[str, Path], pretrained: G2D, file: str, parts: list[str]
) -> None:
    network = segmenter()
    before = copy(network.state_dict())
    assert transfer(network, files[file], parts) is network
    assert differing(network, pretrained.state_dict()) == set(BOTH) - set(parts)
    assert differing(network, before) == set(parts)


def test_the_segmenter_decodes_as_pretraining_did(files: dict[str, Path], pretrained: G2D) -> None:
    network = transfer(segmenter(), files["model"], BOTH).eval()
    image = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(image), pretrained.eval().encode_image(image)["logits"])


def test_a_classifier_takes_the_encoder(files: dict[str, Path], pretrained: G2D) -> None:
    network = transfer(Classifier(encoder(), classes=3), files["model"], ["image_encoder"])
    assert differing(network, pretrained.state_dict()) == {"head"}


@pytest.mark.parametrize(("weights", "parts"), [(None, BOTH), ("absent.safetensors", [])])
def test_nothing_is_loaded_without_weights_or_parts(weights: str | None, parts: list[str]) -> None:
    network = segmenter()
    before = copy(network.state_dict())
    assert transfer(network, weights, parts) is network
    assert differing(network, before) == set()


@pytest.mark.parametrize(
    ("classes", "keep", "reason"),
    [
        (3, True, r"the file has decoder\.head\.bias \(1,\) for \(3,\); decoder\.head\.weight \(1, 4, 3, 3\) for \(3,"),
        (1, False, "it is not in the file or was not to be kept"),
    ],
)
def test_a_head_that_does_not_fit_or_is_not_wanted_stays_as_built(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture, classes: int, keep: bool, reason: str, pretrained: G2D
) -> None:
    network = segmenter(classes)
    before = copy(network.state_dict())
    with caplog.at_level(logging.INFO):
        transfer(network, files["encoder_decoder"], BOTH, keep_head=keep)
    state, source = network.state_dict(), pretrained.state_dict()
    for name in state:
        assert torch.equal(state[name], (before if name.startswith("decoder.head.") else source)[name]), name
    lines = [line for line in caplog.messages if "stay as built" in line]
    assert len(lines) == 1
    assert f"{files['encoder_decoder']}: decoder.head.bias, decoder.head.weight stay as built" in lines[0]
    assert re.search(reason, lines[0])


@pytest.mark.parametrize(
    ("name", "width", "pattern"),
    [
        ("resnet34", 4, r"\d+ matched; \d+ missing \(image_encoder\.model\.layer1\.2\.bn1\.bias, .*\.\.\.\); 0 unexp"),
        ("resnet14t", 4, r"\d+ missing \(.*\); \d+ unexpected \(.*\); \d+ mismatched \(.* for \(.*\)"),
        ("resnet18", 8, r"\d+ matched; 0 missing; 0 unexpected; \d+ mismatched \(decoder\.decoder\.blocks\.3\."),
    ],
)
def test_weights_of_another_network_are_refused_and_nothing_changes(
    files: dict[str, Path], name: str, width: int, pattern: str
) -> None:
    network = segmenter(name=name, width=width)
    before = copy(network.state_dict())
    with pytest.raises(WeightsError, match=pattern) as caught:
        transfer(network, files["model"], BOTH)
    assert differing(network, before) == set()
    message = str(caught.value)
    assert message.startswith("image_encoder, decoder cannot be taken from these weights")
    assert "text_encoder" not in message  # what was not asked for is no news
    assert len(message) < 900


def test_a_file_without_the_part_says_what_it_holds(files: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match=r"0 matched; \d+ missing \(decoder\..*\); \d+ unexpected \(image_encoder"):
        transfer(segmenter(), files["encoder"], ["decoder"])
    with pytest.raises(WeightsError, match=r"image_encoder, decoder cannot .*; \d+ missing \(decoder\.decoder\."):
        transfer(segmenter(), files["encoder"], BOTH)


def test_an_unknown_part_or_key_map_is_named(files: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"Segmenter has no part 'encoder' to load; .* of image_encoder, decoder\.$"):
        transfer(segmenter(), files["encoder"], ["encoder"])
    with pytest.raises(ValueError, match="no key map 'unet'"):
        transfer(segmenter(), files["encoder"], BOTH, key_map="unet")


def imagenet() -> dict[str, torch.Tensor]:
    return timm.create_model("resnet18", in_chans=3).state_dict()


@pytest.mark.parametrize(
    ("key_map", "form"),
    [
        ("resnet", lambda state: state),
        ("mgca", lambda state: {f"img_encoder_q.model.{k}": v for k, v in state.items() if not k.startswith("fc.")}),
        (None, lambda state: {f"model.{k}": v for k, v in state.items() if not k.startswith("fc.")}),
        ({"backbone.": "image_encoder.model."}, lambda state: {f"backbone.{k}": v for k, v in state.items()}),
    ],
)
def test_public_encoders_serve_the_encoder(key_map: Any, form: Any, tmp_path: Path) -> None:
    state = imagenet()
    if isinstance(key_map, dict):
        state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    torch.save({"state_dict": form(state)}, tmp_path / "public.pth")
    network = transfer(Classifier(TimmEncoder("resnet18"), 2), tmp_path / "public.pth", ["image_encoder"], key_map)
    own = network.image_encoder.model.state_dict()
    assert torch.equal(own["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    torch.testing.assert_close(own["conv1.weight"], state["conv1.weight"].sum(1, keepdim=True))


def test_a_head_trained_alone_joins_its_encoder(files: dict[str, Path], tmp_path: Path) -> None:
    head = Classifier(encoder(), classes=3).head
    path = save_weights(head, tmp_path / "head.safetensors", CARD)
    network = transfer(transfer(Classifier(encoder(), classes=3), files["encoder"], ["image_encoder"]), path, ["head"])
    assert torch.equal(network.head.weight, head.weight)
    with pytest.raises(WeightsError, match=r"2 mismatched \(head\.bias \(3,\) for \(2,\)"):
        transfer(Classifier(encoder(), classes=2), path, ["head"])


def test_a_public_encoder_of_another_depth_is_refused(tmp_path: Path) -> None:
    torch.save(imagenet(), tmp_path / "public.pth")
    network = Classifier(TimmEncoder("resnet34"), 2)
    before = copy(network.state_dict())
    with pytest.raises(WeightsError, match=r"120 matched; 80 missing \(image_encoder\.model\.layer1\.2"):
        transfer(network, tmp_path / "public.pth", ["image_encoder"], key_map="resnet")
    assert differing(network, before) == set()


def test_a_public_unet_serves_encoder_and_decoder(tmp_path: Path) -> None:
    source = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=1, decoder_channels=(32, 16, 8, 8, 4))
    torch.save(source.state_dict(), tmp_path / "unet.pth")
    image_encoder = TimmEncoder("resnet18")
    decoder = PyramidDecoder(image_encoder.channels, image_encoder.strides, (32, 16, 8, 8, 4))
    network = transfer(Segmenter(image_encoder, decoder), tmp_path / "unet.pth", BOTH, key_map="smp_unet").eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(image), source.eval()(image), atol=1e-4, rtol=1e-4)


def test_start_card(files: dict[str, Path], tmp_path: Path) -> None:
    assert start_card(files["encoder"]) == CARD | {"part": "encoder"}
    assert start_card(None) == {}
    assert start_card(tmp_path / "public.pth") == {}
    assert start_card(tmp_path / "public.safetensors") == {}
    (tmp_path / "public.json").write_text("{", encoding="utf-8")
    assert start_card(tmp_path / "public.pth") == {}  # that file is no card of ours
    with pytest.raises(WeightsError, match=r"no readable card public\.json"):
        start_card(tmp_path / "public.safetensors")
