"""Image-report pairs from any table: one row an image, with its report in one column or as findings and impression."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from bundle.data.splits import mark_subsets, split_by_group
from bundle.transforms.report_sections import extract_sections
from scripts.preparing.record import Record
from scripts.preparing.same_person import join_groups, same_images, thumbnails
from scripts.preparing.table import find_column, read_table
from scripts.preparing.words import count_words

__all__ = ["HELP", "add_arguments", "build"]

HELP = "image-report pairs from any CSV or Parquet table"

_GUESSES = {
    "image": ("image", "path"),
    "text": ("report", "text"),
    "findings": ("findings",),
    "impression": ("impression",),
    "patient": ("patient_id", "patient", "subject_id"),
    "view": ("view", "ViewPosition"),
    "study": ("study", "study_id"),
    "id": ("id",),
    "split": ("split",),
}
"""Column names that are recognised without an option, by what the column holds."""

_SPLIT_NAMES = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_VIEWS = {"pa": "PA", "posteroanterior": "PA", "ap": "AP", "anteroposterior": "AP"}
_VIEWS |= dict.fromkeys(("l", "ll", "lat", "lateral", "left lateral"), "L")
_UNKNOWN_VIEW = "unknown"


@dataclass
class _Row:
    """A usable row of the table."""

    where: str
    item: dict[str, Any]
    group: str
    split: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    parser.add_argument("--table", type=Path, required=True, help="the table: .csv, .tsv or .parquet")
    parser.add_argument("--root", type=Path, help="folder that image paths are relative to (default: the table's)")
    for role, names in _GUESSES.items():
        parser.add_argument(f"--{role}-column", metavar="NAME", help=f"default: {' or '.join(names)}, where present")
    parser.add_argument("--sections", action="store_true", help="find findings and impression in the text by headers")
    parser.add_argument("--views", nargs="+", choices=("PA", "AP", "L", _UNKNOWN_VIEW), help="keep only these views")
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
    columns = _columns(table, args)
    root = (args.root or args.table.parent).absolute()
    rows = list(_usable_rows(table, columns, root, args))
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


def _columns(table: pd.DataFrame, args: argparse.Namespace) -> dict[str, str]:
    """The column of each role that the table has; a column without any value counts as absent unless it was named."""
    found = {}
    for role, names in _GUESSES.items():
        named = getattr(args, f"{role}_column")
        if named is not None:
            found[role] = find_column(table, args.table, named)
            if not table[named].notna().any():
                raise DataError(f"{args.table}: the column '{named}' is empty")
        else:
            present = [name for name in names if name in table.columns and table[name].notna().any()]
            found.update({role: present[0]} if present else {})
    wanted = {"image": "--image-column"}
    if not found.keys() & {"text", "findings", "impression"}:
        wanted["text"] = "--text-column, or --findings-column and --impression-column"
    for role, option in wanted.items():
        if role not in found:
            raise DataError(
                f"{args.table}: no column with the {role} was recognised; name it with {option}; "
                f"the columns are {', '.join(table.columns)}"
            )
    return found


def _usable_rows(table: pd.DataFrame, columns: dict[str, str], root: Path, args: argparse.Namespace) -> Iterator[_Row]:
    seen: dict[str, str] = {}
    cells = zip(*(table[name] for name in columns.values()), strict=True)
    for number, values in enumerate(cells, start=2):  # as a spreadsheet counts: row 1 holds the names
        row = dict(zip(columns, values, strict=True))
        where = f"{args.table} row {number} ({row['image']})"
        try:
            usable = _row(where, row, root, args.sections)
            for key in ("id", "image"):
                before = seen.setdefault(f"{key} {usable.item[key]}", where)
                if before != where:
                    raise DataError(f"its {key} '{usable.item[key]}' is also that of {before}")
        except DataError as error:
            args.record.reject(where, str(error))
            continue
        yield usable


def _row(where: str, row: dict[str, str | None], root: Path, sections: bool) -> _Row:
    image = _relative(row["image"], root)
    item: dict[str, Any] = {"id": row.get("id") or os.path.splitext(image)[0], "image": image}
    if "patient" in row and row["patient"] is None:
        raise DataError("its patient is empty")
    item.update({role: row[role] for role in ("patient", "study") if row.get(role)})
    view = _view(row.get("view"))
    item.update({"view": view} if view else {})
    item.update(_report(row, sections))
    split = _split_name(row["split"]) if "split" in row else None
    return _Row(where, item, group=item.get("patient") or item.get("study") or item["id"], split=split)


def _relative(image: str | None, root: Path) -> str:
    if image is None:
        raise DataError("its image is empty")
    path = image.replace("\\", "/")
    if os.path.isabs(path):
        path = os.path.relpath(path, root)
    path = os.path.normpath(path).replace(os.sep, "/")
    if path.startswith(".."):
        raise DataError(f"its image lies outside {root}; name the folder that holds all images with --root")
    return path


def _view(text: str | None) -> str | None:
    """`PA`, `AP` or `L`, whatever words such as "supine" or "erect" follow; None where it can't be told."""
    words = (text or "").lower().replace("-", "").split()
    return _VIEWS.get(" ".join(words)) or _VIEWS.get(words[0] if words else "")


def _report(row: dict[str, str | None], sections: bool) -> dict[str, str]:
    text = row.get("text")
    if text is None:
        found = {role: row[role] for role in ("findings", "impression") if row.get(role)}
    elif sections:
        found = {key: part for key, part in extract_sections(text).items() if key in ("findings", "impression")}
        if not found:
            raise DataError("its report has no text under a header for findings or impression")
    else:
        found = {"text": text}
    if not found:
        raise DataError("its report is empty")
    return {key: " ".join(str(part).split()) for key, part in found.items()}


def _split_name(text: str | None) -> str:
    split = _SPLIT_NAMES.get((text or "").lower())
    if split is None:
        raise DataError(f"its split '{text or ''}' is none of {', '.join(_SPLIT_NAMES)}")
    return split


def _with_existing_image(rows: list[_Row], root: Path, args: argparse.Namespace) -> list[_Row]:
    with ThreadPoolExecutor(args.workers) as pool:
        exists = list(pool.map(os.path.isfile, (root / row.item["image"] for row in rows)))
    for row, there in zip(rows, exists, strict=True):
        if not there:
            args.record.reject(row.where, f"there is no image file {root / row.item['image']}")
    return [row for row, there in zip(rows, exists, strict=True) if there]


def _is_wanted(row: _Row, args: argparse.Namespace) -> bool:
    if args.views and row.item.get("view", _UNKNOWN_VIEW) not in args.views:
        args.record.drop(f"view not {' or '.join(args.views)}")
        return False
    if count_words(row.item) < args.min_words:
        args.record.drop(f"report of fewer than {args.min_words} words")
        return False
    return True


def _joined_by_image(rows: list[_Row], root: Path, args: argparse.Namespace) -> tuple[list[_Row], list[list[str]]]:
    """Give patients that share an image one group, and leave out what can't be decoded."""
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
        print(f"warning: the same image belongs to {' and '.join(names)}; they are kept in one split")
    return kept, joined


def _by_column(rows: list[_Row], record: Record) -> dict[str, list[dict[str, Any]]]:
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


def _by_share(rows: list[_Row], args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    splits: dict[str, list[dict[str, Any]]] = {}
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
