"""Packs the images and reports of a data list into a memory-mapped store.

    python -m scripts.pack runs/phantoms/datalist.json --out stores/phantoms --size 256
    python -m scripts.pack --verify stores/phantoms

Killed or stopped, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.command import exit_code
from scripts.preparing.options import multiple_of, positive

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: command line, by default that of the process.

    Returns:
        Exit code: 0, or 2 after an error that was printed in one sentence, or 130 after Ctrl-C.
    """
    args = _parse(arguments)
    return exit_code(lambda: _pack(args), interrupted="the same command goes on where it was")


def _pack(args: argparse.Namespace) -> None:
    # Imported here, since every worker process runs this file again and needs none of it.
    from bundle.data.packed import verify_store
    from scripts.packing.store import pack

    if args.verify is not None:
        print(_summary(args.verify, verify_store(args.verify), "contents agree with the manifest"))
    else:
        print(_summary(args.out, pack(args), "packed"))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("list", nargs="?", type=Path, help="data list (JSON)")
    parser.add_argument("--out", type=Path, metavar="STORE", help="folder to make")
    parser.add_argument("--size", type=multiple_of(8), default=256, help="side of the images in pixels (256)")
    parser.add_argument(
        "--fit", choices=("pad", "stretch"), default="pad", help="keep the aspect (pad) or fill (stretch)"
    )
    tokenizer = parser.add_mutually_exclusive_group()
    tokenizer.add_argument("--tokenizer", metavar="NAME_OR_FOLDER", help="tokenizer to use instead of training one")
    tokenizer.add_argument(
        "--vocab-size",
        type=positive,
        default=4096,
        help="pieces of the tokenizer trained on the training reports (4096)",
    )
    parser.add_argument("--max-length", type=positive, default=256, help="tokens at which reports are cut (256)")
    parser.add_argument(
        "--report",
        choices=("sections", "impression", "released"),
        default="sections",
        help="text of a report: see bundle/transforms/report.py",
    )
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="splits to pack (all)")
    parser.add_argument("--limit", type=positive, help="pack only the first items of each split")
    parser.add_argument("--workers", type=positive, default=len(os.sched_getaffinity(0)), help="processes (one a core)")
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="unusable items: stop, or leave out and list them"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a store that exists")
    parser.add_argument("--verify", type=Path, metavar="STORE", help="only check the contents of a finished store")
    args = parser.parse_args(arguments)
    if args.verify is None and (args.list is None or args.out is None):
        parser.error("give a data list and --out, or --verify")
    return args


def _summary(store: Path, manifest: dict[str, Any], verb: str) -> str:
    splits = manifest["splits"]
    counts = ", ".join(f"{record['count']} {split}" for split, record in splits.items())
    skipped = sum(record["skipped"] for record in splits.values())
    note = f"; {skipped} items left out, see {store / 'skipped.csv'}" if skipped else ""
    return f"{store}: {verb}: {counts}, {manifest['parameters']['size']} px{note}"


if __name__ == "__main__":
    sys.exit(main())
