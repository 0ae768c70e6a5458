"""The lung model that comes with the bundle, through the whole of inference and on pixels of the original images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from bundle.data.mask_reader import read_mask
from bundle.networks.weights.checkpoint import load_weights
from scripts.prepare import main

LUNGS = ("--mask-column", "mask")
"""Split as for training: the test patients were held out."""
PAIRS = ("--mask-column", "lung_mask", "--validation", "0.02", "--test", "0.96")
"""Another source, all but three images of it."""


@pytest.fixture(scope="module")
def parser(repository: Path) -> ConfigParser:
    made = ConfigParser()
    made.read_config(str(repository / "configs" / "inference.json"))
    load_weights(made.get_parsed_content("network_def").eval(), repository / "models" / "model.pt")
    return made


def dice_of(parser: ConfigParser, image: str, mask: str) -> float:
    item = parser.get_parsed_content("preprocessing")({"image": image})
    with torch.no_grad():
        item["pred"] = parser.get_parsed_content("network_def")(item["image"][None])[0]
    found = parser.get_parsed_content("postprocessing")(item)["pred"].T > 0
    true = read_mask(mask) > 0
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize(
    ("table", "options", "least", "count"),
    [("lung_seg/index.csv", LUNGS, 0.93, 16), ("cxr_pairs/pairs.csv", PAIRS, 0.90, 78)],
)
def test_lungs_are_found(
    parser: ConfigParser,
    data_root: Path,
    tmp_path: Path,
    table: str,
    options: tuple[str, ...],
    least: float,
    count: int,
) -> None:
    command = [
        "labelled",
        "--table",
        str(data_root / table),
        "--out",
        str(tmp_path),
        "--mask-classes",
        "lung",
        *options,
    ]
    assert main(command) == 0
    datalist = json.loads((tmp_path / "datalist.json").read_text(encoding="utf-8"))
    base = tmp_path / datalist.get("image_root", ".")
    dice = [dice_of(parser, str(base / item["image"]), str(base / item["mask"])) for item in datalist["test"]]
    assert len(dice) == count
    assert np.mean(dice) >= least
