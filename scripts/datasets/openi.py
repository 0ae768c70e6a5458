"""Open-i: the chest radiographs of Indiana University (NLMCXR) with their reports.

Needed under --root: `NLMCXR_reports.tgz` as it was downloaded, or the folder `ecgen-radiology` that it unpacks to; and
the PNG files of `NLMCXR_png.tgz`, in a folder `NLMCXR_png`, in --root itself, or wherever --images says.

    python -m scripts.prepare openi --root /data/openi --out lists/openi
    python -m scripts.prepare openi --root /data/openi --out lists/openi --without-images
    python -m scripts.prepare openi --root /data/openi --out lists/openi_test --labels --split zero_shot
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.preparing.group_splits import split_by_key
from scripts.preparing.official import add_root, find, image_root, with_images, with_subsets
from scripts.preparing.record import Record
from scripts.preparing.table_rows import describe_shares
from scripts.releases.mesh_findings import FINDINGS, find_findings
from scripts.releases.openi_reports import OpeniReport, read_openi_reports

__all__ = ["HELP", "add_arguments", "build"]

HELP = "Open-i (Indiana University): radiographs with reports"

_SHARES = (0.1, 0.2)
_PUBLISHED = {"items": 7470, "images": 7470}
_TEXTS = ("findings", "impression")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "NLMCXR_reports.tgz or ecgen-radiology, and the PNG files")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the PNG files, if it is another")
    parser.add_argument(
        "--labels", action="store_true", help="add 18 findings, found in the MeSH terms that a program gave"
    )
    parser.add_argument(
        "--split",
        choices=("ours", "zero_shot"),
        default="ours",
        help="ours: 70/10/20 by report; zero_shot: every image is a test image (default: ours)",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list of all images that have a report.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute. Items have `study`, the report; the release names no patients.

    Raises:
        DataError: reports or images are missing, or (without `--on-error skip`) one can't be used.
    """
    reports = read_openi_reports(find(args.root, "NLMCXR_reports.tgz", "ecgen-radiology"), args.record)
    _print_counts(reports)
    images = _image_folder(args)
    items = with_images(_items(reports, args.labels, args.record)[: args.limit], images, args)
    return {
        "name": "openi",
        "task": "pretrain",
        "modality": {"0": "CR"},
        "licence": "CC BY-NC-ND 4.0",
        "source": "Open-i, Indiana University Chest X-ray Collection (NLMCXR)",
        **({"classes": list(FINDINGS), "multilabel": True} if args.labels else {}),
        "image_root": image_root(images),
        **({"limit": args.limit} if args.limit else {"published": _PUBLISHED}),
        **_split(items, args),
    }


def _print_counts(reports: list[OpeniReport]) -> None:
    findings, impression = (sum(name in report.sections for report in reports) for name in _TEXTS)
    images = sum(len(report.images) for report in reports)
    print(f"reports: {len(reports)}, with findings: {findings}, with impression: {impression}, images named: {images}")


def _image_folder(args: argparse.Namespace) -> Path:
    """The folder of the PNG files; without any it is most often the archive that wasn't unpacked."""
    below: Path = args.root / "NLMCXR_png"
    folder: Path = args.images or (below if below.is_dir() else args.root)
    if not args.without_images and next(folder.glob("*.png"), None) is None:
        raise DataError(
            f"{folder}: there are no PNG files; unpack NLMCXR_png.tgz there, name their folder with --images, or make "
            "the list --without-images"
        )
    return folder


def _items(reports: list[OpeniReport], labels: bool, record: Record) -> list[dict[str, Any]]:
    items = []
    for report in reports:
        texts = {name: report.sections[name] for name in _TEXTS if name in report.sections}
        if not report.images:
            record.drop("report without an image")
        elif not texts:
            record.drop("image whose report has neither findings nor impression", len(report.images))
        else:
            label = _label(report) if labels else {}
            items += [
                {"id": image, "image": f"{image}.png", "study": report.study, **texts, **label}
                for image in report.images
            ]
    return items


def _label(report: OpeniReport) -> dict[str, list[int]]:
    """No terms of any kind means that nobody looked, which is not the same as that there is nothing."""
    indexed = report.automatic or [term for term in report.major if term != "No Indexing"]
    return {"label": find_findings(report.automatic)} if indexed else {}


def _split(items: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    if args.split == "zero_shot":
        return {"split": {"method": "zero_shot", "unit": "study", "leak_checked": True}, "test": items}
    splits = split_by_key(items, [item["study"] for item in items], *_SHARES, args.seed)
    return {"split": describe_shares("study", *_SHARES, args.seed), **with_subsets(splits, args.seed)}
