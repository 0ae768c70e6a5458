"""Question answering: fusion, head and the whole network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bundle.networks.blocks.answer_head import AnswerHead
from bundle.networks.blocks.attention_pool import IdentityAttentionPool
from bundle.networks.blocks.question_fusion import QuestionFusion
from bundle.networks.encoders.adapted_encoder import AdaptedImage, PooledFeatures
from bundle.networks.encoders.frozen_image import PyramidTokens, TimmTokens
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.nets.adapted_answerer import AdaptedAnswerer
from bundle.networks.nets.adaptor import Adaptor
from bundle.networks.nets.answerer import Answerer
from bundle.networks.nets.g2d import G2D
from bundle.networks.weights.checkpoint import save_weights
from bundle.networks.weights.errors import WeightsError
from bundle.networks.weights.transfer import transfer

NARROW: dict[str, Any] = {"channels": (8, 8, 16, 16), "stem_width": 8}
BERT = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def text_encoder(pooling: Any = "tokens") -> TextEncoder:
    return TextEncoder(BERT, freeze_layers=0, freeze_embeddings=False, pooling=pooling)


def answerer(image_encoder: Any, width: int, answers: int = 5) -> Answerer:
    fusion = QuestionFusion(width, 16, width=16)
    return Answerer(image_encoder, text_encoder(), fusion, AnswerHead(fusion.joint_width, answers))


def small() -> Answerer:
    torch.manual_seed(0)
    return answerer(TimmEncoder("resnet18", **NARROW), 16)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_head_has_the_published_size() -> None:
    with torch.device("meta"):
        head = AnswerHead(1536, 498)
    assert count(head) == (1536 * 1536 + 1536) + 2 * 1536 + (1536 * 498 + 498)


def test_head_is_what_it_says() -> None:
    torch.manual_seed(0)
    head, joint = AnswerHead(4, 3), torch.randn(2, 4)
    first, norm, _, last = head
    hidden = joint @ first.weight.T + first.bias
    centred = hidden - hidden.mean(1, keepdim=True)
    hidden = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(head(joint), hidden @ last.weight.T + last.bias)


def joined(fusion: QuestionFusion, cells: torch.Tensor, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return fusion.join(cells.mean((2, 3)), cells, words, mask)


def test_fusion_reads_no_padding() -> None:
    torch.manual_seed(0)
    fusion = QuestionFusion(6, 10, width=16).eval()
    image, words = torch.randn(2, 6, 3, 3), torch.randn(2, 5, 10)
    with torch.no_grad():
        joint = joined(fusion, image, words, MASK)
        changed = words.clone()
        changed[1, 3:] = 100.0
        torch.testing.assert_close(joined(fusion, image, changed, MASK), joint)
        torch.testing.assert_close(joined(fusion, image[1:], words[1:, :3], MASK[1:, :3]), joint[1:])
        changed[1, 2] = 100.0
        assert not torch.allclose(joined(fusion, image, changed, MASK)[1], joint[1], atol=1e-3)
    assert joint.shape == (2, fusion.joint_width)


def test_fusion_reads_the_image_where_it_lies() -> None:
    torch.manual_seed(0)
    fusion = QuestionFusion(6, 10, width=16).eval()
    image, words, mask = torch.randn(1, 6, 3, 4), torch.randn(1, 5, 10), torch.ones(1, 5)
    with torch.no_grad():
        joint, mirrored = (joined(fusion, x, words, mask)[:, :16] for x in (image, image.flip(-1)))
    assert not torch.allclose(joint, mirrored, atol=1e-3)
    with torch.no_grad():  # without positions the words could not tell an image from its mirror image
        fusion._positions = lambda cells: torch.zeros(12, 16)  # type: ignore[method-assign]
        joint, mirrored = (joined(fusion, x, words, mask)[:, :16] for x in (image, image.flip(-1)))
        torch.testing.assert_close(joint, mirrored)


@pytest.mark.parametrize("sizes", [{"width": 18}, {"width": 12, "heads": 8}, {"layers": 0}])
def test_fusions_that_cannot_be(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot be built"):
        QuestionFusion(6, 10, **sizes)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_any_encoder_and_every_parameter_gets_a_gradient(name: str) -> None:
    options = {"resnet18": NARROW, "vit_tiny_patch16_224": {"img_size": 64, "depth": 3}}.get(name, {})
    encoder = TimmEncoder(name, **options)
    network = answerer(encoder, encoder.channels[-1]).train()
    logits = network(torch.randn(2, 1, 64, 64), IDS, MASK)["logits"]
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_frozen_encoders() -> None:
    image = torch.randn(2, 1, 64, 64)
    maps, tokens = TimmEncoder("resnet18", **NARROW), TimmTokens("vit_tiny_patch16_224", depth=2, img_size=64)
    torch.manual_seed(0)
    network = answerer(PyramidTokens(maps), 16).eval()
    as_maps = Answerer(maps, network.text_encoder, network.fusion, network.head).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(image, IDS, MASK)["logits"], as_maps(image, IDS, MASK)["logits"])
    vit = answerer(tokens, tokens.width).train()
    vit(image, IDS, MASK)["logits"].sum().backward()
    trained = {name.split(".")[0] for name, parameter in vit.named_parameters() if parameter.grad is not None}
    assert trained == {"text_encoder", "fusion", "head"}


def test_adapted_positions_are_read() -> None:
    torch.manual_seed(0)
    frozen = PyramidTokens(TimmEncoder("resnet18", **NARROW))
    plain, image = answerer(frozen, 16).eval(), torch.randn(2, 1, 64, 64)
    parts = (plain.text_encoder, plain.fusion, plain.head)
    none = AdaptedAnswerer(frozen, PooledFeatures(16), *parts).eval()
    adaptor = Adaptor(16, 16, width=16, heads=2, feedforward=8)
    adapted = AdaptedAnswerer(frozen, adaptor, *parts).eval()
    with torch.no_grad():
        torch.testing.assert_close(none(image, IDS, MASK)["logits"], plain(image, IDS, MASK)["logits"])
        patches = AdaptedImage(frozen, adaptor).eval().patches(image)
        joint = plain.fusion.join(patches.mean((2, 3)), patches, plain.text_encoder(IDS, MASK), MASK)
        torch.testing.assert_close(adapted(image, IDS, MASK)["logits"], plain.head(joint))
    adapted.freeze(["image_encoder", "adaptor", "text_encoder"]).train()
    adapted(image, IDS, MASK)["logits"].sum().backward()
    trained = {name.split(".")[0] for name, parameter in adapted.named_parameters() if parameter.grad is not None}
    assert trained == {"fusion", "head"}


def test_freezing_parts() -> None:
    network = small().freeze(["image_encoder", "text_encoder"]).train()
    network(torch.randn(2, 1, 64, 64), IDS, MASK)["logits"].sum().backward()
    trained = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert trained == {"fusion", "head"}


def test_answers_depend_on_image_and_question() -> None:
    network, image = small().eval(), torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        logits = network(image, IDS, MASK)["logits"]
        assert not torch.allclose(network(image.flip(0), IDS, MASK)["logits"], logits, atol=1e-4)
        assert not torch.allclose(network(image, IDS.flip(0), MASK.flip(0))["logits"], logits, atol=1e-4)
        alone = torch.cat([network(image[k : k + 1], IDS[k : k + 1], MASK[k : k + 1])["logits"] for k in range(2)])
    torch.testing.assert_close(logits, alone)


def test_a_pooling_text_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="has the pooling 'cls'; build it with pooling 'tokens'"):
        Answerer(TimmEncoder("resnet18", **NARROW), text_encoder("cls"), nn.Identity(), nn.Identity())


def test_encoders_come_from_pre_training(tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = G2D(
        image_encoder=TimmEncoder("resnet18", **NARROW),
        image_projection=nn.Conv2d(16, 8, 1),
        pool=IdentityAttentionPool(8, 2, (2, 2)),
        text_encoder=text_encoder("cls"),
        text_projection=nn.Linear(16, 8),
    )
    weights = save_weights(before, tmp_path / "model.safetensors", {})
    network = transfer(small(), weights, ["image_encoder", "text_encoder"])
    for part in ("image_encoder", "text_encoder"):
        loaded, own = getattr(network, part).state_dict(), getattr(before, part).state_dict()
        assert loaded.keys() == own.keys()
        assert all(torch.equal(loaded[name], own[name]) for name in own)
    wider = answerer(TimmEncoder("resnet18", channels=(8, 8, 16, 32), stem_width=8), 32)
    with pytest.raises(WeightsError, match="of another network"):
        transfer(wider, weights, ["image_encoder", "text_encoder"])


def test_logits_stay_fp32_under_autocast() -> None:
    network = small().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(2, 1, 64, 64), IDS, MASK)["logits"]
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_nothing_needs_the_values_of_a_tensor() -> None:
    network = small().train().to("meta")
    logits = network(torch.zeros(2, 1, 64, 64, device="meta"), IDS.to("meta"), MASK.to("meta"))["logits"]
    logits.sum().backward()
    assert logits.is_meta


def test_it_learns_what_only_image_and_question_together_tell() -> None:
    """Is it bright, is it dark: of bright and of dark pictures, where neither picture nor question alone helps."""
    network = small().train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    bright = torch.tensor([1.0, 1.0, -1.0, -1.0])[:, None, None, None].expand(4, 1, 32, 32)
    ids, mask = torch.tensor([[2, 7, 3], [2, 8, 3]]).repeat(2, 1), torch.ones(4, 3)
    answer = torch.tensor([0, 1, 1, 0])
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(150):
        loss = nn.functional.cross_entropy(network(bright, ids, mask)["logits"], answer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3  # ln 2 is what picture or question alone can reach
    assert network(bright, ids, mask)["logits"].argmax(1).tolist() == answer.tolist()
