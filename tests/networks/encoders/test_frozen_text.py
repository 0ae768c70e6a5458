"""Frozen text encoders: the three pooled vectors, masks, freezing, weights of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from adaptor_parts import BERT, reports
from safetensors.torch import save_file

from bundle.networks.encoders.frozen_text import FrozenText, feature_mask
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.weights.errors import WeightsError
from bundle.networks.weights.fingerprint import fingerprint


def saved(folder: Path, pooler: bool = True) -> tuple[transformers.BertModel, str]:
    torch.manual_seed(2)
    model = transformers.BertModel(transformers.BertConfig(**BERT), add_pooling_layer=pooler).eval()
    model.save_pretrained(folder)
    return model, str(folder)


@pytest.mark.parametrize("pooled", ["cls", "pooler", "mean"])
def test_it_gives_what_transformers_gives(pooled: Any, tmp_path: Path) -> None:
    model, folder = saved(tmp_path)
    ids, mask = reports([3, 5, 8])
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask)
    tokens = expected.last_hidden_state
    first = {
        "cls": tokens[:, 0],
        "pooler": expected.pooler_output,
        "mean": torch.stack([tokens[row, :length].mean(0) for row, length in enumerate((3, 5, 8))]),
    }
    features = FrozenText(folder, pooled=pooled)(ids, mask, [3, 5, 8])
    assert features.shape == (3, 9, 16)
    torch.testing.assert_close(features[:, 0], first[pooled])
    real = feature_mask(mask).bool()
    assert real.sum(1).tolist() == [4, 6, 9]
    torch.testing.assert_close(features[:, 1:][mask.bool()], tokens[mask.bool()])


@pytest.mark.parametrize("pooled", ["cls", "pooler", "mean"])
def test_a_report_does_not_depend_on_its_batch(pooled: Any) -> None:
    encoder = FrozenText(BERT, pooled=pooled)
    ids, mask = reports([3, 5, 8])
    torch.testing.assert_close(encoder(ids[:1, :3], mask[:1, :3])[0, :4], encoder(ids, mask)[0, :4])


@pytest.mark.parametrize("pooled", ["cls", "pooler", "mean"])
def test_it_stays_in_evaluation_without_gradients(pooled: Any) -> None:
    encoder = FrozenText(BERT, pooled=pooled).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    ids, mask = reports([3, 5])
    first, second = encoder(ids, mask), encoder(ids, mask)
    assert torch.equal(first, second)  # no dropout
    assert not first.requires_grad


def test_pooled_vectors_are_told_apart() -> None:
    torch.manual_seed(0)
    cls = FrozenText(BERT)
    mean = FrozenText(BERT, pooled="mean")
    mean.load_state_dict(cls.state_dict())
    assert fingerprint(cls) != fingerprint(mean)


def test_a_run_leaves_weights_for_it(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = TextEncoder(BERT, freeze_layers=0, freeze_embeddings=False)
    state = {f"text_encoder.{name}": tensor for name, tensor in source.state_dict().items()}
    save_file(state | {"image_encoder.bias": torch.zeros(1)}, tmp_path / "model.safetensors")
    encoder = FrozenText(BERT, weights=tmp_path / "model.safetensors")
    ids, mask = reports([3, 5])
    torch.testing.assert_close(encoder(ids, mask)[:, 0], source.eval()(ids, mask))
    assert encoder.model.config.hidden_size == encoder.width == 16


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pooled vector 'max'; take one of cls, pooler, mean"):
        FrozenText(BERT, pooled="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="61 words"):
        FrozenText(BERT, vocab_size=61)
    with pytest.raises(ValueError, match="33 tokens do not fit"):
        FrozenText(BERT)(*reports([33]))
    _, folder = saved(tmp_path / "bert", pooler=False)
    assert FrozenText(folder, pooled="cls").width == 16
    with pytest.raises(WeightsError, match="lacks 2 tensors, such as pooler"):
        FrozenText(folder, pooled="pooler")
    distil = transformers.DistilBertModel(transformers.DistilBertConfig(vocab_size=60, dim=16, n_layers=1, n_heads=2))
    distil.save_pretrained(tmp_path / "distil")
    with pytest.raises(WeightsError, match="has no pooler"):
        FrozenText(tmp_path / "distil", pooled="pooler")
