"""Image-report pairs from any table: one row an image, with its report in one column or as findings and impression."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from bundle.data.splits import mark_subsets, split_by_group
from scripts.preparing.pair_rows import GUESSES, VIEWS, PairRow, choose_columns, usable_rows
from scripts.preparing.record import Record
from scripts.preparing.same_person import join_groups, same_images, thumbnails
from scripts.preparing.table import read_table
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
    parser.add_argument("--validation", type=float, default=0.1, help="share for validation (default: 0.1)")
    parser.add_argument("--test", type=float, default=0.1, help="share for test (default: 0.1)")
    parser.add_argument(
        "--trust-patients", action="store_true", help="don't look for the same image under different patients"
    )


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
    rows = _with_existing_image(rows, root, args)
    rows = [row for row in rows if _is_wanted(row, args)]
    joined: list[list[str]] = []
    if not args.trust_patients:
        rows, joined = _joined_by_image(rows, root, args)
    splits = _by_column(rows, args.record) if "split" in columns else _by_share(rows, args)
    return {
        "name": args.table.stem,
        "task": "pretrain",
        "modality": {"0": "CR"},
        "source": args.table.name,
        "image_root": root.as_posix(),
        "split": {**_how_split(columns, args), **({"joined": joined} if joined else {})},
        **_with_subsets(splits, args.seed),
    }


def _with_existing_image(rows: list[PairRow], root: Path, args: argparse.Namespace) -> list[PairRow]:
    with ThreadPoolExecutor(args.workers) as pool:
        exists = list(pool.map(os.path.isfile, (root / row.item["image"] for row in rows)))
    for row, there in zip(rows, exists, strict=True):
        if not there:
            args.record.reject(row.where, f"there is no image file {root / row.item['image']}")
    return [row for row, there in zip(rows, exists, strict=True) if there]


def _is_wanted(row: PairRow, args: argparse.Namespace) -> bool:
    if args.views and row.item.get("view", _UNKNOWN_VIEW) not in args.views:
        args.record.drop(f"view not {' or '.join(args.views)}")
        return False
    if count_words(row.item) < args.min_words:
        args.record.drop(f"report of fewer than {args.min_words} words")
        return False
    return True


def _joined_by_image(
    rows: list[PairRow], root: Path, args: argparse.Namespace
) -> tuple[list[PairRow], list[list[str]]]:
    """Give patients that share an image one group, and leave out what can't be decoded."""
    if not rows:
        return [], []
    found = thumbnails([root / row.item["image"] for row in rows], args.workers)
    kept, vectors = [], []
    for row, vector in zip(rows, found, strict=True):
        if isinstance(vector, DataError):
            args.record.reject(row.where, str(vector))
        else:
            kept.append(row)
            vectors.append(vector)
    groups, joined = join_groups([row.group for row in kept], same_images(vectors))
    for row, group in zip(kept, groups, strict=True):
        row.group = group
    for names in joined:
        print(f"warning: {len(names)} patients share an image; they are taken for one person and kept in one split")
    return kept, joined


def _by_column(rows: list[PairRow], record: Record) -> dict[str, list[dict[str, Any]]]:
    splits: dict[str, list[dict[str, Any]]] = {}
    split_of: dict[str, str] = {}
    for row in rows:
        split = str(row.split)
        before = split_of.setdefault(row.group, split)
        if before != split:
            record.reject(row.where, f"it is in {split}, but an earlier row of its patient {row.group} is in {before}")
            continue
        splits.setdefault(split, []).append(row.item)
    return splits


def _by_share(rows: list[PairRow], args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    splits: dict[str, list[dict[str, Any]]] = {}
    if not rows:
        return splits
    names = split_by_group([row.group for row in rows], args.validation, args.test, args.seed)
    for row, split in zip(rows, names, strict=True):
        splits.setdefault(split, []).append(row.item)
    return splits


def _how_split(columns: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    unit = next((role for role in ("patient", "study") if role in columns), "image")
    if "split" in columns:
        return {"method": "column", "unit": unit, "leak_checked": unit == "patient"}
    ratios = [round(1 - args.validation - args.test, 6), args.validation, args.test]
    return {
        "method": "share", "unit": unit, "ratios": ratios, "seed": args.seed, "leak_checked": unit == "patient"
    }  # fmt: skip


def _with_subsets(splits: dict[str, list[dict[str, Any]]], seed: int) -> dict[str, Any]:
    training, subsets = mark_subsets(splits.get("training", []), seed=seed)
    return {"subsets": subsets, **splits, "training": training}
