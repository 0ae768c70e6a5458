"""From nothing to trained networks in minutes: draw phantoms, pack, pre-train, evaluate, segment with ten labels.

    python -m scripts.demo            # what `make demo` runs

Every step is an ordinary command of this bundle, printed before it runs; what is done already is not done again, and an
interrupted training continues. The radiographs are synthetic: the figures say that the method learns, not how well it
reads patients.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.command import exit_code
from scripts.demonstrating.figures import gather, table

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
PRETRAINING = ("configs/pretrain.yaml", "configs/demo.yaml")
SEGMENTATION = ("configs/train.yaml", "configs/demo.yaml", "configs/demo_segmentation.yaml")
STARTS = ("random", "encoder", "encoder_decoder")
LABELS = 10
POINTED_AT = ["consolidation", "pleural effusion", "pneumothorax", "nodule"]
"""The findings that grounding is asked for: an enlarged heart is always in one place, so its map proves nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: command line, by default that of the process.

    Returns:
        Exit code: 0, that of the first command that failed, 2 after an error that was printed, or 130 after Ctrl-C.
    """
    args = _parse(arguments)
    return exit_code(lambda: _run(args), interrupted="the same command goes on where it was")


def _run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    for command, product in _commands(args):
        if product.exists():
            print(f"\n{product} is there already", flush=True)
            continue
        print(f"\n$ {' '.join(command)}", flush=True)
        code = subprocess.run([sys.executable, *command[1:]], cwd=ROOT, env=_environment()).returncode
        if code:
            return code
    runs = args.runs
    evaluations = [runs / stage / "demo" for stage in ("pretrain", "zero_shot", "grounding")]
    gathered = gather(runs, evaluations, {start: runs / "segmentation" / f"demo_{start}" for start in STARTS})
    print(table(gathered))
    print(f"\nFigures:  {gathered}\nCurves:   {runs / 'pretrain' / 'demo' / 'curves.png'}")
    print(f"Pictures: {runs / 'pretrain' / 'demo' / 'pictures'}: attention, pseudo mask, decoder")
    print(f"          {runs / 'grounding' / 'demo' / 'pictures'}: what phrases point at")
    print(f"          {runs / 'segmentation' / 'demo_encoder_decoder' / 'pictures'}: ten labels")
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
        _evaluation(args, "zero_shot", "--prompts", "configs/prompts/phantom.json"),
        _evaluation(args, "grounding", "--classes", str(POINTED_AT)),
        (["python", "-m", *subset, "--annotated", "mask", "--positive"], few),
        *(_segmentation(args, few.parent, start) for start in STARTS),
    ]


def _pretraining(args: argparse.Namespace, store: Path) -> tuple[list[str], Path]:
    train = ["monai.bundle", "run", "training", "--config_file", str(list(PRETRAINING))]
    train += ["--dataset_dir", str(store), "--output_root", str(args.runs)]
    if args.epochs is not None:
        train += ["--max_epochs", str(args.epochs), "--val_interval", str(args.epochs)]
    return ["python", "-m", *train], args.runs / "pretrain" / "demo" / "results.json"


def _evaluation(args: argparse.Namespace, stage: str, *options: str) -> tuple[list[str], Path]:
    """Without any label: zero-shot classification or grounding of the held-out phantoms."""
    evaluate = ["monai.bundle", "run", "evaluating", "--config_file", f"configs/evaluate_{stage}.yaml"]
    evaluate += ["--pretrained", str(args.runs / "pretrain" / "demo"), "--dataset_dir", str(args.data)]
    evaluate += ["--output_root", str(args.runs), "--name", "demo", *options]
    return ["python", "-m", *evaluate], args.runs / stage / "demo" / "results.json"


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


if __name__ == "__main__":
    sys.exit(main())
