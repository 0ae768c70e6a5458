from __future__ import annotations

import functools
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bundle.networks.blocks.unet import PyramidDecoder
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.weights.checkpoint import CARD_FIELDS, load_weights, read_card, save_weights
from bundle.networks.weights.errors import WeightsError
from bundle.networks.weights.key_maps import rename, smp_unet
from bundle.networks.weights.weights_file import read_weights

CARD = dict.fromkeys(CARD_FIELDS) | {"method": "g2d", "image_mean": 0.449, "tokenizer": {"vocab_size": 60}}


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.second = nn.BatchNorm1d(3)


class Segmenter(nn.Module):
    def __init__(self, in_channels: int = 1, name: str = "resnet50") -> None:
        super().__init__()
        self.image_encoder = TimmEncoder(name, in_channels=in_channels)
        self.decoder = PyramidDecoder(self.image_encoder.channels, self.image_encoder.strides)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.image_encoder(image))


def same(network: nn.Module, other: nn.Module) -> bool:
    pairs = zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(one, two) for one, two in pairs)


def test_weights_and_card_come_back(tmp_path: Path) -> None:
    network, fresh = Pair(), Pair()
    path = save_weights(network, tmp_path / "runs" / "pair.safetensors", CARD)
    assert sorted(file.name for file in path.parent.iterdir()) == ["pair.json", "pair.safetensors"]
    assert read_card(path) == CARD
    report = load_weights(fresh, path)
    assert same(network, fresh)
    assert report.complete
    assert report.matched == tuple(sorted(network.state_dict()))
    assert report.summary() == f"{path}: 7 matched; 0 missing; 0 unexpected; 0 mismatched"


def test_tied_and_channels_last_tensors_are_saved(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last))
    network[1].weight = network[0].weight
    path = save_weights(network.state_dict(), tmp_path / "tied.safetensors", CARD)
    state = load_file(path)
    assert torch.equal(state["0.weight"], state["1.weight"])
    assert torch.equal(state["2.weight"], network[2].weight)


def test_what_a_card_does_not_state_is_null_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_weights(Pair(), tmp_path / "pair.safetensors", dict.fromkeys(CARD_FIELDS[:-2], "told"))
    assert read_card(path) == dict.fromkeys(CARD_FIELDS[:-2], "told") | {"metrics": None, "git": None}
    assert caplog.messages == [f"{path}: the card does not state metrics, git"]


def test_numbers_of_numpy_and_torch_go_into_a_card(tmp_path: Path) -> None:
    metrics = {"auc": np.float32(0.5), "dice": torch.tensor([0.25, 1.0]), "list": Path("lists") / "a.json"}
    path = save_weights(Pair(), tmp_path / "pair.safetensors", CARD | {"metrics": metrics})
    assert read_card(path)["metrics"] == {"auc": 0.5, "dice": [0.25, 1.0], "list": "lists/a.json"}


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "pair.safetensors"
    with pytest.raises(ValueError, match=r"cannot express \(set \{1\}\)"):
        save_weights(Pair(), path, CARD | {"metrics": {1}})
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        save_weights(Pair(), tmp_path / "pair.pt", CARD)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WeightsError, match=r"no readable card pair\.json"):
        read_card(path)


def test_an_interrupted_write_leaves_the_old_weights_and_no_wrong_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_weights(Pair(), tmp_path / "pair.safetensors", CARD)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(Pair(), path, CARD | {"method": "other"})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["pair.safetensors"]


@pytest.mark.parametrize("entry", [None, "network", "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.module.", "module._orig_mod."])
def test_training_checkpoints_are_unwrapped(entry: str | None, wrapper: str, tmp_path: Path) -> None:
    network, fresh = Pair(), Pair()
    state: Any = {wrapper + name: tensor for name, tensor in network.state_dict().items()}
    if entry is not None:
        state = {"epoch": 3, entry: state, "optimizer": {"state": {}, "lr": 0.1}}
    torch.save(state, tmp_path / "checkpoint.pt")
    load_weights(fresh, tmp_path / "checkpoint.pt")
    assert same(network, fresh)


def test_the_network_of_a_checkpoint_to_resume_from_is_found(tmp_path: Path) -> None:
    network, fresh = Pair(), Pair()
    objects = {"network": network.state_dict(), "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    torch.save({"objects": objects, "iteration": 5, "random": [torch.zeros(3)]}, tmp_path / "checkpoint.pt")
    assert load_weights(fresh, tmp_path / "checkpoint.pt").complete
    assert same(network, fresh)


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_file_that_would_run_code_is_refused_unread(
    save: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "trap.pth"
    save({"weight": torch.zeros(2), "config": Trap()}, path)
    with pytest.raises(WeightsError, match=r"trap\.pth: .*could run code"):
        read_weights(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["torn.safetensors", "torn.pt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\xff" * 64])
def test_damaged_and_absent_files_are_told(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(WeightsError, match="no such weights file"):
        load_weights(Pair(), path)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=name) as caught:
        load_weights(Pair(), path)
    assert "torn" in str(caught.value)


def test_a_file_without_tensors_is_told(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="no tensors by name"):
        read_weights(tmp_path / "list.pt")


def test_differences_are_named_and_refused_unless_told_otherwise(tmp_path: Path) -> None:
    network, fresh = Pair(), Pair()
    state = network.state_dict()
    state["first.weight"] = torch.zeros(3, 5)
    state["extra"] = state.pop("first.bias")
    path = save_weights(state, tmp_path / "odd.safetensors", CARD)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    with pytest.raises(WeightsError, match=r"odd\.safetensors: 5 matched; 1 missing \(first\.bias\); 1 unexpected"):
        load_weights(fresh, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())
    network.second.weight.data.fill_(7)
    save_weights(state, path, CARD)
    report = load_weights(fresh, path, strict=False)
    assert (report.missing, report.unexpected) == (("first.bias",), ("extra",))
    assert report.mismatched == ("first.weight (3, 5) for (3, 2)",)
    assert fresh.second.weight.tolist() == [7, 7, 7]
    assert torch.equal(fresh.first.weight, before["first.weight"])


def test_a_file_of_which_nothing_fits_is_refused_even_then(tmp_path: Path) -> None:
    path = save_weights({"other": torch.zeros(1)}, tmp_path / "other.safetensors", CARD)
    with pytest.raises(WeightsError, match=r"0 matched.*choose the key map"):
        load_weights(Pair(), path, strict=False)


def test_counters_of_batches_may_be_absent(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in Pair().state_dict().items() if not name.endswith("tracked")}
    assert load_weights(Pair(), save_weights(state, tmp_path / "old.safetensors", CARD)).complete


def test_parts_are_taken_by_prefix_or_renamed(tmp_path: Path) -> None:
    whole = nn.ModuleDict({"image": Pair(), "text": Pair()})
    path = save_weights(whole, tmp_path / "whole.safetensors", CARD)
    part = Pair()
    load_weights(part, path, prefix="text.")
    assert same(part, whole["text"])
    other = nn.ModuleDict({"encoder": Pair()})
    load_weights(other, path, key_map={"image.": "encoder."})
    assert same(other["encoder"], whole["image"])
    with pytest.raises(ValueError, match="no key map 'unet'; take one of resnet, mgca, smp_unet"):
        load_weights(part, path, key_map="unet")


def test_the_first_prefix_that_fits_counts() -> None:
    state = {"a.b.w": torch.zeros(1), "a.w": torch.ones(1), "c": torch.ones(1)}
    assert list(rename(state, {"a.b.": "x.", "a.": "y."})) == ["x.w", "y.w"]


def test_colour_is_summed_for_one_channel_only(tmp_path: Path) -> None:
    path = save_weights(nn.Conv2d(3, 4, 5), tmp_path / "colour.safetensors", CARD)
    colour, grey = nn.Conv2d(3, 4, 5), nn.Conv2d(1, 4, 5)
    load_weights(colour, path)
    load_weights(grey, path)
    image = torch.randn(2, 1, 9, 9)
    torch.testing.assert_close(grey(image), colour(image.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    with pytest.raises(WeightsError, match=r"weight \(4, 3, 5, 5\) for \(4, 2, 5, 5\)"):
        load_weights(nn.Conv2d(2, 4, 5), path)


def randomise(network: nn.Module) -> nn.Module:
    """Norms that are not those of a new network, so that swapped ones show."""
    torch.manual_seed(0)
    for tensor in network.state_dict().values():
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_unet_of_segmentation_models_gives_the_same_logits(name: str, ending: str, tmp_path: Path) -> None:
    theirs = randomise(smp.Unet(name, encoder_weights=None))
    path = tmp_path / f"g2d_encoder_decoder{ending}"
    (save_file if ending == ".safetensors" else torch.save)(theirs.state_dict(), path)
    grey = torch.randn(1, 1, 64, 64)
    expected = theirs(grey.expand(-1, 3, -1, -1))
    for channels in (1, 3):
        ours = Segmenter(channels, name).eval()
        assert load_weights(ours, path, key_map="smp_unet").complete
        logits = ours(grey.expand(-1, channels, -1, -1))
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))
    assert expected.std() > 1e-3


def test_a_unet_is_mapped_to_other_attributes(tmp_path: Path) -> None:
    save_file(smp.Unet("resnet18", encoder_weights=None).state_dict(), tmp_path / "unet.safetensors")
    ours = Segmenter(name="resnet18")
    network = nn.ModuleDict({"backbone": ours.image_encoder, "head": ours.decoder})
    key_map = functools.partial(smp_unet, encoder="backbone", decoder="head")
    assert load_weights(network, tmp_path / "unet.safetensors", key_map).complete
    with pytest.raises(WeightsError, match="no segmentation_models_pytorch U-Net"):
        load_weights(network, save_weights(Pair(), tmp_path / "pair.safetensors", CARD), "smp_unet")


@pytest.mark.parametrize(("key_map", "prefix"), [("resnet", ""), ("mgca", "img_encoder_q.model.")])
def test_public_resnets_fill_the_encoder(key_map: str, prefix: str, tmp_path: Path) -> None:
    theirs = smp.encoders.get_encoder("resnet50", weights=None)
    state: Any = {prefix + name: tensor for name, tensor in randomise(theirs).state_dict().items()}
    state |= {f"{prefix}fc.weight": torch.zeros(1000, 2048), f"{prefix}fc.bias": torch.zeros(1000)}
    if prefix:
        state = {"epoch": 7, "state_dict": state | {"img_encoder_q.global_embed.head.0.weight": torch.zeros(2)}}
    torch.save(state, tmp_path / "public.ckpt")
    encoder = TimmEncoder("resnet50").eval()
    assert load_weights(encoder, tmp_path / "public.ckpt", key_map=key_map).complete
    grey = torch.randn(1, 1, 64, 64)
    for ours, reference in zip(encoder(grey), theirs(grey.expand(-1, 3, -1, -1))[1:], strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4 * float(reference.detach().abs().max()))
