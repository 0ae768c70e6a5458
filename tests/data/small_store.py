"""A packed store of known arrays, for the tests of its writer and its reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from small_images import SIZE, render

from bundle.data.pack_images import Render
from bundle.data.pack_writer import PackWriter, SplitRows
from bundle.transforms.tokenize import load_tokenizer, save_tokenizer, tokenizer_sha256

IDENTITY = {"list": {"name": "small"}, "parameters": {"size": SIZE, "max_length": 8}}
LENGTHS = (5, 3, 8, 3, 6)
"""Tokens of the reports of the training split."""


def rows_of(lengths: tuple[int, ...]) -> SplitRows:
    """Report i: [CLS] = 2, tokens 100 i + 10, 100 i + 11, ..., [SEP] = 3; two tokens a sentence."""
    inner = [np.arange(length - 2) for length in lengths]
    count = len(lengths)
    text_ids = [7, 8, 7, 9, 10] if count == 5 else list(range(count))
    return SplitRows(
        ids=[f"item{row}" for row in range(count)],
        tokens=[np.array([2, *(100 * row + 10 + part), 3], np.uint16) for row, part in enumerate(inner)],
        sentences=[np.array([-1, *(part // 2), -1], np.int16) for part in inner],
        codes={"text_id": text_ids, "study_id": [row // 2 for row in range(count)], "patient": [-1] * count},
    )


def write_store(
    out: Path,
    tokenizer: Path,
    paths: tuple[str, ...] = ("0", "1", "2", "3", "4"),
    workers: int = 1,
    failed: Callable[[int, str], None] = lambda row, reason: None,
    advanced: Callable[[int], None] = lambda count: None,
    identity: dict[str, Any] = IDENTITY,
    renderer: Render = render,
) -> Path:
    """Packs one training split of as many rows as there are paths."""
    rows = rows_of(LENGTHS if len(paths) == len(LENGTHS) else (4,) * len(paths))
    with PackWriter(out, identity) as writer:
        writer.begin({"training": len(paths)}, SIZE, token_bytes=100)
        if not writer.tokenizer_folder.exists():
            save_tokenizer(load_tokenizer(tokenizer), writer.tokenizer_folder)
        failures = writer.write_images("training", paths, renderer, workers, failed, advanced)
        writer.finish_split("training", rows, failures)
        loaded = load_tokenizer(tokenizer)
        record = {"sha256": tokenizer_sha256(loaded), "vocab_size": len(loaded), "pad_token_id": 0, "source": "test"}
        return writer.publish(record)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder by relative name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
