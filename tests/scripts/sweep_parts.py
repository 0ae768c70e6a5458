"""A sweep whose runs take moments: a stand-in for MONAI's runner that keeps the contract of the bundle's runs.

It counts steps, leaves a checkpoint after each, goes on from it, saves and exits with 0 on SIGTERM, records the losses
of a training, and writes `results.json` last. Two of them in one folder at a time leave a file `CLASH`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent

RUNNER = """
import ast, fcntl, json, os, signal, sys, time
from pathlib import Path

given = dict(zip(sys.argv[3::2], sys.argv[4::2]))
folder = Path(given["--output_dir"])
folder.mkdir(parents=True, exist_ok=True)
busy = open(folder / "busy", "w")
try:
    fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    (folder / "CLASH").touch()
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
if given.get("--fail") == "True":
    print("error: nothing to learn here")
    sys.exit(1)
checkpoint, partial = folder / "checkpoint", folder / "partial"
done = int(checkpoint.read_text()) if checkpoint.exists() else 0
steps = int(given.get("--steps", 3))
while done < steps:
    time.sleep(float(given.get("--pause", 0.01)))
    done += 1
    with open(folder / "steps.txt", "a") as file:
        file.write(f"{done}\\n")
    partial.write_text(str(done))
    os.replace(partial, checkpoint)
    if stop:
        sys.exit(0)
value = float(given.get("--value", 0)) + int(given.get("--seed", 0)) / 10
if "--pretrained" in given:
    value += json.loads((Path(given["--pretrained"]) / "results.json").read_text())["metrics"]["score"]["value"]
if sys.argv[2] == "training":
    losses = [{"iteration": step, "loss": value / step} for step in range(1, steps + 1)]
    (folder / "losses.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in losses))
entry = {"value": value, "low": None, "high": None, "n": None}
facts = {"threads": os.environ["OMP_NUM_THREADS"], "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
partial.write_text(json.dumps({"metrics": {"score": entry}, **facts}))
os.replace(partial, folder / "results.json")
"""

MAKER = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
folder.mkdir(parents=True)
(folder / "data.txt").write_text(" ".join(sys.argv[2:]))
"""

SWEEP = {
    "about": "A sweep of moments.",
    "seeds": [0, 1],
    "baseline": "plain",
    "data": {"numbers": {"command": "made_data {folder} 1 2 3", "product": "data.txt"}},
    "steps": {
        "pretrain": {
            "run": "training",
            "configs": ["tiny.yaml"],
            "overrides": {"dataset_dir": "{numbers}", "seed": "{seed}", "value": 1.0},
        },
        "probe": {
            "run": "evaluating",
            "configs": ["tiny.yaml"],
            "overrides": {"pretrained": "{pretrain}", "value": 10.0},
        },
    },
    "measures": {"pre": "pretrain.score", "probe": "probe.score"},
    "variants": {"plain": None, "more": {"pretrain": {"overrides": {"value": 1.5}}}},
}

KEYS = ("output_dir", "name", "dataset_dir", "seed", "value", "pretrained", "steps", "pause", "fail")


def write_sweep(folder: Path, content: dict, name: str = "moments") -> Path:
    """Write a sweep, its config and the stand-ins; return the sweep's file."""
    package = folder / "stand_ins" / "monai" / "bundle"
    package.mkdir(parents=True, exist_ok=True)
    for path in (package.parent / "__init__.py", package / "__init__.py"):
        path.write_text("")
    (package / "__main__.py").write_text(RUNNER)
    (folder / "stand_ins" / "made_data.py").write_text(MAKER)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(dict.fromkeys(KEYS)))
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def begin(path: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """Start the command as a process of its own, which a test may kill."""
    stand_ins = path.parent / "stand_ins"
    command = [sys.executable, "-m", "scripts.sweep", str(path), "--out", str(out), *options]
    environment = {**os.environ, "PYTHONPATH": str(stand_ins)}
    environment.pop("OMP_NUM_THREADS", None)
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def sweep(path: Path, out: Path, *options: str) -> tuple[int, str]:
    """Run the command to its end; return its exit code and what it printed."""
    process = begin(path, out, *options)
    printed, _ = process.communicate(timeout=120)
    return process.returncode, printed


def scores(out: Path, name: str = "moments") -> dict[str, float]:
    """Each cell's last score, by the cell's name."""
    return {
        str(path.parent.parent.relative_to(out / name)): json.loads(path.read_text())["metrics"]["score"]["value"]
        for path in (out / name).glob("*/seed_*/probe/results.json")
    }
