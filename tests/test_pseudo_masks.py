"""Pseudo masks from reports and from the truth, through the configs: which images get one, and that they lie right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from pretrained import SMALL
from workflows import workflow

from bundle.data.datalist import load_datalist
from bundle.data.packed import PackedDataset, as_batch
from bundle.transforms.abnormal_reports import AbnormalReports
from bundle.transforms.stored_masks import stored_masks


def test_masks_lie_where_the_list_says(phantoms: Path, phantom_store: Path) -> None:
    dataset = PackedDataset(phantom_store, "training")
    truth = stored_masks(dataset, phantoms / "datalist.json")
    assert truth.shape == (len(dataset), 1, 64, 64)
    items = load_datalist(phantoms / "datalist.json", "training")
    for row, item in enumerate(items):
        assert dataset.items["id"][row] == item["id"]
        assert truth[row].any() == bool(item.get("boxes"))
        inside = np.zeros((64, 64), dtype=bool)
        for left, top, right, bottom in boxes_in_the_square(dataset.geometry[row], item.get("boxes", [])):
            inside[max(top, 0) : bottom, max(left, 0) : right] = True
            assert truth[row, 0, top:bottom, left:right].any()
        assert inside[truth[row, 0].numpy()].all()


def boxes_in_the_square(geometry: np.ndarray, boxes: list[list[int]]) -> list[list[int]]:
    """Boxes of the original, rounded outwards."""
    _, _, top, left, _, _, down, across, row, column = geometry
    fitted = (np.array(boxes).reshape(-1, 4) - ([left, top] * 2)) * ([across, down] * 2) + ([column, row] * 2)
    return np.concatenate([np.floor(fitted[:, :2]), np.ceil(fitted[:, 2:])], 1).astype(int).tolist()


def test_phantoms_are_told_abnormal_by_their_reports(phantoms: Path, phantom_store: Path) -> None:
    dataset = PackedDataset(phantom_store, "training")
    reports = dataset.reports(range(len(dataset)))
    words = (reports[name] for name in ("input_ids", "attention_mask", "sentence"))
    judged = AbnormalReports(dataset.tokenizer_folder)(*words)
    listed = torch.tensor([any(item["label"]) for item in load_datalist(phantoms / "datalist.json", "training")])
    assert (judged == listed).float().mean() > 0.9


def drawn_by(made: ConfigWorkflow, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The masks that a workflow draws for a batch, and the batch's target."""
    prepare, network, mask = (
        made.parser.get_parsed_content(name) for name in ("validate::prepare_batch", "network", "pseudo_mask")
    )
    image, target, _, words = prepare(batch, "cpu")
    with torch.no_grad():
        return mask(network.eval()(image, **words), target), target


def test_masks_from_reports_are_empty_for_normal_ones(phantom_store: Path, tmp_path: Path) -> None:
    with workflow(phantom_store, tmp_path, ("pretrain", "demo"), SMALL) as made:
        made.run()
        drawn, target = drawn_by(made, as_batch(PackedDataset(phantom_store, "training").__getitems__(range(32))))
    assert 0 < target["abnormal"].sum() < 32
    assert not drawn[~target["abnormal"]].any()
    assert drawn[target["abnormal"]].flatten(1).any(1).float().mean() > 0.8
    share = (drawn > 0.5).float().sum((1, 2, 3)) / target["body"].sum((1, 2, 3))
    assert share.max() < 0.4  # cells of a fifth of the body, and what enlarging and smoothing add
    losses = [json.loads(line) for line in (tmp_path / "pretrain" / "demo" / "losses.jsonl").read_text().splitlines()]
    assert losses[-1]["pseudo_segmentation"] > 0


def test_masks_from_attention_are_of_one_size_for_all(phantom_store: Path, tmp_path: Path) -> None:
    values = {**SMALL, "pseudo_mask#edges": None}
    with workflow(phantom_store, tmp_path, ("pretrain", "demo", "masks_from_attention"), values) as made:
        drawn, target = drawn_by(made, as_batch(PackedDataset(phantom_store, "training").__getitems__(range(32))))
    assert "abnormal" not in target
    share = drawn.sum((1, 2, 3)) / target["body"].sum((1, 2, 3))
    assert ((share > 0.1) & (share < 0.35)).all()  # whole cells of a coarse map


def test_masks_from_the_truth_are_the_truth(phantoms: Path, phantom_store: Path, tmp_path: Path) -> None:
    values = {**SMALL, "truth_list": str(phantoms / "datalist.json")}
    with workflow(phantom_store, tmp_path, ("pretrain", "demo", "masks_from_truth"), values) as made:
        made.run()
        dataset = PackedDataset(phantom_store, "validation")
        batch = as_batch(dataset.__getitems__(range(8)))
        drawn, _ = drawn_by(made, batch)
    truth = stored_masks(dataset, phantoms / "datalist.json")[batch["index"]]
    assert truth.any()
    side = drawn.shape[-1]
    margin = (64 - side) // 2
    assert torch.equal(drawn.bool(), truth[..., margin : margin + side, margin : margin + side])


def test_masks_of_averaged_weights_are_drawn_measured_and_kept(
    phantoms: Path, phantom_store: Path, tmp_path: Path
) -> None:
    names = ("pretrain", "demo", "masks_from_average", "masks_refined", "measured_masks")
    values = {**SMALL, "truth_list": str(phantoms / "datalist.json")}
    with workflow(phantom_store, tmp_path, names, values) as made:
        made.run()
        average, network = (made.parser.get_parsed_content(name) for name in ("average", "network"))
        between = [(a - p).abs().max() for a, p in zip(average.module.parameters(), network.parameters(), strict=True)]
    assert 0 < max(between) < 0.1  # behind the network, and not as it was drawn
    run = tmp_path / "pretrain" / "demo"
    measured = json.loads((run / "results.json").read_text())["metrics"]
    assert 0 <= measured["pseudo_mask_truth_dice"]["value"] <= 1
    assert 0 <= measured["decoder_truth_dice"]["value"] <= 1
    saved = torch.load(max((run / "checkpoints").glob("*.pt")), weights_only=True)["objects"]["average"]
    assert saved["average"].keys() == average.state_dict().keys()
