"""COVID-Rural: radiographs of TCIA's COVID-19-AR with hand-drawn masks of opacities.

    python -m scripts.prepare covid_rural --root covid_rural_annot --out lists/covid_rural

Needed under --root: `jpgs/ID.jpg` and `pngs_masks/ID.png` (above 0 is opacity), with names such as
`COVID-19-AR-16424120_02-11-2012-XR`: the patient, then the day. Radiographs without a mask are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.assigned import as_splits, assign_evenly, describe_published, present
from scripts.preparing.official import add_root, declare_leaks, find, image_root
from scripts.preparing.split_lists import add_lists, assign_listed, check_lists

__all__ = ["HELP", "add_arguments", "build"]

HELP = "COVID-Rural (COVID-19-AR): masks of opacities"

_IMAGES, _MASKS = "jpgs", "pngs_masks"
_PUBLISHED = {"items": 221, "images": 221}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, f"{_IMAGES}/ and {_MASKS}/")
    parser.add_argument(
        "--split",
        choices=("ours", "lists"),
        default="ours",
        help="ours: 60/20/20 by patient with --seed; lists: files in --lists, such as those of MedKLIP (default: ours)",
    )
    add_lists(parser)


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list of radiographs with a mask.

    Raises:
        DataError: a folder of the release is missing or (without `--on-error skip`) a file can't be used.
    """
    check_lists(args)
    if args.without_images:
        raise DataError("covid_rural can't be listed --without-images: there is no table, only the files")
    items = _items(find(args.root, _IMAGES), find(args.root, _MASKS), args)
    if args.split == "lists":
        assigned = assign_listed(items, args.lists, args.record)
        split: dict[str, Any] = {"method": "lists", "unit": "image"}
    else:
        assigned = assign_evenly(items, 0.2, 0.2, args.seed)
        split = {"method": "ours", "unit": "patient", "ratios": [0.6, 0.2, 0.2], "seed": args.seed}
    datalist = {
        "name": "covid_rural",
        "task": "segmentation",
        "modality": {"0": "CR"},
        "source": "COVID-19-AR (TCIA, doi 10.7937/tcia.2020.py71-5978) with opacity masks",
        "classes": ["opacity"],
        "image_root": image_root(args.root),
        "split": {**split, "leak_checked": True},
        **describe_published(args, _PUBLISHED if args.split == "ours" else {}),
        **as_splits(present(assigned, args), args.seed),
    }
    return declare_leaks(datalist) if args.split == "lists" else datalist


def _items(images: Path, masks: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    names = {path.stem for path in images.glob("*.jpg")}
    masked = {path.stem for path in masks.glob("*.png")}
    if not masked:
        raise DataError(f"{masks}: there is no mask, that is no .png file")
    args.record.drop("radiograph without a mask", len(names - masked))
    items = []
    for name in sorted(masked):  # one that has no radiograph is noticed when the files are looked for
        patient, separator, _ = name.rpartition("_")
        if separator:
            paths = {"image": f"{_IMAGES}/{name}.jpg", "mask": f"{_MASKS}/{name}.png"}
            items.append({"id": name, **paths, "patient": patient})
        else:
            args.record.reject(f"{_MASKS}/{name}.png", "its name does not have the form PATIENT_DAY-XR")
    return items
