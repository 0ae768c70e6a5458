"""Phantom radiographs: synthetic chest X-rays with reports, truth masks and questions; no download, no patient."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bundle.data.datalist_form import SPLITS
from bundle.data.errors import DataError
from bundle.data.phantom import SYNTHETIC, Phantom, draw_phantom
from bundle.data.phantom_files import write_mask_png, write_phantom_dicom, write_phantom_png
from bundle.data.phantom_findings import CLASSES, Finding
from bundle.data.phantom_report import phrase, prompts
from bundle.data.splits import mark_subsets, split_by_group

__all__ = ["HELP", "add_arguments", "build"]

HELP = "synthetic chest radiographs with known truth, drawn here: for the demo, tests and comparisons of methods"

_SEEDS_APART = 1_000_000  # phantoms of different --seed never meet
_FORMATS = {"png": (".png", write_phantom_png), "dicom": (".dcm", write_phantom_dicom)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    parser.add_argument("--count", type=int, default=3000, help="phantoms to draw (default 3000)")
    parser.add_argument("--size", type=int, default=256, help="side length in pixels, at least 64 (default 256)")
    parser.add_argument("--format", choices=sorted(_FORMATS), default="png", help="image files (default png)")
    parser.add_argument("--validation", type=float, default=0.1, help="share of the images (default .1)")
    parser.add_argument("--test", type=float, default=0.1, help="share of the images (default .1)")


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Draw the phantoms, write images and masks under `args.out`, and describe them.

    Every item holds image, patient, view, report sections, multi-hot label, a box a finding, the union mask of what is
    found (`mask`, absent from normal pictures), one mask a class (`finding_masks`), `questions`, and for controls
    `seed` and `truth` (name, side, zone, size and phrase of each finding, parallel to `boxes`).

    Args:
        args: `out`, `seed`, `limit`, `workers` and the options of `add_arguments`.

    Returns:
        The data list; the caller writes it last, so that an interrupted run leaves none.

    Raises:
        DataError: fewer than 1 phantom, a size below 64, or shares that leave nothing for training.
    """
    count = args.count if args.limit is None else min(args.count, args.limit)
    if count < 1:
        raise DataError(f"phantom: {count} phantoms can't be drawn; give --count (and --limit) 1 or more")
    for folder in ("images", "masks"):
        (Path(args.out) / folder).mkdir(parents=True, exist_ok=True)
    first = args.seed * _SEEDS_APART
    items = _draw_all(range(first, first + count), args)
    splits = split_by_group([item["patient"] for item in items], args.validation, args.test, args.seed)
    of = {name: [item for item, split in zip(items, splits, strict=True) if split == name] for name in SPLITS}
    training, subsets = mark_subsets(of["training"], seed=args.seed)
    return {**_header(args), "subsets": subsets, **of, "training": training}


def _header(args: argparse.Namespace) -> dict[str, Any]:
    ratios = [round(1 - args.validation - args.test, 6), args.validation, args.test]
    return {
        "name": "phantom",
        "task": "pretrain",
        "modality": {"0": "DX"},
        "licence": "synthetic, Apache-2.0",
        "source": f"phantom radiographs drawn by `scripts.prepare phantom`, not of any patient. {SYNTHETIC}.",
        "classes": list(CLASSES),
        "multilabel": True,
        "image_root": ".",
        "split": {"method": "random", "unit": "patient", "ratios": ratios, "seed": args.seed, "leak_checked": True},
        "prompts": prompts(),
    }


def _draw_all(seeds: range, args: argparse.Namespace) -> list[dict[str, Any]]:
    draw = partial(_draw_one, out=Path(args.out), size=args.size, image_format=args.format)
    if args.workers == 1:
        return [draw(seed) for seed in seeds]
    # new processes, since a fork of one whose libraries run threads may hang
    spawn = get_context("spawn")
    with ProcessPoolExecutor(args.workers, spawn, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        return list(pool.map(draw, seeds, chunksize=32))


def _draw_one(seed: int, out: Path, size: int, image_format: str) -> dict[str, Any]:
    phantom = draw_phantom(seed, size)
    ending, write = _FORMATS[image_format]
    name = f"phantom-{seed}"
    write(phantom, out / "images" / f"{name}{ending}")
    return {
        "id": name,
        "image": f"images/{name}{ending}",
        "patient": phantom.patient,
        "view": phantom.view,
        **phantom.report,
        "label": phantom.labels,
        "boxes": phantom.boxes,
        "box_label": phantom.box_labels,
        "size": [size, size],
        "questions": phantom.questions,
        "seed": seed,
        "truth": [_truth(finding) for finding in phantom.findings],
        **_write_masks(phantom, name, out),
    }


def _write_masks(phantom: Phantom, name: str, out: Path) -> dict[str, Any]:
    """Write the union mask and one a class; a normal picture has none."""
    masks = phantom.masks
    if not masks:
        return {}
    paths = {finding: f"masks/{name}_{finding.replace(' ', '_')}.png" for finding in masks}
    union = f"masks/{name}.png"
    write_mask_png(phantom, np.logical_or.reduce(list(masks.values())), out / union)
    for finding, path in paths.items():
        write_mask_png(phantom, masks[finding], out / path)
    return {"mask": union, "finding_masks": paths}


def _truth(finding: Finding) -> dict[str, str]:
    place = {"name": finding.name, "side": finding.side, "zone": finding.zone, "size": finding.size}
    return {**{key: value for key, value in place.items() if value}, "phrase": phrase(finding)}
