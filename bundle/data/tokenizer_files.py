"""Tokenizers as Hugging Face folders: loading one, saving one, telling two apart."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.data.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["load_tokenizer", "save_tokenizer", "tokenizer_sha256"]

_VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """Loads a fast Hugging Face tokenizer; never another one than asked for.

    A folder is read from disk. A hub name is taken from the local Hugging Face cache, and only if it isn't there from
    the hub. Code that comes with a tokenizer is never run.

    Args:
        source: local folder that holds a saved tokenizer, or name on the Hugging Face hub.

    Returns:
        A tokenizer with a vocabulary, a pad token and character offsets.

    Raises:
        DataError: neither a usable folder nor reachable under this name, or not a fast tokenizer.

    Example:
        >>> load_tokenizer("stores/phantoms/tokenizer")  # doctest: +SKIP
    """
    if Path(source).is_dir():
        tokenizer = _load_folder(Path(source))
    elif _HUB_NAME.fullmatch(str(source)):
        tokenizer = _load_from_hub(str(source))
    else:
        raise DataError(f"tokenizer {source}: there is no such folder, and it can't be a Hugging Face hub name")
    if not tokenizer.is_fast:
        raise DataError(f"tokenizer {source}: has no fast version, which the sentence numbers of tokens need")
    if tokenizer.pad_token_id is None:
        raise DataError(f"tokenizer {source}: has no pad token, which batches of reports need")
    return tokenizer


def _load_folder(folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not any(path for pattern in _VOCABULARY_FILES for path in folder.glob(pattern)):
        raise DataError(f"tokenizer {folder}: the folder holds none of the files {', '.join(_VOCABULARY_FILES)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises anything from KeyError to the Rust backend's bare Exception
        raise DataError(f"tokenizer {folder}: can't be loaded ({_first_line(error)})") from error
    if not _has_vocabulary(tokenizer):
        raise DataError(f"tokenizer {folder}: its vocabulary is empty")
    return tokenizer


def _load_from_hub(name: str) -> Any:
    from transformers import AutoTokenizer

    reason = "its vocabulary is empty"
    for cached in (True, False):
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=cached, trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = _first_line(error)
            continue
        if _has_vocabulary(tokenizer):
            return tokenizer
    raise DataError(
        f"tokenizer {name!r} is no local folder, is not in the local Hugging Face cache and could not be fetched from "
        f"the hub ({reason}): give a local folder, or fetch it once on a machine with network"
    )


def _has_vocabulary(tokenizer: Any) -> bool:
    """False for the bare special tokens that transformers silently builds where the vocabulary files are missing."""
    return len(tokenizer) > len(set(tokenizer.all_special_ids))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: str | Path) -> None:
    """Saves a tokenizer as a new Hugging Face folder, whole or not at all.

    Raises:
        DataError: the saved folder would load as a different tokenizer.
    """
    folder = Path(folder)
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tokenizer.save_pretrained(str(temporary))
    if tokenizer_sha256(load_tokenizer(temporary)) != tokenizer_sha256(tokenizer):
        raise DataError(f"tokenizer {folder}: transformers can't save this tokenizer without changing it")
    os.replace(temporary, folder)


def tokenizer_sha256(tokenizer: PreTrainedTokenizerFast) -> str:
    """SHA-256 of everything that turns text into ids: vocabulary, normaliser, pre-tokeniser, template.

    Padding and truncation are left out: they are settings of the last call, not of the tokenizer.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kept = {name: value for name, value in content.items() if name not in ("padding", "truncation")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
