"""Make a data list from raw files: `python -m scripts.prepare NAME --out DIR ...` writes `DIR/datalist.json`.

Each data set is a module of `scripts.datasets` with `HELP`, `add_arguments(parser)` and `build(args)`, which returns
the data list. `build` finds the common options in `args`, and in `args.record` a `scripts.preparing.record.Record`
that counts what it filters and decides whether an unusable item stops it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import scripts.datasets
from bundle.data.datalist import check_datalist, write_datalist
from bundle.data.datalist_form import SPLITS, each_item
from bundle.data.errors import DataError
from scripts.checking.published import compare_published
from scripts.command import exit_code
from scripts.preparing.copying import copy_files
from scripts.preparing.options import positive
from scripts.preparing.record import Record

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: what follows `python -m scripts.prepare`; the process's own by default.

    Returns:
        Exit code: 0, or 2 when the input can't be used, with one sentence on stderr that says why, or 130 after Ctrl-C.
    """
    args = _parser().parse_args(arguments)
    args.record = Record(args.on_error)
    return exit_code(lambda: _prepare(args), interrupted="no data list was written")


def _prepare(args: argparse.Namespace) -> None:
    if args.dry_run:
        with tempfile.TemporaryDirectory() as folder:  # for data sets whose `build` writes files of its own
            args.out = Path(folder)
            _show(_built(args), args)
    else:
        _write(_built(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.prepare", description="Make a data list from raw files.")
    commands = parser.add_subparsers(title="data sets", metavar="NAME", required=True)
    for name, module in _datasets().items():
        command = commands.add_parser(
            name, help=module.HELP, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.set_defaults(module=module)
        _add_common_arguments(command)
        module.add_arguments(command)
    return parser


def _datasets() -> dict[str, ModuleType]:
    names = sorted(found.name for found in pkgutil.iter_modules(scripts.datasets.__path__))
    return {name: importlib.import_module(f"scripts.datasets.{name}") for name in names}


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    common = parser.add_argument_group("common options")
    common.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write datalist.json in")
    common.add_argument(
        "--copy",
        action="store_true",
        help="copy images and masks into DIR/images, so that DIR can be moved; without it nothing is copied",
    )
    common.add_argument("--limit", type=positive, metavar="N", help="read only the first N items")
    common.add_argument("--dry-run", action="store_true", help="print counts and the first item's form, write nothing")
    common.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="what an unusable item does (default: stop)"
    )
    common.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every draw (default: 0)")
    workers = min(8, os.cpu_count() or 1)
    common.add_argument("--workers", type=positive, default=workers, metavar="N", help=f"threads (default: {workers})")


def _built(args: argparse.Namespace) -> dict[str, Any]:
    datalist: dict[str, Any] = args.module.build(args)
    if not any(datalist.get(split) for split in SPLITS):
        raise DataError("; ".join(["no item is left for the data list", *args.record.lines()]))
    limit = {} if args.limit is None else {"limit": args.limit}
    filters = {"filters": dict(args.record.filters)} if args.record.filters else {}
    return {key: value for key, value in datalist.items() if key not in SPLITS or value} | limit | filters


def _write(datalist: dict[str, Any], args: argparse.Namespace) -> None:
    target = args.out / "datalist.json"
    if args.copy:
        check_datalist(datalist, target)  # copying may take hours
        datalist = copy_files(datalist, args.out, args.workers)
    write_datalist(target, datalist)
    args.record.write(args.out / "skipped.csv")
    _print_counts(datalist, args.record)
    print(f"wrote {target}")
    _print_published(datalist)


def _show(datalist: dict[str, Any], args: argparse.Namespace) -> None:
    check_datalist(datalist, "dry run")
    _print_form(next(each_item(datalist)))
    _print_counts(datalist, args.record)
    print("dry run: nothing was written")
    _print_published(datalist)


def _print_form(item: dict[str, Any]) -> None:
    """What the item holds, without what identifies a patient."""
    print("first item:")
    for key, value in item.items():
        if key in ("id", "image", "mask", "patient", "study"):
            value = "(given)"
        elif isinstance(value, str) and key != "view":
            value = f"{len(value.split())} words"
        print(f"  {key}: {value}")


def _print_counts(datalist: dict[str, Any], record: Record) -> None:
    for split in SPLITS:
        items = datalist.get(split, [])
        patients = len({item["patient"] for item in items if "patient" in item})
        print(f"{split + ':':<12}{len(items):>8} items{patients:>8} patients")
    for line in record.lines():
        print(line)


def _print_published(datalist: dict[str, Any]) -> None:
    """Where the list differs from what its source says of itself."""
    compared = compare_published(datalist)
    for count in compared:
        if count.found != count.published:
            print(f"hint: {count.line()}")
    if compared and all(count.found == count.published for count in compared):
        print(f"counts are as published: {', '.join(count.key for count in compared)}")


if __name__ == "__main__":
    sys.exit(main())
