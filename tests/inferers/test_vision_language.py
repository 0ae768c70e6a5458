import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pretrained import pretrained_run
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from bundle.data.tokenizer_files import load_tokenizer
from bundle.inferers.vision_language import VisionLanguageModel
from bundle.networks.weights.checkpoint import read_card
from bundle.networks.weights.errors import WeightsError
from bundle.transforms.tokenize import train_tokenizer

TEXTS = ["There is a left pleural effusion.", "No pneumothorax.", "The heart is normal in size."]


@pytest.fixture(scope="module")
def trained(phantom_store, tmp_path_factory):
    """A run that was moved after training, with the network as it was, and an image larger than the network's."""
    folder, network = pretrained_run(phantom_store, tmp_path_factory.mktemp("runs"), {"crop_size": 48})
    return folder.rename(tmp_path_factory.mktemp("moved") / "run"), network


@pytest.fixture(scope="module")
def model(trained):
    return VisionLanguageModel.from_run(trained[0], device="cpu")


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "copy", ignore=shutil.ignore_patterns("checkpoints", "pictures")))


def test_run_needs_no_store(trained, tmp_path):
    run = copied(trained[0], tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["dataset_dir"] = "/no/such/store"
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    loaded = VisionLanguageModel.from_run(run, device="cpu")
    own, other = trained[1].state_dict(), loaded.network.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_text_embeddings_are_those_of_the_network(trained, model, phantom_store):
    tokenizer = load_tokenizer(phantom_store / "tokenizer")
    for text, embedding in zip(TEXTS, model.embed_texts(TEXTS), strict=True):
        tokens = tokenizer(text, return_tensors="pt")
        expected = trained[1].encode_text(tokens["input_ids"], tokens["attention_mask"])[0]
        torch.testing.assert_close(embedding, expected, atol=1e-6, rtol=0)


def test_images_go_through_what_validation_does(trained, model, phantoms, phantom_store):
    """The store holds the fitted images; validation cuts out the centre and normalises."""
    items = json.loads((phantoms / "datalist.json").read_text())["validation"]
    batch = PackedDataset(phantom_store, "validation").__getitems__(range(len(items)))
    order = [batch["id"].index(item["id"]) for item in items]
    centre = batch["image"][order][..., 8:56, 8:56]
    expected = trained[1].encode_image((centre.float() / 255 - 0.449) / 0.226)
    paths = [phantoms / item["image"] for item in items]
    embedded = model.embed_files(paths, batch_size=3)
    torch.testing.assert_close(embedded, expected["image_embedding"], atol=1e-5, rtol=0)
    torch.testing.assert_close(model.embed_images(centre), expected["image_embedding"], atol=1e-5, rtol=0)
    square, geometry = model.load(paths[0])
    np.testing.assert_array_equal(square, centre[0, 0])
    assert geometry.side == 48
    output = model(model.prepare(centre))
    torch.testing.assert_close(output["logits"], expected["logits"])
    torch.testing.assert_close(output["image_embedding"], expected["image_embedding"])


def test_patches_are_those_of_the_network(trained, model):
    image = torch.randn(2, 1, 48, 48)
    projected, values = model.patches(image)
    expected = trained[1].encode_patches(image)
    assert projected.shape == values.shape == (2, 128, 3, 3)
    torch.testing.assert_close(projected, expected[0])
    torch.testing.assert_close(values, expected[1])
    pooled, _ = model.network.pool(projected)
    torch.testing.assert_close(model.embed(image), F.normalize(pooled, dim=-1))


def test_each_distinct_text_is_encoded_once(model, monkeypatch):
    encoded = []
    encode = model.network.encode_text

    def counting(ids, mask, lengths):
        encoded.extend(lengths)
        return encode(ids, mask, lengths)

    monkeypatch.setattr(model.network, "encode_text", counting)
    many = [f"{text} {number}" for number in range(15) for text in TEXTS]
    embedded = model.embed_texts([*many, *many, "No   pneumothorax.\n", "No pneumothorax."])
    assert len(encoded) == 46
    assert torch.equal(embedded[:45], embedded[45:90])
    assert torch.equal(embedded[-1], embedded[-2])
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(92))
    alone = torch.cat([model.embed_texts([text]) for text in many])
    torch.testing.assert_close(embedded[:45], alone, atol=1e-6, rtol=0)


def test_long_text_is_cut_as_in_training(model):
    model.max_length, before = 8, model.max_length
    try:
        cut, longer = model.embed_texts(["no pneumothorax " * 20, "no pneumothorax " * 30])
    finally:
        model.max_length = before
    assert torch.equal(cut, longer)


def test_stays_in_eval_mode(model):
    assert not any(module.training for module in model.train().modules())


def test_pretrained_text_encoder_is_not_needed_again(phantom_store, tmp_path):
    """A published encoder comes as a folder, or from the hub; afterwards its weights are among the run's."""
    config = BertConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    values = {"text_source": str(tmp_path / "bert"), "precision": "bf16"}
    run, network = pretrained_run(phantom_store, tmp_path / "runs", values)
    shutil.rmtree(tmp_path / "bert")
    model = VisionLanguageModel.from_run(run, device="cpu")
    assert model.precision == "bf16"
    own, other = network.text_encoder.state_dict(), model.network.text_encoder.state_dict()
    assert {name: tensor.dtype for name, tensor in own.items()} == {
        name: tensor.dtype for name, tensor in other.items()
    }
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert model.embed_texts(TEXTS).dtype == torch.float32
    full = VisionLanguageModel.from_run(run, device="cpu", precision="fp32").embed_texts(TEXTS)
    torch.testing.assert_close(full, model.embed_texts(TEXTS), atol=0.05, rtol=0)


def test_absent_run_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere: this is no finished pre-training run.* no config.yaml"):
        VisionLanguageModel.from_run(tmp_path / "nowhere")


def test_run_without_text_encoder_is_refused(trained, tmp_path):
    run = copied(trained[0], tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["network_def"]["text_encoder"]
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with pytest.raises(WeightsError, match=r"has no text encoder; give a run of configs/pretrain.yaml"):
        VisionLanguageModel.from_run(run)


def test_tokenizer_must_be_there_and_the_same(trained, phantom_store, tmp_path):
    run = copied(trained[0], tmp_path)
    shutil.rmtree(run / "models" / "tokenizer")
    with pytest.raises(DataError, match="has no models/tokenizer; give `tokenizer`"):
        VisionLanguageModel.from_run(run, device="cpu")
    VisionLanguageModel.from_run(run, device="cpu", tokenizer=phantom_store / "tokenizer")
    train_tokenizer(["another tokenizer"], tmp_path / "other", 100)
    with pytest.raises(DataError, match=r"is not the one that .* was trained with"):
        VisionLanguageModel.from_run(run, device="cpu", tokenizer=tmp_path / "other")


@pytest.mark.parametrize(("texts", "message"), [([], "no text to embed"), (["fine", " \n"], "text 1 of 2 is empty")])
def test_empty_text_is_refused(model, texts, message):
    with pytest.raises(DataError, match=message):
        model.embed_texts(texts)


def test_no_image_is_refused(model):
    with pytest.raises(DataError, match="no radiograph to embed"):
        model.embed_files([])


def test_card_tells_the_encoder(trained):
    card = read_card(trained[0] / "models" / "model.safetensors")
    assert card["text_encoder"]["hidden_size"] == 32
    assert card["text_encoder"]["model_type"] == "bert"
