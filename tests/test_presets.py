"""The three presets as their configs build them: what each is known by, and the losses of the first steps.

After a change that is meant to change losses, renew the recorded ones:

    RENEW_RECORDED_LOSSES=1 python -m pytest tests/test_presets.py -k recorded
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from torch.nn import functional as F
from workflows import CONFIGS, NO_DROPOUT, ONE_STEP, TINY_TEXT, one_step, with_handlers, workflow

PRESETS = {"default": (), "paper": ("preset_paper",), "released": ("preset_released",)}
RECORDED = Path(__file__).with_name("recorded_losses.json")


def parser_of(preset: str, store: Path, **values: Any) -> ConfigParser:
    """The config of a preset, with a small text encoder and images of 64 px."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in ("pretrain", *PRESETS[preset])])
    parser.update({"dataset_dir": str(store), "crop_size": 64, "batch_size": 8, **TINY_TEXT, **values})
    torch.manual_seed(0)
    return parser


def prediction(size: int, cells: int, heads: int = 4, batch: int = 2) -> tuple[dict[str, Any], dict[str, Any]]:
    """Zero logits, attention without ties, and a target whose body is everything."""
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(batch, heads, cells, cells, generator=generator)
    image = torch.rand(batch, 1, size, size, generator=generator)
    target = {"image": image, "body": torch.ones_like(image, dtype=torch.bool)}
    return {"attention": attention, "logits": torch.zeros_like(image)}, target


def embeddings(batch: int = 6) -> dict[str, torch.Tensor]:
    image, text = torch.randn(2, batch, 16, generator=torch.Generator().manual_seed(1))
    return {"image_embedding": F.normalize(image, dim=-1), "text_embedding": F.normalize(text, dim=-1)}


def directions(pairs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    logits = pairs["image_embedding"] @ pairs["text_embedding"].T / 0.07
    own = torch.arange(len(logits))
    return F.cross_entropy(logits, own), F.cross_entropy(logits.T, own)


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_trains(phantom_store: Path, tmp_path: Path, preset: str) -> None:
    with workflow(phantom_store, tmp_path, ("pretrain", *PRESETS[preset]), {**TINY_TEXT, **ONE_STEP}) as made:
        gradients = one_step(made)
        assert made.parser["preset"] == preset
        assert made.trainer.state.output["loss"].isfinite()
    assert [name for name, gradient in gradients.items() if gradient is None] == []


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_preset_runs_with_all_its_handlers(phantom_store: Path, tmp_path: Path, preset: str) -> None:
    names = ("pretrain", *PRESETS[preset], "backbone_resnet18")
    with workflow(phantom_store, tmp_path, names, {**TINY_TEXT, "pa_start_step": 4}) as made:
        made.run()
    folder = tmp_path / "pretrain" / f"g2d_{preset}"
    losses = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    assert ["pseudo_segmentation" in line for line in losses] == [False] * 4 + [True] * 3
    assert json.loads((folder / "models" / "encoder.json").read_text())["preset"] == preset


# ---------------------------------------------------------------------------------------------------------------------
# default
# ---------------------------------------------------------------------------------------------------------------------
def test_default_scores_both_directions(phantom_store: Path) -> None:
    loss = parser_of("default", phantom_store).get_parsed_content("loss::terms::contrastive")
    to_text, to_image = directions(embeddings())
    value = loss(embeddings(), {"text_id": torch.arange(6)})
    torch.testing.assert_close(value, (to_text + to_image) / 2)


def test_default_mask_is_what_the_own_report_says_where_the_cells_look(phantom_store: Path) -> None:
    parser = parser_of("default", phantom_store, image_name="resnet18", crop_size=256, **{"pseudo_mask#edges": None})
    offset = parser.get_parsed_content("cell_offset")
    assert -16 <= offset <= -12  # cells of stride 32 look half a cell up and left
    output, target = prediction(size=256, cells=8)
    output["text_embedding"] = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    output["patch_values"] = torch.zeros(2, 2, 8, 8)
    output["patch_values"][0, 0, 3, 5] = 1.0  # agrees with its report there, and
    output["patch_values"][0, 0, 6, 2] = -1.0  # contradicts it here
    output["patch_values"][1, 0, 4, 4] = -1.0
    target["abnormal"] = torch.tensor([True, False])
    mask = parser.get_parsed_content("pseudo_mask")(output, target)
    rows, columns = mask[0, 0].nonzero().float().mean(0).tolist()
    assert (rows, columns) == pytest.approx((3.5 * 32 - 0.5 + offset, 5.5 * 32 - 0.5 + offset), abs=0.6)
    assert not mask[1].any()  # its report calls everything normal


def test_default_decoder_begins_with_little_foreground(phantom_store: Path) -> None:
    parser = parser_of("default", phantom_store, image_name="resnet18")
    assert parser.get_parsed_content("network_def").decoder.head.bias.sigmoid().item() == pytest.approx(0.05)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_default_embedding_knows_no_padding(phantom_store: Path, pooling: str) -> None:
    parser = parser_of("default", phantom_store, text_pooling=pooling, image_name="resnet18", precision="fp32")
    network = parser.get_parsed_content("network").train()
    network.text_encoder.eval()  # without dropout; the projection takes the statistics of the batch
    batch = parser.get_parsed_content("train::dataset").__getitems__(range(8))
    ids, mask = batch["input_ids"], batch["attention_mask"]
    padded = network.encode_text(F.pad(ids, (0, 19)), F.pad(mask, (0, 19)), batch["lengths"])
    torch.testing.assert_close(padded, network.encode_text(ids, mask, batch["lengths"]), rtol=1e-4, atol=1e-5)


def test_pixel_loss_is_absent_before_its_start(phantom_store: Path, tmp_path: Path) -> None:
    values = {"pa_start_step": 1, "train::trainer::epoch_length": 2, **with_handlers("DelayedDecoder", "LossTerms")}
    with workflow(phantom_store, tmp_path, ("pretrain", "backbone_resnet18"), {**TINY_TEXT, **values}) as made:
        seen = []

        def look(engine: Any) -> None:
            decoder = made.parser.get_parsed_content("network_def").decoder
            gradients = [parameter.grad for parameter in decoder.parameters()]
            assert all(gradient is not None for gradient in gradients)
            seen.append(("pseudo_segmentation" in engine.state.output, any(bool(g.any()) for g in gradients)))

        made.trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
        made.run()
    assert seen == [(False, False), (True, True)]


# ---------------------------------------------------------------------------------------------------------------------
# paper
# ---------------------------------------------------------------------------------------------------------------------
def test_paper_has_three_heads_and_one_direction(phantom_store: Path) -> None:
    parser = parser_of("paper", phantom_store, image_name="resnet18")
    pool = parser.get_parsed_content("network_def").pool
    assert (pool.heads, pool.query.out_features, pool.final.out_features) == (3, 192, 128)
    _, attention = pool(torch.randn(2, 128, 2, 2))
    assert attention.shape == (2, 3, 2, 2)
    loss = parser.get_parsed_content("loss::terms::contrastive")
    torch.testing.assert_close(loss(embeddings()), directions(embeddings())[0])


def test_paper_mask_is_the_top_of_the_body(phantom_store: Path) -> None:
    parser = parser_of("paper", phantom_store, **{"pseudo_mask#edges": None})
    output, target = prediction(size=56, cells=7)
    target["body"][:, :, 32:] = False  # 4 of 7 rows of cells
    mask = parser.get_parsed_content("pseudo_mask")(output, target)
    assert not mask[:, :, 32:].any()
    # With 64 pixels a cell the quantile of 28 cells lies inside the 24th: it and the four above it are kept.
    assert (mask[:, :, ::8, ::8].sum((1, 2, 3)) == 5).all()


def test_paper_value_at_zero_logits(phantom_store: Path) -> None:
    parser = parser_of("paper", phantom_store, **{"pseudo_mask#edges": None})
    term = parser.get_parsed_content("loss::terms::pseudo_segmentation")
    value = term(*prediction(size=256, cells=8))
    share = 10 / 64  # `>=` keeps the cell of the quantile itself
    assert value.item() == pytest.approx((1 - share / (0.5 + share)) / 2 + 0.6931472 / 2, abs=1e-5)


def test_paper_normalises_to_0_1_and_starts_at_once(phantom_store: Path) -> None:
    parser = parser_of("paper", phantom_store)
    prepare = parser.get_parsed_content("validate::prepare_batch")
    batch = parser.get_parsed_content("validate::dataset").__getitems__(range(4))
    image, target, _, _ = prepare(batch, "cpu")
    assert torch.equal(image, batch["image"].float() / 255)
    assert torch.equal(image, target["image"])
    assert parser["pa_start_step"] == 0


# ---------------------------------------------------------------------------------------------------------------------
# released
# ---------------------------------------------------------------------------------------------------------------------
def test_released_mask_keeps_9_of_64_cells(phantom_store: Path) -> None:
    output, target = prediction(size=256, cells=8, batch=16)
    target["body"].zero_()  # not looked at
    mask = parser_of("released", phantom_store).get_parsed_content("pseudo_mask")(output, target)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask.sum((1, 2, 3)) == 9 * 32 * 32).all()
    best = output["attention"].mean(1).flatten(1).topk(9).indices
    cells = torch.zeros(16, 64).scatter(1, best, 1.0).view(16, 1, 8, 8)
    assert torch.equal(mask, F.interpolate(cells, scale_factor=32))


def test_released_value_at_zero_logits(phantom_store: Path) -> None:
    parser = parser_of("released", phantom_store)
    loss = parser.get_parsed_content("loss")
    output, target = prediction(size=256, cells=8)
    pairs = embeddings(2)
    total = loss(output | pairs, target)
    assert loss.last["pseudo_segmentation"].item() == pytest.approx(1.1386, abs=5e-5)
    to_text, to_image = directions(pairs)
    torch.testing.assert_close(total, to_text + to_image + loss.last["pseudo_segmentation"])


def test_released_pads_to_256_and_trains_its_embeddings(phantom_store: Path) -> None:
    parser = parser_of("released", phantom_store, image_name="resnet18")
    for dataset in ("train::dataset", "validate::dataset"):
        batch = parser.get_parsed_content(dataset).__getitems__(range(4))
        assert batch["input_ids"].shape == batch["attention_mask"].shape == (4, 256)
        assert max(batch["lengths"]) < 256
    text = parser.get_parsed_content("network_def").text_encoder
    trained = {name for name, parameter in text.model.named_parameters() if parameter.requires_grad}
    assert "embeddings.word_embeddings.weight" in trained
    assert not any(name.startswith("encoder.layer.0.") for name in trained)
    assert text.pooling == "tokens"


def test_released_rate_restarts_every_200_steps(phantom_store: Path) -> None:
    parser = parser_of("released", phantom_store, image_name="resnet18")
    optimizer = parser.get_parsed_content("optimizer")
    scheduler = parser.get_parsed_content("lr_scheduler")
    rates = []
    for _ in range(401):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert [rates[0], rates[200], rates[400]] == pytest.approx([2e-5] * 3)
    assert rates[100] == pytest.approx((2e-5 + 1e-8) / 2)
    assert max(rates[199], rates[399]) < 2e-8
    assert (parser["pa_start_step"], parser["max_epochs"]) == (200, 52)


# ---------------------------------------------------------------------------------------------------------------------
# Proof of value
# ---------------------------------------------------------------------------------------------------------------------
def first_losses(store: Path, output: Path, steps: int = 5) -> list[float]:
    handlers = with_handlers("DelayedDecoder", "ClipGradient", "LrScheduleHandler")
    losses: list[float] = []
    values = {"train::trainer::epoch_length": steps, **handlers}
    with workflow(store, output, ("pretrain",), {**NO_DROPOUT, **values}) as made:
        made.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda e: losses.append(e.state.output["loss"].item())
        )
        made.run()
    return losses


def test_first_losses_are_the_recorded_ones(phantom_store: Path, tmp_path: Path) -> None:
    """See the top of this file for how to renew them. In fp32 other processors and other cuts of a batch agree."""
    losses = first_losses(phantom_store, tmp_path)
    if os.environ.get("RENEW_RECORDED_LOSSES"):
        RECORDED.write_text(json.dumps({"default": losses}, indent=1) + "\n", encoding="utf-8")
    assert losses == pytest.approx(json.loads(RECORDED.read_text(encoding="utf-8"))["default"], rel=1e-4)
