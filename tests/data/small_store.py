"""A packed store of known arrays, for the tests of its writer and its reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.errors import DataError
from bundle.data.pack_images import PackedImage
from bundle.data.pack_writer import PackWriter, SplitRows
from bundle.transforms.tokenize import load_tokenizer, save_tokenizer, tokenizer_sha256

SIZE = 16
IDENTITY = {"list": {"name": "small"}, "parameters": {"size": SIZE, "max_length": 8}}
LENGTHS = (5, 3, 8, 3, 6)
"""Tokens of the reports of the training split."""


def image_of(number: int) -> np.ndarray:
    """Image `[16, 16]` uint8 that no other number has."""
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE), np.uint8)


def body_of(number: int) -> np.ndarray:
    """Body mask `[16, 16]` that no other number has, with no symmetry that would hide a swap of bits."""
    return np.random.default_rng(1000 + number).random((SIZE, SIZE)) < 0.3


def render(path: str) -> PackedImage:
    """Renders "17" to image and mask number 17; refuses "bad"."""
    if path.startswith("bad"):
        raise DataError(f"{path}: not an image")
    return PackedImage(image_of(int(path)), body_of(int(path)), np.arange(10, dtype=np.float64) + int(path))


def rows_of(lengths: tuple[int, ...]) -> SplitRows:
    """Report i: [CLS] = 2, tokens 100 i + 10, 100 i + 11, ..., [SEP] = 3; two tokens a sentence."""
    inner = [np.arange(length - 2) for length in lengths]
    count = len(lengths)
    return SplitRows(
        ids=[f"item{row}" for row in range(count)],
        tokens=[np.array([2, *(100 * row + 10 + part), 3], np.uint16) for row, part in enumerate(inner)],
        sentences=[np.array([-1, *(part // 2), -1], np.int16) for part in inner],
        codes={"text_id": [7, 8, 7, 9, 10][:count], "study_id": [0, 0, 1, 2, 3][:count], "patient": [-1] * count},
    )


def write_store(
    out: Path,
    tokenizer: Path,
    paths: tuple[str, ...] = ("0", "1", "2", "3", "4"),
    workers: int = 1,
    failed: Callable[[int, str], None] = lambda row, reason: None,
    advanced: Callable[[int], None] = lambda count: None,
    identity: dict[str, Any] = IDENTITY,
) -> Path:
    """Packs one training split of as many rows as there are paths."""
    rows = rows_of(LENGTHS if len(paths) == len(LENGTHS) else (4,) * len(paths))
    with PackWriter(out, identity) as writer:
        writer.begin({"training": len(paths)}, SIZE, token_bytes=100)
        if not writer.tokenizer_folder.exists():
            save_tokenizer(load_tokenizer(tokenizer), writer.tokenizer_folder)
        failures = writer.write_images("training", paths, render, workers, failed, advanced)
        writer.finish_split("training", rows, failures)
        loaded = load_tokenizer(tokenizer)
        record = {"sha256": tokenizer_sha256(loaded), "vocab_size": len(loaded), "pad_token_id": 0, "source": "test"}
        return writer.publish(record)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder by relative name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
