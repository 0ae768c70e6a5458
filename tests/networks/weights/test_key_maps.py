"""M3AE's key map, against the libraries whose names its checkpoints bear; and positions of CLIP at published sizes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from m3ae_parts import BERT, batch, small
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, RobertaConfig, RobertaModel
from transformers.models.bert.modeling_bert import BertLayer

from bundle.networks.blocks.co_attention import CoAttention
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.encoders.vision_transformer import VisionTransformer
from bundle.networks.nets.m3ae import M3AE
from bundle.networks.weights.checkpoint import load_weights
from bundle.networks.weights.errors import WeightsError
from bundle.networks.weights.key_maps import m3ae
from bundle.networks.weights.transfer import transfer

PARTS = ["image_encoder", "text_encoder", "fusion", "matching_head", "language_head"]


def shaken(network: Any) -> Any:
    """Every tensor random, norms and biases too, so that swapped ones show."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def roberta(folder: Path) -> RobertaModel:
    torch.manual_seed(0)
    model = shaken(RobertaModel(RobertaConfig(**BERT, pad_token_id=0, layer_norm_eps=1e-5)))
    model.save_pretrained(folder)
    return model


def network(folder: Path) -> M3AE:
    ours = small()
    ours.text_encoder = TextEncoder(folder, freeze_layers=0, freeze_embeddings=False, pooling="tokens")
    return ours


def clip_tower(encoder: VisionTransformer) -> dict[str, Tensor]:
    """Our image encoder by OpenAI's names."""
    state = encoder.model.state_dict()
    theirs = {
        "class_embedding": state["cls_token"].flatten(),
        "positional_embedding": state["pos_embed"][0],
        "conv1.weight": state["patch_embed.proj.weight"],
    }
    for kind in ("weight", "bias"):
        theirs |= {f"ln_pre.{kind}": state[f"norm_pre.{kind}"], f"ln_post.{kind}": state[f"norm.{kind}"]}
        for number in range(len(encoder.model.blocks)):
            block, old = f"transformer.resblocks.{number}.", f"blocks.{number}."
            theirs[f"{block}attn.in_proj_{kind}"] = state[f"{old}attn.qkv.{kind}"]
            theirs[f"{block}attn.out_proj.{kind}"] = state[f"{old}attn.proj.{kind}"]
            theirs |= {f"{block}ln_{i}.{kind}": state[f"{old}norm{i}.{kind}"] for i in (1, 2)}
            theirs[f"{block}mlp.c_fc.{kind}"] = state[f"{old}mlp.fc1.{kind}"]
            theirs[f"{block}mlp.c_proj.{kind}"] = state[f"{old}mlp.fc2.{kind}"]
    return theirs


def bert_layers(fusion: CoAttention, stream: str) -> Iterator[BertLayer]:
    """The layers of a stream as transformers' BERT, eager, of equal weights."""
    sizes = {"hidden_size": 20, "num_attention_heads": 4, "intermediate_size": 24, "layer_norm_eps": 1e-12}
    config = BertConfig(**sizes, is_decoder=True, add_cross_attention=True, attn_implementation="eager")
    for ours in getattr(fusion, f"{stream}_layers"):
        layer = BertLayer(config, 0).eval()
        both = ((layer.attention, "self"), (layer.crossattention, "cross"))
        pairs: list[tuple[nn.Module, Any]] = []
        for theirs, kind in both:
            attention = getattr(ours, f"{kind}_attention")
            names = ("query", "key", "value")
            for name, weight, bias in zip(
                names, attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True
            ):
                getattr(theirs.self, name).load_state_dict({"weight": weight, "bias": bias})
            pairs += [
                (theirs.output.dense, attention.out_proj),
                (theirs.output.LayerNorm, getattr(ours, f"{kind}_norm")),
            ]
        pairs += [(layer.intermediate.dense, ours.feedforward[0]), (layer.output.dense, ours.feedforward[2])]
        for target, source in [*pairs, (layer.output.LayerNorm, ours.feedforward_norm)]:
            target.load_state_dict(source.state_dict())
        yield layer


def published(ours: M3AE, text: RobertaModel) -> dict[str, Tensor]:
    """A network by the names of the published layout, with what is to be left out."""
    theirs: dict[str, nn.Module] = {
        "language_encoder": text,
        "multi_modal_language_proj": ours.fusion.text_projection,
        "multi_modal_vision_proj": ours.fusion.image_projection,
        "modality_type_embeddings": ours.fusion.modality,
        "multi_modal_language_pooler.dense": ours.fusion.text_pooler[0],
        "multi_modal_vision_pooler.dense": ours.fusion.image_pooler[0],
        "mlm_head.transform.dense": ours.language_head[0],
        "mlm_head.transform.LayerNorm": ours.language_head[2],
        "itm_head.fc": ours.matching_head,
        "vqa_head.0": nn.Linear(2, 2),
        "mim_head.anything": nn.Linear(2, 2),
    }
    for stream, name in (("text", "language"), ("image", "vision")):
        layers = enumerate(bert_layers(ours.fusion, stream))
        theirs |= {f"multi_modal_{name}_layers.{number}": layer for number, layer in layers}
    state = {f"{name}.{key}": x for name, module in theirs.items() for key, x in module.state_dict().items()}
    state |= {f"vision_encoder.visual.{key}": x for key, x in clip_tower(ours.image_encoder).items()}
    state["mlm_head.decoder.weight"], state["mlm_head.bias"] = ours.language_head[3].weight, ours.language_head[3].bias
    state["language_encoder.embeddings.position_ids"] = torch.arange(32)[None]
    state["vision_encoder.visual.proj"] = state["vision_encoder.token_embedding.weight"] = torch.zeros(12, 5)
    return state


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[M3AE, Path, Path]:
    """A network, its checkpoint as Lightning writes it, and the folder of its text encoder's architecture."""
    text = roberta(tmp_path / "roberta")
    ours = shaken(network(tmp_path / "roberta"))
    text.load_state_dict(ours.text_encoder.model.state_dict(), strict=False)
    torch.save({"epoch": 3, "state_dict": published(ours, text)}, tmp_path / "m3ae.ckpt")
    return ours, tmp_path / "m3ae.ckpt", tmp_path / "roberta"


def test_a_checkpoint_gives_the_same_outputs(checkpoint: tuple[M3AE, Path, Path]) -> None:
    ours, path, folder = checkpoint
    fresh = network(folder).eval()
    before = copy.deepcopy(fresh.image_decoder)
    transfer(fresh, path, PARTS, key_map="m3ae")
    given = batch()
    expected, got = ours(**given), fresh(**given)
    for name in ("mlm_logits", "matching_logits"):
        torch.testing.assert_close(got[name], expected[name])
        assert expected[name].std() > 1e-3
    for name, tensor in fresh.image_decoder.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])


def test_every_tensor_is_mapped_but_the_decoders(checkpoint: tuple[M3AE, Path, Path]) -> None:
    ours, path, _ = checkpoint
    mapped = m3ae(torch.load(path, weights_only=True)["state_dict"])
    wanted = {name: x for name, x in ours.state_dict().items() if not name.startswith("image_decoder.")}
    assert mapped.keys() == wanted.keys()
    assert all(torch.equal(mapped[name], x) for name, x in wanted.items())


def test_parts_serve_other_networks_alone(checkpoint: tuple[M3AE, Path, Path]) -> None:
    ours, path, _ = checkpoint
    encoder = nn.ModuleDict({"image_encoder": VisionTransformer(32, 8, width=12, depth=2, heads=3, mlp=24).eval()})
    transfer(encoder, path, ["image_encoder"], key_map="m3ae")
    image = torch.randn(2, 1, 48, 48)
    torch.testing.assert_close(encoder["image_encoder"](image), ours.image_encoder(image))


def test_fusion_layers_are_those_of_transformers() -> None:
    """Which of q, k and v is which, and which norm comes where, is told by the library, not by the map."""
    fusion = shaken(CoAttention(16, 12, width=20, steps=2, heads=4, mlp=24, dropout=0.0))
    texts, images = torch.randn(2, 5, 20), torch.randn(2, 7, 20)
    text, image = texts, images
    for words, patches in zip(bert_layers(fusion, "text"), bert_layers(fusion, "image"), strict=True):
        text, image = words(text, encoder_hidden_states=image), patches(image, encoder_hidden_states=text)
    for got, expected in zip(fusion(texts, images), (text, image), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_image_tower_as_timm_reads_it(checkpoint: tuple[M3AE, Path, Path], tmp_path: Path) -> None:
    """The same tower as a file of CLIP, which timm's own filter understands."""
    ours, _, _ = checkpoint
    tower = {f"visual.{name}": x.clone() for name, x in clip_tower(ours.image_encoder).items()}
    save_file(tower, tmp_path / "clip.safetensors")
    sizes: dict[str, Any] = {"image_size": 32, "patch_size": 8, "width": 12, "depth": 2, "heads": 3, "mlp": 24}
    read = VisionTransformer(**sizes, weights=tmp_path / "clip.safetensors").model.state_dict()
    assert all(torch.equal(read[name], x) for name, x in ours.image_encoder.model.state_dict().items())


def test_colours_are_summed(checkpoint: tuple[M3AE, Path, Path]) -> None:
    _, path, folder = checkpoint
    state = torch.load(path, weights_only=True)["state_dict"]
    colour = torch.randn(12, 3, 8, 8)
    torch.save(state | {"vision_encoder.visual.conv1.weight": colour}, path)
    fresh = network(folder)
    transfer(fresh, path, PARTS, key_map="m3ae")
    torch.testing.assert_close(fresh.image_encoder.model.patch_embed.proj.weight, colour.sum(1, keepdim=True))


def test_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"visual.class_embedding": torch.zeros(12)}, tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match="no M3AE checkpoint of the published layout"):
        load_weights(small(), tmp_path / "clip.safetensors", key_map="m3ae")


@pytest.mark.parametrize(("image_size", "side"), [(224, 14), (288, 18), (384, 24)])
def test_positions_of_clip_at_published_sizes(image_size: int, side: int, tmp_path: Path) -> None:
    """14 x 14 positions become those of images of 288 and 384 px, whether weights or images are of that size."""
    sizes: dict[str, Any] = {"width": 12, "depth": 1, "heads": 3, "mlp": 24}
    made = clip_tower(shaken(VisionTransformer(224, **sizes)))
    save_file({f"visual.{name}": x.clone() for name, x in made.items()}, tmp_path / "clip.safetensors")
    table = made["positional_embedding"]
    grid = table[1:].T.reshape(1, 12, 14, 14)
    grid = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False, antialias=False)
    expected = torch.cat([table[:1], grid[0].flatten(1).T])
    large = VisionTransformer(image_size, **sizes, weights=tmp_path / "clip.safetensors").eval()
    torch.testing.assert_close(large.model.pos_embed[0], expected)
    small_one = VisionTransformer(224, **sizes, weights=tmp_path / "clip.safetensors").eval()
    image = torch.zeros(1, 1, image_size, image_size)  # patches without bias: only positions are left
    torch.testing.assert_close(small_one.embed(image)[0, 1:], expected[1:])
    torch.testing.assert_close(small_one(image), large(image))
