"""Everything that is found out about a data list, as one JSON object, and what of it is a problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bundle.data.datalist_form import SPLITS
from bundle.data.leaks import find_leaks
from scripts.checking.annotations import box_figures, label_counts, run_length_shares, spread
from scripts.checking.files import FileFindings, Files, look_at_files
from scripts.checking.published import compare_published, count_all, count_split
from scripts.checking.rules import Rules
from scripts.checking.shared import pictures_in_two_splits
from scripts.checking.texts import question_counts, text_figures

__all__ = ["gather_figures", "problems_of"]

_MOST_COMMON = 3


def gather_figures(
    datalist: Mapping[str, Any],
    rules: Rules,
    source: Path,
    files: Files = "all",
    decode: bool = False,
    same_images: bool = False,
    workers: int = 1,
) -> dict[str, Any]:
    """Find out what a list holds.

    Args:
        datalist: the list; it has the form that the format says.
        rules: which rules it keeps.
        source: its file.
        files: of which items files are looked at.
        decode: whether images are decoded.
        same_images: whether the same picture is looked for under two names.
        workers: threads.

    Returns:
        The figures by subject; only numbers, names of classes, and places such as "training[17]".
    """
    looked = look_at_files(datalist, source, files, decode, workers)
    figures = {
        "name": datalist.get("name", source.stem),
        "task": datalist.get("task"),
        "rules": {"broken": rules.broken, "notes": rules.notes},
        "counts": {**{split: count_split(datalist, split) for split in SPLITS}, "all": count_all(datalist)},
        "limit": datalist.get("limit"),
        "filters": datalist.get("filters", {}),
        "published": [{**asdict(count), "agrees": count.agrees} for count in compare_published(datalist)],
        "files": _files(looked, files, decode),
        "leaks": {"declared": datalist.get("split", {}).get("leaks"), "found": find_leaks(datalist)},
        "texts": text_figures(datalist),
        "questions": question_counts(datalist),
    }
    if same_images:
        figures["leaks"]["same_pictures"] = pictures_in_two_splits(datalist, source, workers)
    if rules.has_annotations:
        masks = {**looked.covered, **({"run lengths": shares} if (shares := run_length_shares(datalist)) else {})}
        figures["labels"] = label_counts(datalist)
        figures["boxes"] = box_figures(datalist)
        figures["masks"] = {name: _mask(shares) for name, shares in masks.items()}
    return figures


def problems_of(figures: Mapping[str, Any]) -> list[str]:
    """What keeps a list from passing, in one line each; none where it passes."""
    files = figures["files"]
    problems = list(figures["rules"]["broken"])
    problems += [_count(len(files["missing"]), "file is", "files are", "missing")]
    problems += [_count(sum(map(len, files["unreadable"].values())), "file", "files", "can't be used")]
    problems += [_count(len(files["other_size"]), "image has", "images have", "another size than the list says")]
    problems += [_count(len(files["mask_size"]), "item has", "items have", "a mask of another size than the image")]
    differing = [count["key"] for count in figures["published"] if not count["agrees"]]
    problems += [f"counts differ from those published: {', '.join(differing)}"] if differing else []
    same = sum(map(len, figures["leaks"].get("same_pictures", {}).values()))
    problems += [_count(same, "picture is", "pictures are", "in two splits under two names")]
    return [problem for problem in problems if problem]


def _count(number: int, one: str, many: str, what: str) -> str:
    return f"{number:,} {one if number == 1 else many} {what}" if number else ""


def _files(looked: FileFindings, files: Files, decode: bool) -> dict[str, Any]:
    sizes = sorted(looked.sizes, key=lambda size: (size[0] * size[1], size))
    return {
        "asked": files,
        "decoded": decode,
        "items": looked.items,
        "images": looked.images,
        "masks": looked.masks,
        "missing": looked.missing,
        "unreadable": looked.unreadable,
        "sizes": {
            "different": len(sizes),
            "smallest": list(sizes[0]) if sizes else None,
            "largest": list(sizes[-1]) if sizes else None,
            "common": [[*size, count] for size, count in looked.sizes.most_common(_MOST_COMMON)],
        },
        "other_size": looked.other_size,
        "mask_size": looked.mask_size,
    }


def _mask(shares: list[float]) -> dict[str, Any]:
    filled = [share for share in shares if share]
    return {"masks": len(shares), "empty": len(shares) - len(filled), "share": spread(filled) if filled else None}
