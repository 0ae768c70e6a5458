"""Image-report pairs from any table: one row an image, with its report in one column or as findings and impression."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scripts.preparing.given_split import as_given
from scripts.preparing.options import add_shares, add_trust_patients
from scripts.preparing.pair_rows import GUESSES, VIEWS, choose_columns, usable_rows
from scripts.preparing.table import read_table
from scripts.preparing.table_rows import (
    TableRow,
    decoded,
    describe_shares,
    join_persons,
    split_by_share,
    with_existing_image,
    with_subsets,
)
from scripts.preparing.words import count_words

__all__ = ["HELP", "add_arguments", "build"]

HELP = "image-report pairs from any CSV or Parquet table"

_UNKNOWN_VIEW = "unknown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    parser.add_argument("--table", type=Path, required=True, help="the table: .csv, .tsv or .parquet")
    parser.add_argument("--root", type=Path, help="folder that image paths are relative to (default: the table's)")
    for role, names in GUESSES.items():
        parser.add_argument(f"--{role}-column", metavar="NAME", help=f"default: {' or '.join(names)}, where present")
    parser.add_argument("--sections", action="store_true", help="find findings and impression in the text by headers")
    parser.add_argument("--views", nargs="+", choices=(*VIEWS, _UNKNOWN_VIEW), help="keep only these views")
    parser.add_argument("--min-words", type=int, default=3, help="leave shorter reports out (default: 3)")
    add_shares(parser, validation=0.1, test=0.1)
    add_trust_patients(parser)


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: the table, a column or (without `--on-error skip`) a row can't be used.
    """
    table = read_table(args.table).head(args.limit)
    named = {role: getattr(args, f"{role}_column") for role in GUESSES}
    columns = choose_columns(table, args.table, named)
    root = (args.root or args.table.parent).absolute()
    rows = list(usable_rows(table, columns, args.table, root, args.sections, args.record))
    rows = with_existing_image(rows, root, args.workers, args.record)
    rows = [row for row in rows if _is_wanted(row, args)]
    joined: list[list[str]] = []
    if not args.trust_patients:
        rows, small = decoded(rows, root, args.workers, args.record)
        joined = join_persons(rows, small)
    if "split" in columns:
        splits = as_given(rows, args.record)
    else:
        splits = split_by_share(rows, args.validation, args.test, args.seed)
    return {
        "name": args.table.stem,
        "task": "pretrain",
        "modality": {"0": "CR"},
        "source": args.table.name,
        "image_root": root.as_posix(),
        "split": {**_how_split(columns, args), **({"joined": joined} if joined else {})},
        **with_subsets(splits, args.seed),
    }


def _is_wanted(row: TableRow, args: argparse.Namespace) -> bool:
    if args.views and row.item.get("view", _UNKNOWN_VIEW) not in args.views:
        args.record.drop(f"view not {' or '.join(args.views)}")
        return False
    if count_words(row.item) < args.min_words:
        args.record.drop(f"report of fewer than {args.min_words} words")
        return False
    return True


def _how_split(columns: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    unit = next((role for role in ("patient", "study") if role in columns), "image")
    if "split" in columns:
        return {"method": "column", "unit": unit, "leak_checked": unit == "patient"}
    return describe_shares(unit, args.validation, args.test, args.seed)
