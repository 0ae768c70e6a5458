from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from bundle.handlers.save_networks import SaveNetworks
from bundle.networks.weights.checkpoint import read_card

CARD = {"method": "g2d", "preset": "default", "data": {"name": "x"}, "image_mean": 0.4, "image_std": 0.2}


def network() -> torch.nn.Module:
    module = torch.nn.Module()
    module.image_encoder, module.decoder, module.text = (torch.nn.Linear(2, 2) for _ in range(3))
    return module


def test_parts_and_cards(tmp_path):
    trained = network()
    evaluator = SimpleNamespace(state=SimpleNamespace(metrics={"retrieval_r5_image_to_text": 0.5}))
    parts = {"encoder": ["image_encoder"], "encoder_decoder": ["image_encoder", "decoder"], "model": []}
    save = SaveNetworks(tmp_path / "models", SimpleNamespace(module=trained), parts, CARD, evaluator)
    save(SimpleNamespace(state=SimpleNamespace(iteration=7)))
    written = {name: set(load_file(tmp_path / "models" / f"{name}.safetensors")) for name in parts}
    keys = {name: {f"{name}.weight", f"{name}.bias"} for name in ("image_encoder", "decoder", "text")}
    assert written == {
        "encoder": keys["image_encoder"],
        "encoder_decoder": keys["image_encoder"] | keys["decoder"],
        "model": keys["image_encoder"] | keys["decoder"] | keys["text"],
    }
    card = read_card(tmp_path / "models" / "encoder.safetensors")
    assert card["metrics"] == {"retrieval_r5_image_to_text": 0.5}
    assert card["iterations"] == 7
    assert card["image_std"] == 0.2


def test_missing_part_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="no 'decoder_head'"):
        SaveNetworks(tmp_path, network(), {"x": ["decoder_head"]}, CARD)


def test_tokenizer_goes_along_and_is_replaced_whole(tmp_path):
    source = tmp_path / "store" / "tokenizer"
    source.mkdir(parents=True)
    (source / "tokenizer.json").write_text("new")
    target = tmp_path / "models" / "tokenizer"
    target.mkdir(parents=True)
    (target / "old.json").write_text("of an earlier run")
    save = SaveNetworks(tmp_path / "models", network(), {"model": []}, CARD, tokenizer=source)
    save(SimpleNamespace(state=SimpleNamespace(iteration=7)))
    assert {path.name: path.read_text() for path in target.iterdir()} == {"tokenizer.json": "new"}
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "model.json",
        "model.safetensors",
        "tokenizer",
    ]
