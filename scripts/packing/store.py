"""From the options of `scripts.pack` to a finished store."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from tqdm import tqdm

from bundle.data.datalist import load_datalist, read_datalist
from bundle.data.errors import DataError
from bundle.data.manifest import read_manifest, sha256_file
from bundle.data.pack_layout import STORE_KIND
from bundle.data.pack_writer import PackWriter, SplitRows
from bundle.transforms.report import impression_text, released_report_text, report_text
from bundle.transforms.tokenize import load_tokenizer, save_tokenizer, tokenizer_sha256, train_tokenizer
from scripts.packing.render import RenderRadiograph
from scripts.packing.reports import SplitReports, codes_of_splits, read_reports, tokenize_split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["pack"]

REPORTS = {"sections": report_text, "impression": impression_text, "released": released_report_text}
BYTES_PER_TOKEN = 6  # at most: 4 of the id, 2 of the sentence number
CHECKED_FILES: dict[str, Literal["none"] | int] = {"stop": 100, "skip": "none"}
"""Files looked for before the work begins: a sample, to notice a wrong folder at once; none if missing ones may be."""


def pack(args: argparse.Namespace) -> dict[str, Any]:
    """Packs a data list.

    Args:
        args: the options of the command line.

    Returns:
        The manifest of the finished store.

    Raises:
        DataError: unusable input, place or disk; with `on_error` "skip" unusable items are left out instead.
    """
    given = load_tokenizer(args.tokenizer) if args.tokenizer else None
    datalist = read_datalist(args.list)
    splits = _chosen_splits(args)
    with PackWriter(args.out, _identity(args, datalist, list(splits), given), args.overwrite) as writer:
        if writer.folder.is_complete:
            writer.folder.publish()
        else:
            _write_store(args, writer, splits, partial(_make_tokenizer, args, datalist, given))
    return read_manifest(args.out, STORE_KIND)


def _chosen_splits(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    present = load_datalist(args.list, check_files=CHECKED_FILES[args.on_error])
    chosen = args.splits or list(present)
    unknown = [split for split in chosen if split not in present]
    if unknown:
        raise DataError(f"{args.list}: has no split {', '.join(unknown)}, only {', '.join(present)}")
    return {split: items[: args.limit] for split, items in present.items() if split in chosen}


def _identity(
    args: argparse.Namespace,
    datalist: dict[str, Any],
    splits: list[str],
    tokenizer: PreTrainedTokenizerFast | None,
) -> dict[str, Any]:
    """What the bytes of the store follow from; not how it is made (workers, what happens on errors)."""
    trained = {"trained_vocab_size": args.vocab_size}
    return {
        "list": {"name": datalist.get("name"), "sha256": sha256_file(args.list)},
        "parameters": {
            "size": args.size,
            "fit": args.fit,
            "report": args.report,
            "max_length": args.max_length,
            "splits": splits,
            "limit": args.limit,
            "tokenizer": trained if tokenizer is None else {"sha256": tokenizer_sha256(tokenizer)},
        },
    }


def _write_store(
    args: argparse.Namespace,
    writer: PackWriter,
    splits: dict[str, list[dict[str, Any]]],
    make_tokenizer: Callable[[Path], None],
) -> None:
    reports = {split: _reports(args, items) for split, items in splits.items()}
    counts = {split: len(chosen.items) for split, chosen in reports.items()}
    writer.begin(counts, args.size, token_bytes=sum(counts.values()) * args.max_length * BYTES_PER_TOKEN)
    if not writer.tokenizer_folder.exists():
        make_tokenizer(writer.tokenizer_folder)
    tokenizer = load_tokenizer(writer.tokenizer_folder)
    codes = codes_of_splits(reports)
    for split, chosen in reports.items():
        with _bar(split, "reports", len(chosen.texts)) as bar:
            tokens, sentences = tokenize_split(tokenizer, chosen.texts, args.max_length, bar.update)
        rows = SplitRows([item["id"] for item in chosen.items], tokens, sentences, codes[split])
        failures = _write_images(args, writer, split, chosen)
        writer.finish_split(split, rows, failures, chosen.skipped)
    writer.publish(
        {
            "sha256": tokenizer_sha256(tokenizer),
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "source": args.tokenizer or "trained on the reports of the training split",
        }
    )


def _make_tokenizer(
    args: argparse.Namespace, datalist: dict[str, Any], given: PreTrainedTokenizerFast | None, folder: Path
) -> None:
    if given is not None:
        save_tokenizer(given, folder)
        return
    # The whole training split, whatever is packed: --limit and --splits change no vocabulary.
    texts = _reports(args, datalist.get("training", [])).texts
    train_tokenizer(texts, folder, args.vocab_size)


def _reports(args: argparse.Namespace, items: list[dict[str, Any]]) -> SplitReports:
    return read_reports(items, REPORTS[args.report], lambda reason: _stop_if_asked(args, reason))


def _stop_if_asked(args: argparse.Namespace, reason: str) -> None:
    if args.on_error == "stop":
        raise DataError(
            f"{args.list}: {reason.rstrip('.')}; mend it and start again to go on, or leave unusable items out with "
            "--on-error skip"
        )


def _write_images(args: argparse.Namespace, writer: PackWriter, split: str, reports: SplitReports) -> dict[int, str]:
    def failed(row: int, reason: str) -> None:
        _stop_if_asked(args, f"item {reports.items[row]['id']}: {reason}")

    paths = [item["image"] for item in reports.items]
    render = RenderRadiograph(args.size, args.fit)
    with _bar(split, "images", len(paths)) as bar:
        return writer.write_images(split, paths, render, args.workers, failed, bar.update)


def _bar(split: str, what: str, total: int) -> tqdm[NoReturn]:
    return tqdm(total=total, desc=f"{split} {what}", unit="", dynamic_ncols=True)
