"""Encodes the images and reports of a packed store once, with frozen encoders, into a feature cache.

    python -m scripts.cache_features STORE --out CACHE --config_file "['configs/pretrain.yaml','configs/METHOD.yaml']"
    torchrun --nproc_per_node=8 -m scripts.cache_features STORE --out CACHE ...      # each process takes its share
    python -m scripts.cache_features --verify CACHE

The encoders are those that the config calls `frozen_image` and `frozen_text`, as configs/method_adaptor.yaml does. Ids
of the config can be overridden as for a training: `--image_weights FILE --precision fp32`. Killed or stopped, the same
command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from scripts.command import exit_code
from scripts.preparing.options import positive

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: command line, by default that of the process.

    Returns:
        Exit code: 0, or 2 after an error that was printed in one sentence, or 130 after Ctrl-C.
    """
    args, values = _parse(arguments)
    return exit_code(lambda: _cache(args, values), interrupted="the same command goes on where it was")


def _cache(args: argparse.Namespace, values: dict[str, Any]) -> None:
    # Imported here: `--help` need not wait for them.
    from bundle.data.pair_features import verify_cache
    from scripts.caching.cache import cache_features
    from scripts.caching.processes import joined_processes

    if args.verify is not None:
        print(_summary(args.verify, verify_cache(args.verify), "contents agree with the manifest"))
        return
    with joined_processes() as processes:
        manifest, clock = cache_features(args, values, processes)
    if processes.rank == 0:
        waited = f"; {clock.reading / clock.total:.1%} of {clock.total:.1f} s waiting for data" if clock.total else ""
        print(_summary(args.out, manifest, "cached") + waited)


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.cache_features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("store", nargs="?", type=Path, metavar="STORE", help="packed store")
    parser.add_argument("--out", type=Path, metavar="CACHE", help="folder to make")
    parser.add_argument(
        "--config_file", type=_files, metavar="FILES", help="config with the encoders: a file, or \"['a','b']\""
    )
    parser.add_argument(
        "--tokens", action="store_true", help="keep patches and words beside the pooled vectors (much larger)"
    )
    parser.add_argument("--batch-size", type=positive, default=64, help="images or reports at a time (64)")
    parser.add_argument("--overwrite", action="store_true", help="replace a cache that exists")
    parser.add_argument("--verify", type=Path, metavar="CACHE", help="only check the contents of a finished cache")
    args, others = parser.parse_known_args(arguments)
    if args.verify is None and None in (args.store, args.out, args.config_file):
        parser.error("give a packed store, --out and --config_file, or --verify")
    try:
        return args, _values(others)
    except ValueError as error:
        parser.error(str(error))


def _files(text: str) -> list[str]:
    named = yaml.safe_load(text)
    return [str(name) for name in named] if isinstance(named, list) else [str(named)]


def _values(others: Sequence[str]) -> dict[str, Any]:
    """Ids of the config with other values, given as `--id value`."""
    names, given = others[::2], others[1::2]
    if len(names) != len(given) or not all(name.startswith("--") and len(name) > 2 for name in names):
        raise ValueError(f"{' '.join(others)}: ids of the config are given as --ID VALUE")
    return {name[2:]: yaml.safe_load(value) for name, value in zip(names, given, strict=True)}


def _summary(cache: Path, manifest: dict[str, Any], verb: str) -> str:
    splits = manifest["splits"]
    counts = ", ".join(f"{record['count']} {split} ({record['texts']} reports)" for split, record in splits.items())
    size = sum(record["bytes"] for record in manifest["files"].values()) / 2**20
    return f"{cache}: {verb}: {counts}; {manifest['content']}, {size:.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
