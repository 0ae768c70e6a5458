"""From nothing to trained networks in minutes: draw phantoms, pack them, pre-train, segment with ten labels.

    python -m scripts.demo            # what `make demo` runs

Every step is an ordinary command of this bundle, printed before it runs; what is done already is not done again, and an
interrupted training continues. The radiographs are synthetic: the figures say that the method learns, not how well it
reads patients.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.handlers.atomic import replacing

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
PRETRAINING = ("configs/pretrain.yaml", "configs/demo.yaml")
SEGMENTATION = ("configs/train.yaml", "configs/demo.yaml", "configs/demo_segmentation.yaml")
STARTS = ("random", "encoder", "encoder_decoder")
LABELS = 10
ROWS = (
    ("image to report, recall at 5", "retrieval_r5_image_to_text"),
    ("report to image, recall at 5", "retrieval_r5_text_to_image"),
    ("  the first, over chance", "retrieval_r5_image_to_text_over_chance"),
    ("  the second, over chance", "retrieval_r5_text_to_image_over_chance"),
    ("decoder against pseudo mask, Dice", "decoder_mask_dice"),
    ("10 labels, Dice: from random weights", "dice_pos_random"),
    ("  from the encoder", "dice_pos_encoder"),
    ("  from encoder and decoder", "dice_pos_encoder_decoder"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: command line, by default that of the process.

    Returns:
        Exit code: 0, or that of the first command that failed.
    """
    args = _parse(arguments)
    began = time.monotonic()
    for command, product in _commands(args):
        if product.exists():
            print(f"\n{product} is there already", flush=True)
            continue
        print(f"\n$ {' '.join(command)}", flush=True)
        code = subprocess.run([sys.executable, *command[1:]], cwd=ROOT, env=_environment()).returncode
        if code:
            return code
    gathered = _gather(args.runs)
    print(_table(json.loads(gathered.read_text(encoding="utf-8"))["metrics"]))
    print(f"\nFigures: {gathered}\nPictures: {args.runs / 'pretrain' / 'demo' / 'pictures'}")
    print(f"          {args.runs / 'segmentation' / 'demo_encoder_decoder' / 'pictures'}")
    print(f"Curves: {args.runs / 'pretrain' / 'demo' / 'curves.png'}")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=3000, help="phantoms to draw (3000)")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "phantoms", help="where they go (data/phantoms)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where runs go (runs)")
    parser.add_argument("--epochs", type=int, help="epochs of pre-training (those of configs/demo.yaml)")
    parser.add_argument("--steps", type=int, help="steps of segmentation (those of configs/demo_segmentation.yaml)")
    return parser.parse_args(arguments)


def _commands(args: argparse.Namespace) -> list[tuple[list[str], Path]]:
    """The commands, each with the file whose presence says that it is done."""
    datalist, store, cores = args.data / "datalist.json", args.data / "store", str(os.cpu_count() or 1)
    prepare = ["scripts.prepare", "phantom", "--out", str(args.data), "--count", str(args.count), "--size", "128"]
    pack = ["scripts.pack", str(datalist), "--out", str(store), "--size", "128", "--vocab-size", "1000"]
    few = args.data / f"{LABELS}_labels" / "datalist.json"
    subset = ["scripts.subset", str(datalist), "--out", str(few), "--count", str(LABELS)]
    return [
        (["python", "-m", *prepare, "--workers", cores], datalist),
        (["python", "-m", *pack, "--workers", cores], store / "manifest.json"),
        _pretraining(args, store),
        (["python", "-m", *subset, "--annotated", "mask", "--positive"], few),
        *(_segmentation(args, few.parent, start) for start in STARTS),
    ]


def _pretraining(args: argparse.Namespace, store: Path) -> tuple[list[str], Path]:
    train = ["monai.bundle", "run", "training", "--config_file", str(list(PRETRAINING))]
    train += ["--dataset_dir", str(store), "--output_root", str(args.runs)]
    if args.epochs is not None:
        train += ["--max_epochs", str(args.epochs)]
    return ["python", "-m", *train], args.runs / "pretrain" / "demo" / "results.json"


def _segmentation(args: argparse.Namespace, listed: Path, start: str) -> tuple[list[str], Path]:
    """Ten labels, from random weights or from those that pre-training has left under the name of the start."""
    train = ["monai.bundle", "run", "training", "--config_file", str([*SEGMENTATION, f"configs/init_{start}.yaml"])]
    train += ["--dataset_dir", str(listed), "--output_root", str(args.runs), "--name", f"demo_{start}"]
    if start != "random":
        train += ["--start", str(args.runs / "pretrain" / "demo" / "models" / f"{start}.safetensors")]
    if args.steps is not None:
        train += ["--max_epochs", str(args.steps), "--val_interval", str(args.steps)]
    return ["python", "-m", *train], args.runs / "segmentation" / f"demo_{start}" / "results.json"


def _environment() -> dict[str, str]:
    """One thread a core: more of them wait for each other at every convolution."""
    return {"OMP_NUM_THREADS": str(os.cpu_count() or 1), **os.environ}


def _gather(runs: Path) -> Path:
    """Write the figures of the whole demo, in the schema of a run's results."""
    results = _results(runs / "pretrain" / "demo")
    for start in STARTS:
        figures = _results(runs / "segmentation" / f"demo_{start}")["metrics"]
        results["metrics"][f"dice_pos_{start}"] = figures["dice_pos"]
    path = runs / "demo" / "results.json"
    with replacing(path) as partial:
        partial.write_text(json.dumps(results | {"stage": "demo"}, indent=2) + "\n", encoding="utf-8")
    return path


def _results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text(encoding="utf-8"))


def _table(metrics: Mapping[str, Mapping[str, float | None]]) -> str:
    """The figures that matter, with their intervals."""
    lines = ["", f"{'held-out phantoms':36}{'value':>9}   95 % interval"]
    for title, name in ROWS:
        entry = metrics[name]
        interval = f"{entry['low']:.3g} to {entry['high']:.3g}" if entry["low"] is not None else ""
        lines.append(f"{title:36}{entry['value']:9.3g}   {interval}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
