"""A sweep of real runs, killed while it trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import yaml
from workflows import TINY, TINY_TEXT

ROOT = Path(__file__).resolve().parent.parent.parent


def sweep_file(folder: Path, phantoms: Path, store: Path) -> Path:
    """One variant more than the baseline, one seed: pre-training, and what its weights are worth with three labels."""
    tiny = {**TINY, **TINY_TEXT, "max_epochs": 4, "val_interval": 4, "checkpoint_every": 2, "pa_start_step": 20}
    start = {"start": "{pretrain}/models/encoder.safetensors", "start_parts": ["image_encoder"]}
    few = {"image_size": 64, "max_epochs": 3, "val_interval": 3, "batch_size": 3, "precision": "fp32"}
    content = {
        "seeds": [0],
        "baseline": "plain",
        "data": {
            "three": {
                "command": f"scripts.subset {phantoms}/datalist.json --out {{folder}}/datalist.json --count 3 "
                "--seed {seed} --annotated mask --positive",
                "product": "datalist.json",
            }
        },
        "steps": {
            "pretrain": {
                "run": "training",
                "configs": ["pretrain", "demo"],
                "overrides": {**tiny, "dataset_dir": str(store), "seed": "{seed}", "thin_reports": None},
            },
            "labels": {
                "run": "training",
                "configs": ["train", "demo", "demo_segmentation"],
                "overrides": {**few, **start, "dataset_dir": "{three}", "seeds": ["{seed}"]},
            },
        },
        "measures": {"R@5": "pretrain.retrieval_r5_image_to_text", "Dice": "labels.dice_pos"},
        "variants": {"plain": None, "heads": {"pretrain": {"overrides": {"network_def#pool#heads": 2}}}},
    }
    path = folder / "real.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def begin(path: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scripts.sweep", str(path), "--out", str(out), "--parallel", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums, and so losses, follow from it
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def losses(out: Path) -> dict[str, list[str]]:
    files = (out / "steps" / "pretrain").glob("*/losses.jsonl")
    return {path.parent.name: path.read_text().splitlines() for path in files}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_killed_while_it_trains_ends_as_if_it_had_not_been(
    phantoms: Path, phantom_store: Path, tmp_path: Path
) -> None:
    path = sweep_file(tmp_path, phantoms, phantom_store)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    killed = begin(path, cut)
    while not list((cut / "steps" / "pretrain").glob("*/checkpoints/checkpoint_*.pt")):
        time.sleep(0.05)
        assert killed.poll() is None, killed.communicate()[0]
    killed.kill()
    killed.communicate()
    assert not list((cut / "steps" / "pretrain").glob("*/results.json"))
    for out in (cut, whole):
        process = begin(path, out)
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
    assert losses(cut) == losses(whole)
    assert [len(lines) for lines in losses(cut).values()] == [28, 28]
    tables = [(out / "real" / "table.csv").read_text() for out in (cut, whole)]
    assert tables[0] == tables[1]
    pictures = [cv2.imread(str(out / "real" / "curves.png")) for out in (cut, whole)]
    assert (pictures[0] == pictures[1]).all()
    assert pictures[0].std() > 5
    resumed = [path.read_text() for path in (cut / "steps" / "pretrain").glob("*.txt")]
    assert any("resumed from" in text for text in resumed)
    records = [json.loads(path.read_text()) for path in (cut / "steps").glob("*/*.json")]
    assert all(record["done"] for record in records)
