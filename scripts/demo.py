"""From nothing to trained networks in minutes: draw phantoms, pack, pre-train, evaluate, and a task with few labels.

    python -m scripts.demo                  # what `make demo` runs: G2D, findings without labels, masks with ten
    python -m scripts.demo --method m3ae    # M3AE on its encoders: masked words, matching, questions

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
from scripts.demonstrating.demonstration import Demonstration
from scripts.demonstrating.figures import table
from scripts.demonstrating.g2d import G2D
from scripts.demonstrating.m3ae import M3AE

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
METHODS: dict[str, type[Demonstration]] = {"g2d": G2D, "m3ae": M3AE}


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
    shown = METHODS[args.method](args.data, args.runs, args.count, args.epochs, args.steps)
    for command, product in shown.commands():
        if product.exists():
            print(f"\n{product} is there already", flush=True)
            continue
        print(f"\n$ {' '.join(command)}", flush=True)
        code = subprocess.run([sys.executable, *command[1:]], cwd=ROOT, env=_environment()).returncode
        if code:
            return code
    gathered = shown.gather()
    print(table(gathered, shown.rows))
    print(f"\nFigures: {gathered}")
    for title, folder in shown.pictures().items():
        print(f"{title}: {folder}")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", choices=tuple(METHODS), default="g2d", help="what is shown (g2d)")
    parser.add_argument("--count", type=int, default=3000, help="phantoms to draw (3000)")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "phantoms", help="where they go (data/phantoms)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where runs go (runs)")
    parser.add_argument("--epochs", type=int, help="epochs of every pre-training (those of the configs)")
    parser.add_argument("--steps", type=int, help="epochs of every task: steps, with ten labels (those of the configs)")
    return parser.parse_args(arguments)


def _environment() -> dict[str, str]:
    """One thread a core: more of them wait for each other at every convolution."""
    return {"OMP_NUM_THREADS": str(os.cpu_count() or 1), **os.environ}


if __name__ == "__main__":
    sys.exit(main())
