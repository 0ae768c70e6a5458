"""The files of a data list: whether they are there and can be read, their sizes, and what masks cover."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bundle.data.errors import DataError
from bundle.data.mask_reader import read_mask, split_classes
from bundle.data.radiograph_reader import read_radiograph
from scripts.checking.places import each_place
from scripts.preparing.header_size import header_size
from scripts.preparing.item_files import ItemFile, item_files
from scripts.preparing.threads import in_threads

__all__ = ["FileFindings", "Files", "look_at_files", "root_of", "whole_mask_classes"]

Files = int | Literal["all", "none"]

Size = tuple[int, int]


class _Job(NamedTuple):
    place: str
    file: ItemFile


class _Look(NamedTuple):
    size: Size | None
    error: str | None
    covered: dict[str, float]


@dataclass
class FileFindings:
    """What the files are like.

    Attributes:
        items: items whose files were looked for.
        images: different images among them.
        masks: different masks among them.
        missing: places of files that aren't there.
        unreadable: by reason the places of files that can't be read.
        sizes: how many images have a size (H, W).
        other_size: places of images whose file has another size than the list says.
        mask_size: places of masks that have another size than their image.
        covered: by class the share of its image that each mask covers.
    """

    items: int = 0
    images: int = 0
    masks: int = 0
    missing: list[str] = field(default_factory=list)
    unreadable: dict[str, list[str]] = field(default_factory=dict)
    sizes: Counter[Size] = field(default_factory=Counter)
    other_size: list[str] = field(default_factory=list)
    mask_size: list[str] = field(default_factory=list)
    covered: dict[str, list[float]] = field(default_factory=dict)


def root_of(datalist: Mapping[str, Any], source: Path) -> Path:
    """The folder that the list's paths are relative to."""
    return Path(os.path.normpath(source.absolute().parent / datalist.get("image_root", ".")))


def whole_mask_classes(datalist: Mapping[str, Any]) -> list[str]:
    """What the values of `mask` stand for: `mask_classes`, or `classes` of a list for segmentation, or just a mask."""
    key = "classes" if datalist.get("task") == "segmentation" and "mask_classes" not in datalist else "mask_classes"
    return list(datalist.get(key) or ["mask"])


def look_at_files(datalist: Mapping[str, Any], source: Path, files: Files, decode: bool, workers: int) -> FileFindings:
    """Look at the images and masks of a list.

    Args:
        datalist: a list of usable form.
        source: its file, which `image_root` may be relative to.
        files: of which items: `all`, `none`, or so many, spread evenly over the list.
        decode: whether every image is decoded as training will, not only its header read. Masks are decoded always.
        workers: threads.
    """
    places = _chosen(list(each_place(datalist)), files)
    jobs = {file.path: _Job(place, file) for place, item in reversed(places) for file in item_files(item)}
    look = partial(_look, root=root_of(datalist, source), decode=decode, classes=whole_mask_classes(datalist))
    looks = in_threads(look, list(jobs.values()), workers, "decoding files" if decode else "reading files")
    found = dict(zip(jobs, looks, strict=True))
    images = [path for path, job in jobs.items() if job.file.key == "image"]
    findings = FileFindings(len(places), len(images), len(jobs) - len(images))
    _note_errors(findings, jobs.values(), found)
    findings.sizes.update(size for path in images if (size := found[path].size))
    for place, item in places:
        _compare(findings, place, item, found)
    findings.covered = _covered((item for _, item in places), found)
    return findings


def _chosen(places: list[tuple[str, dict[str, Any]]], files: Files) -> list[tuple[str, dict[str, Any]]]:
    if files == "all":
        return places
    count = 0 if files == "none" else min(int(files), len(places))
    return [places[position * len(places) // count] for position in range(count)]


def _look(job: _Job, root: Path, decode: bool, classes: Sequence[str]) -> _Look:
    path = root / job.file.path
    try:
        if job.file.key != "image":
            return _look_at_mask(path, classes if job.file.name is None else [job.file.name])
        return _Look(read_radiograph(path).size if decode else header_size(path), None, {})
    except DataError as error:
        return _Look(None, str(error).removeprefix(f"{path}: "), {})


def _look_at_mask(path: Path, classes: Sequence[str]) -> _Look:
    values = read_mask(path)
    height, width = values.shape
    shares = split_classes(values, classes, path).mean((1, 2))
    return _Look((height, width), None, dict(zip(classes, shares.tolist(), strict=True)))


def _note_errors(findings: FileFindings, jobs: Iterable[_Job], found: Mapping[str, _Look]) -> None:
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for job in jobs:
        if error := found[job.file.path].error:
            reasons[error].append(job.place if job.file.key == "image" else f"{job.place} {job.file.key}")
    findings.missing = sorted(reasons.pop("no such file", []))
    findings.unreadable = dict(sorted(reasons.items(), key=lambda pair: -len(pair[1])))


def _compare(findings: FileFindings, place: str, item: Mapping[str, Any], found: Mapping[str, _Look]) -> None:
    size = found[item["image"]].size
    if size and "size" in item and item["size"] != list(size):
        findings.other_size.append(place)
    masks = [found[file.path].size for file in item_files(item) if file.key != "image"]
    if size and any(mask not in (None, size) for mask in masks):
        findings.mask_size.append(place)


def _covered(items: Iterable[Mapping[str, Any]], found: Mapping[str, _Look]) -> dict[str, list[float]]:
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for item in items:
        for file in item_files(item):
            for name, share in found[file.path].covered.items():
                shares[name].append(share)
    return dict(shares)
