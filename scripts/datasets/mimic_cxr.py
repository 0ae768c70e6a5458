r"""MIMIC-CXR-JPG with its reports, from the folders as PhysioNet lays them out (credentialed access).

Needed under --root: `files/pNN/pSUBJECT/sSTUDY/DICOM.jpg`, `mimic-cxr-2.0.0-metadata.csv` and
`mimic-cxr-2.0.0-split.csv` (each as it is or with `.gz`); with --labels or --retrieval-5x200 also
`mimic-cxr-2.0.0-chexpert.csv`, with --negbio `mimic-cxr-2.0.0-negbio.csv`. Reports are
`files/pNN/pSUBJECT/sSTUDY.txt`, under --root or under --reports.

    python -m scripts.prepare mimic_cxr --root /data/mimic-cxr-jpg --reports /data/mimic-cxr --out lists/mimic
    python -m scripts.prepare mimic_cxr --root /data/mimic-cxr-jpg --reports /data/mimic-cxr --out lists/mimic_5x200 \
        --retrieval-5x200
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from bundle.data.errors import DataError
from bundle.transforms.report_sections import extract_sections
from scripts.preparing.five_by_200 import with_5x200
from scripts.preparing.official import add_root, image_root, with_images, with_subsets
from scripts.preparing.table import read_table
from scripts.preparing.words import count_words
from scripts.releases.mimic_tables import read_release, read_study_labels

__all__ = ["HELP", "add_arguments", "build"]

HELP = "MIMIC-CXR-JPG with reports, frontal views, official split"

_VIEWS = ("PA", "AP")
_SPLITS = {"train": "training", "validate": "validation", "test": "test"}
_PUBLISHED = {"items": 377110, "images": 377110}
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
    add_root(parser, "MIMIC-CXR-JPG")
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
    labels = parser.add_mutually_exclusive_group()
    for option, labeller in (("--labels", "CheXpert"), ("--negbio", "NegBio")):
        labels.add_argument(
            option,
            action="store_const",
            const=labeller.lower(),
            dest="labeller",
            help=f"add the labels of {labeller} (1, 0, -1 uncertain, null)",
        )
    parser.add_argument(
        "--retrieval-5x200",
        action="store_true",
        help="the test split is 200 images of each of 5 findings, drawn from training, whose patients leave training",
    )


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
    classes, labels = read_study_labels(args.root, args.labeller) if args.labeller else ([], {})
    split_of: dict[str, str] = {}
    items = []
    for image in images:
        if (item := _item(image, reports, args)) is not None:
            split_of[item["id"]] = _SPLITS[str(image.split)]
            items.append({**item, **({"label": labels[image.study_id]} if image.study_id in labels else {})})
    splits: dict[str, list[dict[str, Any]]] = {name: [] for name in _SPLITS.values()}
    for item in with_images(items, args.root, args):
        splits[split_of[item["id"]]].append(item)
    if args.retrieval_5x200:
        splits = with_5x200(splits, *read_study_labels(args.root, "chexpert"), args.seed, args.record)
    return {
        "name": "mimic_cxr",
        "task": "pretrain",
        "modality": {"0": "CR"},
        "licence": "PhysioNet Credentialed Health Data License 1.5.0",
        "source": "MIMIC-CXR-JPG 2.0.0, PhysioNet",
        **({"classes": classes, "multilabel": True} if classes else {}),
        "image_root": image_root(args.root),
        **({"limit": args.limit} if args.limit else {"published": _PUBLISHED}),
        "split": _describe_split(args),
        **with_subsets(splits, args.seed),
    }


def _describe_split(args: argparse.Namespace) -> dict[str, Any]:
    if args.retrieval_5x200:
        return {"method": "retrieval_5x200", "unit": "patient", "seed": args.seed, "leak_checked": True}
    return {"method": "official", "unit": "patient", "leak_checked": True}


def _frontal_images(args: argparse.Namespace) -> list[_Image]:
    columns = ["dicom_id", "subject_id", "study_id", "ViewPosition"]
    metadata = read_release(args.root, "metadata", columns)
    split = read_release(args.root, "split", ["dicom_id", "split"])
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
