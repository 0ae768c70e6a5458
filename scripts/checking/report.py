"""The figures of a data list as a report that a person reads at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bundle.data.datalist_form import SPLITS
from scripts.checking.published import Published

__all__ = ["report_lines", "verdict"]

_SHOWN = 5
_LABEL_VALUES = ("positive", "negative", "uncertain", "missing")


def report_lines(figures: Mapping[str, Any]) -> list[str]:
    """The whole report but its verdict.

    Args:
        figures: what `scripts.checking.figures.gather_figures` found.
    """
    task = f", for {figures['task']}" if figures["task"] else ""
    parts = {
        "rules": _rules(figures["rules"]),
        "counts": _counts(figures["counts"]),
        "published": _published(figures),
        "files": _files(figures["files"]),
        "image sizes": _sizes(figures["files"]),
        "leaks": _leaks(figures["leaks"]),
        "labels": _labels(figures.get("labels", {})),
        "boxes": _boxes(figures.get("boxes", {})),
        "masks": _masks(figures.get("masks", {})),
        "texts": _texts(figures["texts"]),
        "questions": _questions(figures["questions"]),
    }
    lines = [f"{figures['name']}{task}"]
    for title, part in parts.items():
        lines += ["", title, *(f"  {line}" for line in part)] if part else []
    return lines


def verdict(problems: Sequence[str]) -> list[str]:
    """The report's last lines: that the list passes, or why it doesn't."""
    if not problems:
        return ["", "passes"]
    reasons = "1 reason" if len(problems) == 1 else f"{len(problems)} reasons"
    return ["", f"does not pass, for {reasons}:", *(f"  {problem}" for problem in problems)]


def _rules(rules: Mapping[str, list[str]]) -> list[str]:
    return [*(f"broken: {reason}" for reason in rules["broken"]), *([] if rules["broken"] else ["kept"])] + [
        f"note: {note}" for note in rules["notes"]
    ]


def _counts(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    columns = ("items", "images", "patients", "boxes", "without patient")
    shown = [column for column in columns if column in columns[:3] or counts["all"][column]]
    rows = [(name, *(f"{counts[name][column]:,}" for column in shown)) for name in (*SPLITS, "all")]
    return _table([("", *shown), *rows])


def _published(figures: Mapping[str, Any]) -> list[str]:
    if figures["limit"] is not None:
        return [f"not compared: the list was made with --limit {figures['limit']}"]
    if not figures["published"]:
        return ["not compared: the header says nothing under 'published'"]
    filters = [f"left out by the list's filters: {count:,} ({reason})" for reason, count in figures["filters"].items()]
    compared = [
        Published(count["key"], count["published"], count["found"], tuple(count["filters"]))
        for count in figures["published"]
    ]
    differ = any(count.found != count.published for count in compared)
    return [count.line() for count in compared] + (filters if differ else [])


def _files(files: Mapping[str, Any]) -> list[str]:
    if files["asked"] == "none":
        return ["not looked for (--files none)"]
    how = "decoded" if files["decoded"] else "images by their headers, masks decoded"
    masks = f" and {files['masks']:,} masks" if files["masks"] else ""
    unreadable = sum(map(len, files["unreadable"].values()))
    lines = [f"{files['images']:,} images{masks} of {files['items']:,} items: {how}"]
    lines += [f"{len(files['missing']):,} missing, {unreadable:,} unusable"]
    lines += [f"missing: {_places(files['missing'])}"] if files["missing"] else []
    reasons = list(files["unreadable"].items())
    lines += [f"{reason}: {_places(places)}" for reason, places in reasons[:_SHOWN]]
    lines += [f"... and {len(reasons) - _SHOWN} more reasons"] if len(reasons) > _SHOWN else []
    return lines


def _sizes(files: Mapping[str, Any]) -> list[str]:
    sizes = files["sizes"]
    if not sizes["different"]:
        return []
    common = ", ".join(f"{height} x {width} ({count:,})" for height, width, count in sizes["common"])
    lines = [f"rows x columns; most common: {common}"]
    if sizes["different"] > 1:
        small, large = (f"{height} x {width}" for height, width in (sizes["smallest"], sizes["largest"]))
        lines += [f"{sizes['different']:,} different ones, from {small} to {large}"]
    for key, what in (("other_size", "not the size in the list"), ("mask_size", "mask of another size")):
        lines += [f"{what}: {_places(files[key])}"] if files[key] else []
    return lines


def _leaks(leaks: Mapping[str, Any]) -> list[str]:
    lines = [] if leaks["found"] else ["no image and no patient is in two splits"]
    for pair, counts in leaks["found"].items():
        known = "as declared" if (leaks["declared"] or {}).get(pair) == counts else "NOT declared"
        lines.append(f"{pair} share {counts['images']:,} images and {counts['patients']:,} patients, {known}")
    if "same_pictures" not in leaks:
        return [*lines, "not looked for: the same picture under two names (--same-images)"]
    if not leaks["same_pictures"]:
        return [*lines, "no picture is in two splits under two names"]
    for pair, places in leaks["same_pictures"].items():
        same = _places([" = ".join(both) for both in places])
        lines.append(f"{pair} share {len(places):,} pictures under two names: {same}")
    return lines


def _labels(labels: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[str]:
    counts = [one for split in labels.values() for one in split.values()]
    rare = [value for value in _LABEL_VALUES[2:] if any(one[value] for one in counts)]
    if not rare:  # two columns of all splits fit on a line, more of them don't
        return _label_table(labels, _LABEL_VALUES[:2]) if labels else []
    tables = (_label_table({split: found}, [*_LABEL_VALUES[:2], *rare]) for split, found in labels.items())
    return [line for table in tables for line in table]


def _label_table(labels: Mapping[str, Mapping[str, Mapping[str, int]]], values: Sequence[str]) -> list[str]:
    blanks = [""] * len(values)
    rows = [("", *(cell for split in labels for cell in (split, *blanks))), ("", *([*values, "share"] * len(labels)))]
    for name in next(iter(labels.values())):
        cells: list[str] = []
        for split in labels.values():
            known = split[name]["positive"] + split[name]["negative"]
            cells += [f"{split[name][value]:,}" for value in values]
            cells += [f"{split[name]['positive'] / known:.1%}" if known else "-"]
        rows.append((name, *cells))
    return _table(rows)


def _boxes(boxes: Mapping[str, Any]) -> list[str]:
    if not boxes:
        return []
    per_split = [
        f"{split} {one['with']:,} / {one['empty']:,} / {one['unknown']:,}"
        for split, one in boxes["images"].items()
        if any(one.values())
    ]
    lines = [f"images with boxes / known to have none / not annotated: {', '.join(per_split)}"]
    head = ("", *SPLITS, "width px", "height px", "of the image")
    rows = [
        (
            name,
            *(f"{one['boxes'][split]:,}" for split in SPLITS),
            *(f"{one[side][1]:.0f} ({one[side][0]:.0f} to {one[side][2]:.0f})" for side in ("width", "height")),
            f"{one['share'][1]:.1%} ({one['share'][0]:.1%} to {one['share'][2]:.1%})",
        )
        for name, one in boxes["classes"].items()
    ]
    return [*lines, *_table([head, *rows]), "median (smallest to largest)"] if rows else lines


def _masks(masks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not masks:
        return []
    rows = [(name, f"{one['masks']:,}", f"{one['empty']:,}", _share(one["share"])) for name, one in masks.items()]
    return [*_table([("", "masks", "empty", "of the image, where not empty"), *rows]), "median (smallest to largest)"]


def _share(share: Sequence[float] | None) -> str:
    return f"{share[1]:.1%} ({share[0]:.2%} to {share[2]:.1%})" if share else "-"


def _texts(texts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not texts:
        return []
    rows = [
        (
            split,
            f"{one['texts']:,}",
            f"{one['different']:,}",
            f"{one['without']:,}",
            f"{one['words'][1]:.0f} ({one['words'][0]:.0f} to {one['words'][2]:.0f})",
        )
        for split, one in texts.items()
    ]
    return _table([("", "texts", "different", "items without", "words: median (fewest to most)"), *rows])


def _questions(questions: Mapping[str, Mapping[str, int]]) -> list[str]:
    kinds = list(dict.fromkeys(kind for split in questions.values() for kind in split))
    rows = [(kind, *(f"{split.get(kind, 0):,}" for split in questions.values())) for kind in kinds]
    return _table([("", *questions), *rows]) if questions else []


def _places(places: Sequence[str]) -> str:
    more = f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
    return f"{', '.join(places[:_SHOWN])}{more}"


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first flush left."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines
