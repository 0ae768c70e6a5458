"""The control without image: what it reads, and that nothing of it touches the network it stands beside."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bundle.losses.answers import AnswerLoss
from bundle.losses.on_output import OnOutput
from bundle.losses.weighted_sum import WeightedSum
from bundle.networks.blocks.answer_head import AnswerHead
from bundle.networks.blocks.question_fusion import QuestionFusion
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.nets.answerer import Answerer
from bundle.networks.nets.question_only import QuestionOnly

BERT = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def text_encoder(pooling: Any = "tokens") -> TextEncoder:
    return TextEncoder(BERT, freeze_layers=0, freeze_embeddings=False, pooling=pooling)


def network(control: bool) -> Answerer:
    torch.manual_seed(0)
    encoder = TimmEncoder("resnet18", channels=(8, 8, 16, 16), stem_width=8)
    fusion = QuestionFusion(16, 16, width=16, dropout=0.0)
    parts = (encoder, text_encoder(), fusion, AnswerHead(fusion.joint_width, 5))
    return Answerer(*parts, QuestionOnly(text_encoder(), 5) if control else None)


def test_it_reads_the_first_token_and_the_mean_of_those_that_are_there() -> None:
    torch.manual_seed(0)
    control = QuestionOnly(text_encoder(), 5).eval()
    with torch.no_grad():
        words = control.text_encoder(IDS, MASK)
        joint = torch.stack(
            [torch.cat([words[0, 0], words[0].mean(0)]), torch.cat([words[1, 0], words[1, :3].mean(0)])]
        )
        torch.testing.assert_close(control(IDS, MASK), control.head(joint))
        torch.testing.assert_close(control(IDS[1:, :3], MASK[1:, :3]), control(IDS, MASK)[1:])


def test_a_pooling_text_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="has the pooling 'mean'; build it with pooling 'tokens'"):
        QuestionOnly(text_encoder("mean"), 5)


def test_the_network_trains_to_the_bit_as_without_control() -> None:
    image, target = torch.randn(2, 1, 64, 64), torch.tensor([1, 4])
    trained = []
    for control in (False, True):
        answerer = network(control).train()
        optimizer = torch.optim.AdamW(answerer.parameters(), 1e-2)
        for _ in range(3):
            output = answerer(image, IDS, MASK)
            losses = [torch.nn.functional.cross_entropy(logits, target) for logits in output.values()]
            optimizer.zero_grad()
            sum(losses).backward()  # type: ignore[union-attr]
            torch.nn.utils.clip_grad_norm_(answerer.without_control().parameters(), 0.1)
            optimizer.step()
        trained.append(answerer.state_dict())
    alone, beside = trained
    assert {name.split(".")[0] for name in beside.keys() - alone.keys()} == {"question_only"}
    assert [name for name, value in alone.items() if not torch.equal(value, beside[name])] == []


def test_it_sees_no_image_and_begins_with_the_network_s_words() -> None:
    answerer = network(control=True).align_control().eval()
    image = torch.randn(2, 1, 64, 64)
    first, other = (answerer(x, IDS, MASK)["question_only_logits"] for x in (image, image.flip(0)))
    assert torch.equal(first, other)
    control = answerer.question_only
    assert control is not None
    own, copied = (encoder.state_dict() for encoder in (answerer.text_encoder, control.text_encoder))
    assert all(torch.equal(own[name], copied[name]) for name in own)
    assert {*own} == {*copied}
    assert answerer.text_encoder.model is not control.text_encoder.model
    assert network(control=False).align_control().question_only is None


def test_a_step_needs_no_values() -> None:
    answerer = network(control=True).train().to("meta")
    output = answerer(torch.zeros(2, 1, 64, 64, device="meta"), IDS.to("meta"), MASK.to("meta"))
    target = {"label": torch.zeros(2, 5, device="meta")}
    terms = {name: OnOutput(name, AnswerLoss()) for name in output}
    WeightedSum(terms)(output, target).backward()
    assert [name for name, parameter in answerer.named_parameters() if parameter.grad is None] == []


def test_frozen_words_are_frozen_in_both() -> None:
    answerer = network(control=True).freeze(["text_encoder"]).train()
    sum(logits.sum() for logits in answerer(torch.randn(2, 1, 64, 64), IDS, MASK).values()).backward()
    trained = {name for name, parameter in answerer.named_parameters() if parameter.grad is not None}
    parts = {".".join(name.split(".")[: 1 + name.startswith("question_only")]) for name in trained}
    assert parts == {"image_encoder", "fusion", "head", "question_only.head"}
    assert answerer.question_only is not None
    assert not answerer.question_only.text_encoder.training
    assert answerer.question_only.head.training
