"""Question answering on the chest radiographs of VQA-RAD: the list as users make it, and a step of training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from question_runs import VQA, stages
from supervised_runs import SMALL, UNDRAWN
from workflows import ONE_STEP, started

from scripts.prepare import main

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*name no patient")]


def test_one_step_on_chest_questions(data_root: Path, phantom_store: Path, tmp_path: Path) -> None:
    options = ["--root", str(data_root / "vqa_rad"), "--out", str(tmp_path), "--chest-only", "--split", "ours"]
    assert main(["vqa_rad", *options]) == 0
    datalist = json.loads((tmp_path / "datalist.json").read_text(encoding="utf-8"))
    images = {split: {item["image"] for item in datalist[split]} for split in ("training", "validation", "test")}
    assert len(datalist["test"]) == 174
    assert images["training"] & images["validation"] == set()  # validation is drawn by image
    values = {"dataset_dir": str(tmp_path), "output_root": str(tmp_path / "runs"), **SMALL, **UNDRAWN, **ONE_STEP}
    values |= stages(phantom_store)["vqa"].values
    values["fraction"] = 100
    with started(VQA, values) as made:
        made.run()
        loss = made.trainer.state.output["loss"].item()
        vocabulary = made.parser.get_parsed_content("vocabulary")
        read = len(made.parser.get_parsed_content("train::dataset").images)
    assert math.isfinite(loss)
    assert read == len(images["training"]) < len(datalist["training"])
    assert 100 < len(vocabulary) < 200
