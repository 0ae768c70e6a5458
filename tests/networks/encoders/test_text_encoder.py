from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.weights.errors import WeightsError

TINY = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
LENGTHS = [3, 4, 4, 6, 9, 9, 12]


def encoder(**options: Any) -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(TINY, **({"freeze_layers": 0, "freeze_embeddings": False} | options))


def reports(lengths: list[int], width: int | None = None, pad: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A right-padded batch: token numbers and attention mask [B, L]."""
    width = width or max(lengths)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 60, mask.shape, generator=torch.Generator().manual_seed(1))
    return ids.where(mask.bool(), torch.tensor(pad)), mask


def gradients(network: TextEncoder, output: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def test_bert_base_has_the_published_counts() -> None:
    with torch.device("meta"):
        network = TextEncoder({"vocab_size": 28_996}, freeze_layers=9, freeze_embeddings=False)
    counts = {True: 0, False: 0}
    for parameter in network.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    assert counts[False] == 63_790_848
    assert sum(counts.values()) == 108_310_272 - 590_592  # the pooler, which nothing uses


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_packing_tokens_changes_nothing(pooling: Any) -> None:
    network = encoder(pooling=pooling).eval()
    ids, mask = reports(LENGTHS, width=20)
    whole, packed = network(ids, mask), network(ids, mask, LENGTHS)
    assert whole.shape == (7, 16)
    torch.testing.assert_close(packed, whole, rtol=0, atol=1e-5)
    expected = gradients(network, network(ids, mask))
    for name, gradient in gradients(network, network(ids, mask, LENGTHS)).items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-5, msg=name)


def test_tokens_are_computed_at_full_width_padding_too() -> None:
    network = encoder(pooling="tokens").eval()
    ids, mask = reports(LENGTHS, width=14)
    whole, with_lengths = network(ids, mask), network(ids, mask, LENGTHS)
    assert whole.shape == (7, 14, 16)
    torch.testing.assert_close(with_lengths, whole)
    assert (whole[~mask.bool()].abs().sum(-1) > 0).all()  # the released projection's statistics include them


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.sampled_from(["cls", "mean"]), st.integers(0, 5))
def test_any_lengths_in_any_order(lengths: list[int], pooling: Any, surplus: int) -> None:
    network = encoder(pooling=pooling).eval()
    ids, mask = reports(lengths, width=max(lengths) + surplus)
    with torch.no_grad():
        torch.testing.assert_close(network(ids, mask, lengths), network(ids, mask), rtol=0, atol=1e-5)


def test_work_is_done_on_tokens_only() -> None:
    network = encoder()
    shapes = []
    for layer in network.model.encoder.layer:
        for part in (layer.attention.self.key, layer.intermediate):
            part.register_forward_pre_hook(lambda module, inputs: shapes.append(tuple(inputs[0].shape)))
    network(*reports(LENGTHS, width=20), LENGTHS)
    assert shapes == [(47, 16)] * 5 + [(7, 16)]  # 47 tokens; the last layer goes on with the first of each report


def test_the_cls_row_is_that_of_the_full_layer_with_its_gradients() -> None:
    ids, mask = reports(LENGTHS)
    short, full = encoder().eval(), encoder(pooling="tokens").eval()
    output = short(ids, mask)
    torch.testing.assert_close(output, full(ids, mask)[:, 0], rtol=0, atol=1e-6)
    expected = gradients(full, full(ids, mask)[:, 0])
    for name, gradient in gradients(short, output).items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-5, msg=name)


def test_the_last_layer_asks_for_the_cls_row_only() -> None:
    network = encoder()
    shapes = []
    last = network.model.encoder.layer[-1]
    for part in (last.attention.self.query, last.attention.self.key, last.intermediate):
        part.register_forward_pre_hook(lambda module, inputs: shapes.append(tuple(inputs[0].shape)))
    network(*reports(LENGTHS))
    assert shapes == [(7, 12, 16), (7, 16), (7, 16)]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_does_not_reach_the_output(pooling: Any) -> None:
    network = encoder(pooling=pooling).eval()
    ids, mask = reports([4, 7])
    other, wide = reports([4, 7], width=11, pad=9)
    other[:, :7] = torch.where(mask.bool(), ids, 9)
    torch.testing.assert_close(network(other, wide), network(ids, mask), rtol=0, atol=1e-6)
    torch.testing.assert_close(network(ids[:1, :4], mask[:1, :4]), network(ids, mask)[:1], rtol=0, atol=1e-6)


def test_mean_is_over_the_tokens() -> None:
    ids, mask = reports([3, 5])
    tokens, mean = encoder(pooling="tokens").eval()(ids, mask), encoder(pooling="mean").eval()(ids, mask)
    torch.testing.assert_close(mean[0], tokens[0, :3].sum(0) / 3)
    torch.testing.assert_close(mean[1], tokens[1].sum(0) / 5)


@pytest.mark.parametrize("pooling", ["cls", "mean", "tokens"])
def test_no_trained_parameter_is_unused(pooling: Any) -> None:
    network = encoder(pooling=pooling)
    assert all(gradient.abs().sum() > 0 or "key.bias" in name for name, gradient in _gradients_of(network).items())


def _gradients_of(network: TextEncoder) -> dict[str, torch.Tensor]:
    return gradients(network, network(*reports(LENGTHS), LENGTHS))


def test_frozen_parts_get_no_gradient() -> None:
    network = encoder(freeze_layers=2, freeze_embeddings=True)
    network(*reports(LENGTHS), LENGTHS).square().sum().backward()
    graded = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert graded == {name for name, _ in network.named_parameters() if name.startswith("model.encoder.layer.2.")}


def test_frozen_layers_pass_the_gradient_to_trained_embeddings() -> None:
    network = encoder(freeze_layers=2, freeze_embeddings=False)
    network(*reports(LENGTHS), LENGTHS).square().sum().backward()
    assert network.model.embeddings.word_embeddings.weight.grad is not None
    assert network.model.encoder.layer[1].output.dense.weight.grad is None


@pytest.mark.parametrize("lengths", [LENGTHS, None])
def test_frozen_layers_in_bf16_give_the_same_bits_under_autocast(lengths: list[int] | None) -> None:
    exact = encoder(freeze_layers=2, freeze_embeddings=True)
    small = encoder(freeze_layers=2, freeze_embeddings=True, frozen_dtype=torch.bfloat16)
    assert small.model.encoder.layer[1].output.dense.weight.dtype == torch.bfloat16
    assert {p.dtype for p in small.parameters() if p.requires_grad} == {torch.float32}
    ids, mask = reports(LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(small.eval()(ids, mask, lengths), exact.eval()(ids, mask, lengths))


def save(model: transformers.PreTrainedModel, folder: Path) -> str:
    model.save_pretrained(folder)
    return str(folder)


def tiny(family: str) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    if family == "distilbert":
        config = transformers.DistilBertConfig(
            vocab_size=60, dim=16, n_layers=3, n_heads=4, hidden_dim=24, max_position_embeddings=32
        )
        return transformers.DistilBertModel(config)
    if family == "electra":
        return transformers.ElectraModel(transformers.ElectraConfig(**TINY, embedding_size=8))
    if family == "roberta":
        return transformers.RobertaModel(transformers.RobertaConfig(**TINY, pad_token_id=1))
    return transformers.BertForMaskedLM(transformers.BertConfig(**TINY))


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_a_local_folder_gives_what_transformers_gives(family: str, tmp_path: Path) -> None:
    model = tiny(family).eval()
    pad = model.config.pad_token_id
    network = TextEncoder(save(model, tmp_path), freeze_layers=1).eval()
    ids, mask = reports(LENGTHS, pad=pad)
    with torch.no_grad():
        expected = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    assert network.width == 16
    torch.testing.assert_close(network(ids, mask, LENGTHS), expected, rtol=0, atol=1e-5)
    network.train()(ids, mask, LENGTHS).square().sum().backward()
    parameters = dict(network.named_parameters())
    assert [name for name, value in parameters.items() if value.requires_grad and value.grad is None] == []
    assert not any(value.requires_grad for name, value in parameters.items() if "embeddings" in name)


def test_roberta_counts_positions_from_its_padding(tmp_path: Path) -> None:
    model = tiny("roberta").eval()
    network = TextEncoder(save(model, tmp_path), freeze_layers=0).eval()
    ids, mask = reports([5], pad=1)
    moved = torch.arange(2, 7)[None]
    expected = model(input_ids=ids, attention_mask=mask, position_ids=moved).last_hidden_state[:, 0]
    torch.testing.assert_close(network(ids, mask), expected, rtol=0, atol=1e-6)
    assert network.max_length == 30
    network(*reports([30], pad=1))
    with pytest.raises(ValueError, match="31 tokens do not fit the text encoder, which takes 30"):
        network(*reports([31], pad=1))


def test_cxr_bert_is_read_as_the_bert_it_is(tmp_path: Path) -> None:
    model = tiny("bert").eval()
    folder = save(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "cxr-bert", "projection_size": 8, "auto_map": {"AutoModel": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    network = TextEncoder(folder, freeze_layers=0).eval()
    ids, mask = reports(LENGTHS)
    expected = model.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    torch.testing.assert_close(network(ids, mask), expected, rtol=0, atol=1e-6)


def test_half_precision_files_are_loaded_in_fp32(tmp_path: Path) -> None:
    network = TextEncoder(save(tiny("bert").half(), tmp_path), freeze_layers=0)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert all(module.training for module in network.modules())


def test_a_folder_with_missing_weights_is_refused(tmp_path: Path) -> None:
    model = tiny("bert")
    del model.bert.encoder.layer[2]
    folder = save(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(WeightsError, match=r"lacks 16 tensors, such as encoder\.layer\.2\."):
        TextEncoder(folder, freeze_layers=0)


@pytest.mark.parametrize("source", ["no/such-hub-name", "/no/such/folder"])
def test_what_is_not_at_hand_is_one_sentence(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=f"'{source}' cannot be loaded") as caught:
        TextEncoder(source)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match=r"tokenizer has 61 words, .* only 60"):
        encoder(vocab_size=61)
    assert encoder(vocab_size=60).vocab_size == 60
    with pytest.raises(ValueError, match="has 3 layers; 9 of them cannot be frozen"):
        TextEncoder(TINY)
    with pytest.raises(ValueError, match="no pooling 'max'"):
        encoder(pooling="max")
    with pytest.raises(ValueError, match="no value hiden_size"):
        TextEncoder(TINY | {"hiden_size": 16})


def test_more_tokens_than_positions_are_refused_but_not_more_padding() -> None:
    network = encoder().eval()
    ids, mask = reports([5, 6], width=40)
    with pytest.raises(ValueError, match="40 tokens do not fit"):
        network(ids, mask)
    torch.testing.assert_close(network(ids, mask, [5, 6]), network(ids[:, :6], mask[:, :6]), rtol=0, atol=1e-6)


def test_a_family_is_built_from_the_values_that_its_card_holds() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    values = {"model_type": "roberta", "vocab_size": 40, "max_position_embeddings": 24, **sizes}
    encoder = TextEncoder(values, 0, False, pooling="tokens").eval()
    assert encoder.max_length == 22  # positions count from 2, behind the padding's
    again = TextEncoder(encoder.model.config.to_diff_dict(), 0, False, pooling="tokens").eval()
    again.load_state_dict(encoder.state_dict())
    ids = torch.tensor([[0, 7, 9, 2]])
    torch.testing.assert_close(again(ids, torch.ones_like(ids)), encoder(ids, torch.ones_like(ids)))
    as_bert = TextEncoder({name: value for name, value in values.items() if name != "model_type"}, 0, False)
    assert type(as_bert.model) is not type(encoder.model)
    with pytest.raises(ValueError, match="no text encoder of the kind 'parrot'"):
        TextEncoder({"model_type": "parrot"}, 0, False)
