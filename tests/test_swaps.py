"""Every swap of an encoder builds from its config line and trains: one whole step, a gradient for each parameter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from workflows import CONFIGS, ONE_STEP, TINY_TEXT, one_step, with_handlers, workflow

from bundle.data.errors import DataError
from bundle.data.tokenizer_files import load_tokenizer, tokenizer_sha256

BACKBONES = sorted(path.stem for path in CONFIGS.glob("backbone_*.yaml"))
TEXTS = sorted(path.stem for path in CONFIGS.glob("text_*.yaml"))


def check_step(store: Path, output: Path, names: tuple[str, ...], values: dict[str, Any]) -> None:
    """Property check and one step; every trained parameter gets a gradient, as DDP demands."""
    with workflow(store, output, names, {**values, **ONE_STEP}) as made:
        assert made.check_properties() == []
        gradients = one_step(made)
        network = made.parser.get_parsed_content("network_def")
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
    for part, _ in network.named_children():
        assert any(bool(g.any()) for name, g in gradients.items() if name.startswith(f"{part}.")), part


@pytest.mark.parametrize("overlay", BACKBONES)
def test_backbone(phantom_store: Path, tmp_path: Path, overlay: str) -> None:
    check_step(phantom_store, tmp_path, ("pretrain", overlay), TINY_TEXT)


def test_pyramid_of_a_vit_has_gradients_before_the_decoder_starts(phantom_store: Path, tmp_path: Path) -> None:
    """Only the decoder reads its finer maps, and DDP waits for the gradients of the layers that make them."""
    values = {**TINY_TEXT, **ONE_STEP, **with_handlers("DelayedDecoder"), "image_name": "vit_tiny_patch16_224"}
    with workflow(phantom_store, tmp_path, ("pretrain", "backbone_vit_b16"), {**values, "pa_start_step": 1}) as made:
        gradients = one_step(made)
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert not any(bool(gradient.any()) for name, gradient in gradients.items() if name.startswith("decoder."))


@pytest.fixture(scope="module")
def bert(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Local folder of a small pre-trained BERT with the store's tokenizer, as the hub's folders are."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    shutil.copytree(phantom_store / "tokenizer", folder, dirs_exist_ok=True)
    sizes = {name: value for name, value in TINY_TEXT["text_source"].items() if name != "vocab_size"}
    BertModel(BertConfig(vocab_size=300, **sizes)).save_pretrained(folder)
    return folder


def as_cxr_bert(folder: Path) -> None:
    """Write the model's config as that of CXR-BERT, which names code of its own."""
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "configuration_cxrbert.CXRBertConfig", "AutoModel": "modeling_cxrbert.CXRBertModel"}
    config |= {"model_type": "cxr-bert", "projection_size": 128, "auto_map": code}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("overlay", TEXTS)
def test_text_encoder(phantom_store: Path, tmp_path: Path, bert: Path, overlay: str) -> None:
    values: dict[str, Any] = {}
    if overlay != "text_tiny":
        folder = tmp_path / "bert"
        shutil.copytree(bert, folder)
        values = {"text_source": str(folder), "frozen_text_layers": 1}
        if overlay == "text_cxrbert":
            as_cxr_bert(folder)
    check_step(phantom_store, tmp_path, ("pretrain", "backbone_resnet18", overlay), values)


def test_tokenizer_of_cxr_bert_is_taken_under_its_real_name_only(phantom_store: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(phantom_store / "tokenizer")
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "cxr-bert"}')
    settings = {"do_lower_case": True, "tokenizer_class": "CXRBertTokenizer"}
    code = {"auto_map": {"AutoTokenizer": ["configuration_cxrbert.CXRBertTokenizer", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | code))
    with pytest.raises(DataError, match="can't be loaded"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "BertTokenizer"}))
    assert tokenizer_sha256(load_tokenizer(tmp_path)) == tokenizer_sha256(tokenizer)


def test_frozen_text_layers_are_left_alone(phantom_store: Path, tmp_path: Path, bert: Path) -> None:
    values = {"text_source": str(bert), "frozen_text_layers": 1, **ONE_STEP}
    with workflow(phantom_store, tmp_path, ("pretrain", "backbone_resnet18", "text_bioclinicalbert"), values) as made:
        text = made.parser.get_parsed_content("network_def").text_encoder.model
        before = {name: parameter.clone() for name, parameter in text.named_parameters()}
        one_step(made)
    changed = {name for name, parameter in text.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed
    assert {name.split(".layer.")[1][0] for name in changed if ".layer." in name} == {"1"}
    assert not any(name.startswith("embeddings") for name in changed)
