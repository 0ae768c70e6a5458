"""The tokenizer of a run: beside the weights that it starts from, kept beside those that it leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from bundle.data.tokenizer_files import load_tokenizer, save_tokenizer, tokenizer_sha256

__all__ = ["find_tokenizer", "keep_tokenizer"]

_FOLDER = "tokenizer"


def find_tokenizer(given: str | None, start: str | None, words: Mapping[str, Any] | None = None) -> str:
    """The tokenizer that a run reads texts with.

    Args:
        given: a local folder or hub name; None: the folder `tokenizer` beside the weights.
        start: weights that the run starts from; None: none.
        words: the `tokenizer` of their card (`sha256`, `vocab_size`), whose words the text encoder knows; None where it
            does not come from these weights, or they do not say.

    Returns:
        The folder or hub name.

    Raises:
        DataError: there is none, it can't be loaded, or has other words than the weights know.

    Example:
        >>> find_tokenizer(None, "runs/pretrain/g2d/models/model.safetensors")  # doctest: +SKIP
        'runs/pretrain/g2d/models/tokenizer'
    """
    beside = None if start is None else Path(start).with_name(_FOLDER)
    if given is None and (beside is None or not beside.is_dir()):
        place = "there are no weights to start from" if beside is None else f"there is no folder {beside}"
        raise DataError(f"no tokenizer: {place}; give --tokenizer, a folder or a hub name")
    source = str(given or beside)
    known = (words or {}).get("sha256")
    if known is not None and tokenizer_sha256(load_tokenizer(source)) != known:
        raise DataError(
            f"tokenizer {source}: its words are not those that the text encoder of {start} was trained with; take the "
            "folder 'tokenizer' beside these weights, or leave text_encoder out of start_parts"
        )
    return source


def keep_tokenizer(source: str | Path, folder: str | Path) -> dict[str, Any]:
    """Copy a tokenizer to a folder beside weights, so that they can be used without its source.

    Several processes may do so at the same time. A copy that is there already stays.

    Args:
        source: see `load_tokenizer`.
        folder: the copy, whole or not at all; a tokenizer with other words gives way.

    Returns:
        What the weights' card keeps of it: `sha256` and `vocab_size`.

    Raises:
        DataError: see `load_tokenizer` and `save_tokenizer`.
    """
    tokenizer, folder = load_tokenizer(source), Path(folder)
    identity = {"sha256": tokenizer_sha256(tokenizer), "vocab_size": len(tokenizer)}
    if not _holds(folder, identity["sha256"]):
        own = folder.with_name(f".{folder.name}.{os.getpid()}")
        save_tokenizer(tokenizer, own)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.rename(own, folder)
        except OSError:  # another process was quicker
            shutil.rmtree(own)
            if not _holds(folder, identity["sha256"]):
                raise
    return identity


def _holds(folder: Path, sha256: Any) -> bool:
    return folder.is_dir() and tokenizer_sha256(load_tokenizer(folder)) == sha256
