"""MIMIC-CXR-JPG with its reports, from the folders as PhysioNet lays them out (credentialed access).

Needed under --root: `files/pNN/pSUBJECT/sSTUDY/DICOM.jpg`, `mimic-cxr-2.0.0-metadata.csv` and
`mimic-cxr-2.0.0-split.csv` (each as it is or with `.gz`); with --labels also `mimic-cxr-2.0.0-chexpert.csv`. Reports
are `files/pNN/pSUBJECT/sSTUDY.txt`, under --root or under --reports.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from bundle.data.errors import DataError
from bundle.data.splits import mark_subsets
from bundle.transforms.report_sections import extract_sections
from scripts.preparing.table import read_table
from scripts.preparing.words import count_words

__all__ = ["HELP", "add_arguments", "build"]

HELP = "MIMIC-CXR-JPG with reports, frontal views, official split"

_VIEWS = ("PA", "AP")
_SPLITS = {"train": "training", "validate": "validation", "test": "test"}
_SECTIONS = ("findings", "impression", "last_paragraph")


class _Image(NamedTuple):
    """One row of the metadata, with its split."""

    dicom_id: str
    subject_id: str
    study_id: str
    view: str
    split: str | None

    @property
    def folder(self) -> str:
        return f"files/p{self.subject_id[:2]}/p{self.subject_id}/s{self.study_id}"

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.dicom_id}.jpg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of MIMIC-CXR-JPG")
    parser.add_argument("--reports", type=Path, metavar="DIR", help="folder whose 'files' holds the reports")
    parser.add_argument(
        "--sectioned", type=Path, metavar="FILE", help="mimic_cxr_sectioned.csv, read instead of reports"
    )
    parser.add_argument(
        "--last-paragraph",
        action="store_true",
        help="take the last paragraph where findings and impression are missing",
    )
    parser.add_argument("--min-words", type=int, default=3, help="leave shorter reports out (default: 3)")
    parser.add_argument("--labels", action="store_true", help="add the CheXpert labels (1, 0, -1 uncertain, null)")


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list of PA and AP images that have a report.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute.

    Raises:
        DataError: a file of the release is missing or (without `--on-error skip`) an image can't be used.
    """
    images = _frontal_images(args)
    reports = _sectioned_reports(args.sectioned) if args.sectioned else _read_reports(images, args)
    classes, labels = _read_labels(args.root) if args.labels else ([], {})
    kept = [(image, item) for image in images if (item := _item(image, reports, args)) is not None]
    splits: dict[str, list[dict[str, Any]]] = {name: [] for name in _SPLITS.values()}
    for image, item in _with_existing_file(kept, args):
        if image.study_id in labels:
            item["label"] = labels[image.study_id]
        splits[_SPLITS[str(image.split)]].append(item)
    splits["training"], subsets = mark_subsets(splits["training"], seed=args.seed)
    return {
        "name": "mimic_cxr",
        "task": "pretrain",
        "modality": {"0": "CR"},
        "licence": "PhysioNet Credentialed Health Data License 1.5.0",
        "source": "MIMIC-CXR-JPG 2.0.0, PhysioNet",
        **({"classes": classes, "multilabel": True} if classes else {}),
        "image_root": args.root.absolute().as_posix(),
        "split": {"method": "official", "unit": "patient", "leak_checked": True},
        "subsets": subsets,
        **splits,
    }


def _frontal_images(args: argparse.Namespace) -> list[_Image]:
    columns = ["dicom_id", "subject_id", "study_id", "ViewPosition"]
    metadata = _read_release(args.root, "metadata", columns)
    split = _read_release(args.root, "split", ["dicom_id", "split"])
    frontal = metadata[metadata["ViewPosition"].isin(_VIEWS)]
    args.record.drop("view not PA or AP", len(metadata) - len(frontal))
    split_of = dict(zip(split["dicom_id"], split["split"], strict=True))
    images = []
    for dicom, subject, study, view in zip(*(frontal[name].head(args.limit) for name in columns), strict=True):
        image = _Image(dicom, subject, study, view, split_of.get(dicom))
        if image.split in _SPLITS:
            images.append(image)
        else:
            args.record.reject(image.path, "the split file doesn't say train, validate or test for it")
    return images


def _read_release(root: Path, name: str, columns: list[str] | None = None) -> pd.DataFrame:
    plain = root / f"mimic-cxr-2.0.0-{name}.csv"
    packed = plain.with_name(f"{plain.name}.gz")
    if not plain.is_file() and not packed.is_file():
        raise DataError(
            f"{root}: there is neither {packed.name} nor {plain.name}; --root is the folder that holds them"
        )
    return read_table(packed if packed.is_file() else plain, columns)


def _sectioned_reports(path: Path) -> dict[str, dict[str, str]]:
    table = read_table(path, ["study", *_SECTIONS])
    return {
        study.removeprefix("s"): {name: text for name, text in zip(_SECTIONS, texts, strict=True) if text}
        for study, *texts in table.itertuples(index=False)
    }


def _read_reports(images: list[_Image], args: argparse.Namespace) -> dict[str, dict[str, str]]:
    """The sections of every study that has a report file, each file read once however many images share it."""
    root = args.reports or args.root
    if not (root / "files").is_dir():
        raise DataError(f"{root}: there is no folder 'files' with the reports; name its parent with --reports")
    folder_of = {image.study_id: root / image.folder for image in images}
    with ThreadPoolExecutor(args.workers) as pool:
        read = pool.map(_read_report, (f"{folder}.txt" for folder in folder_of.values()))
        found = list(tqdm(read, total=len(folder_of), desc="reading reports", unit="report", disable=None))
    return {study: sections for study, sections in zip(folder_of, found, strict=True) if sections is not None}


def _read_report(path: str) -> dict[str, str] | None:
    try:
        # Bytes that are no UTF-8 occur in single words; one of them is no reason to lose the report.
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    return extract_sections(text)


def _read_labels(root: Path) -> tuple[list[str], dict[str, list[int | None]]]:
    table = _read_release(root, "chexpert")
    classes = [name for name in table.columns if name not in ("subject_id", "study_id")]
    labels = {
        study: [None if value is None else int(float(value)) for value in values]
        for study, *values in table[["study_id", *classes]].itertuples(index=False)
    }
    return classes, labels


def _item(image: _Image, reports: dict[str, dict[str, str]], args: argparse.Namespace) -> dict[str, Any] | None:
    if image.study_id not in reports:
        if args.sectioned:
            args.record.drop(f"study not in {args.sectioned.name}")
        else:
            args.record.reject(image.path, f"there is no report {image.folder}.txt under {args.reports or args.root}")
        return None
    sections = reports[image.study_id]
    text: dict[str, str] = {name: sections[name] for name in _SECTIONS[:2] if name in sections}
    if not text and args.last_paragraph and "last_paragraph" in sections:
        text = {"text": sections["last_paragraph"]}
    if not text:
        args.record.drop("report has neither findings nor impression")
        return None
    if count_words(text) < args.min_words:
        args.record.drop(f"report of fewer than {args.min_words} words")
        return None
    return {
        "id": f"s{image.study_id}_{image.dicom_id}",
        "image": image.path,
        "patient": f"p{image.subject_id}",
        "study": f"s{image.study_id}",
        "view": image.view,
        **{name: " ".join(part.split()) for name, part in text.items()},
    }


def _with_existing_file(
    kept: list[tuple[_Image, dict[str, Any]]], args: argparse.Namespace
) -> Iterator[tuple[_Image, dict[str, Any]]]:
    with ThreadPoolExecutor(args.workers) as pool:
        exist = pool.map(os.path.isfile, (args.root / image.path for image, _ in kept))
        found = list(tqdm(exist, total=len(kept), desc="looking for images", unit="image", disable=None))
    for (image, item), there in zip(kept, found, strict=True):
        if there:
            yield image, item
        else:
            args.record.reject(image.path, f"there is no such file under {args.root}")
