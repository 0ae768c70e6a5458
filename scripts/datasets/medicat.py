"""MedICaT: figures of biomedical papers with captions and the sentences that mention them; the radiology part.

Needed under --root, where `medicat_release.tar.gz` was unpacked:
`release/s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl` and `release/figures/`.

    python -m scripts.prepare medicat --root /data/medicat --out lists/medicat
"""

from __future__ import annotations

import argparse
import os
from itertools import islice
from pathlib import Path
from typing import Any

from scripts.preparing.group_splits import split_by_key
from scripts.preparing.official import add_root, find, image_root, with_images, with_subsets
from scripts.preparing.record import Record
from scripts.preparing.table_rows import describe_shares
from scripts.releases.medicat_figures import read_figures

__all__ = ["HELP", "add_arguments", "build"]

HELP = "MedICaT: radiology figures of papers with captions and mentions"

_ANNOTATIONS = "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl"
_HELD_OUT = 1000
_MOST = 0.1

Item = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "the folder release")
    parser.add_argument(
        "--min-words",
        type=int,
        default=3,
        metavar="N",
        help="leave captions and mentions with fewer words out (default: 3)",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list of the radiology figures that have a caption or are mentioned.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute. Items have `text`, the caption and then the mentions.

    Raises:
        DataError: the annotations are missing, damaged or of another form, or (without `--on-error skip`) a figure is
            missing.
    """
    annotations = find(args.root, f"release/{_ANNOTATIONS}", _ANNOTATIONS)
    items, papers = _items(annotations, args)
    there = with_images(items, args.root, args)
    share = min(_MOST, _HELD_OUT / max(1, len(there)))
    splits = split_by_key(there, [papers[item["id"]] for item in there], share, share, args.seed)
    return {
        "name": "medicat",
        "task": "pretrain",
        "modality": {"0": "OT"},
        "licence": "research use only; each figure also its own, of its open-access paper",
        "source": "MedICaT, without the figures of ROCO",
        "image_root": image_root(args.root),
        **({"limit": args.limit} if args.limit else {}),
        "split": describe_shares("paper", share, share, args.seed),
        **with_subsets(splits, args.seed),
    }


def _items(annotations: Path, args: argparse.Namespace) -> tuple[list[Item], dict[str, str]]:
    """The items, and the paper that each comes from."""
    folder = (annotations.parent.relative_to(args.root) / "figures").as_posix()
    items: list[Item] = []
    papers: dict[str, str] = {}
    radiology = (figure for figure in read_figures(annotations) if _is_radiology(figure, args.record))
    described = ((figure, texts) for figure in radiology if (texts := _texts(figure, args)))
    for figure, texts in islice(described, args.limit):
        file = f"{figure['pdf_hash']}_{figure['fig_uri']}"
        name = os.path.splitext(file)[0]
        items.append({"id": name, "image": f"{folder}/{file}", "text": texts})
        papers[name] = figure["pdf_hash"]
    return items, papers


def _is_radiology(figure: dict[str, Any], record: Record) -> bool:
    if figure["radiology"] is not True:
        record.drop("figure isn't radiology")
        return False
    return True


def _texts(figure: dict[str, Any], args: argparse.Namespace) -> list[str]:
    """Caption and mentions that are long enough, white space squeezed, each text once."""
    found = (figure["s2_caption"], *(figure["s2orc_references"] or ()))
    squeezed = dict.fromkeys(" ".join(text.split()) for text in found if text)
    texts = [text for text in squeezed if len(text.split()) >= max(1, args.min_words)]
    if not texts:
        args.record.drop(f"no caption or mention of {args.min_words} words")
    return texts
