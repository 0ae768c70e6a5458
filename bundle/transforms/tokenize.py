"""Tokenizers: loading one, training one on reports, telling two apart, and turning a report into token ids."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.data.errors import DataError
from bundle.transforms.report import split_sentences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = [
    "SPECIAL_TOKENS",
    "TokenizeReportd",
    "TokenizedReport",
    "load_tokenizer",
    "tokenize_reports",
    "tokenizer_sha256",
    "train_tokenizer",
]

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_VOCABULARY_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """Loads a fast Hugging Face tokenizer; never another one than asked for.

    A folder is read from disk. A hub name is taken from the local Hugging Face cache, and only if it isn't there from
    the hub.

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
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
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
            tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=cached)
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


def train_tokenizer(
    texts: Iterable[str], folder: str | Path, vocab_size: int = 4096, lowercase: bool = True
) -> PreTrainedTokenizerFast:
    """Trains a WordPiece tokenizer and saves it as a Hugging Face folder; the same texts give the same tokenizer.

    Args:
        texts: reports of the training split, and of no other.
        folder: new folder, written whole or not at all; `AutoTokenizer.from_pretrained(folder)` loads it offline.
        vocab_size: upper bound of the vocabulary, special tokens and single characters included; few texts give a
            smaller one, since a piece must occur twice.
        lowercase: lower-cases texts and strips accents, in training and in use.

    Returns:
        The tokenizer as loaded from `folder`, with the special tokens [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4.

    Raises:
        DataError: there are no texts, or `vocab_size` does not hold the special tokens and single characters.
    """
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    texts = list(texts)
    characters = _characters(texts, BertNormalizer(lowercase=lowercase), BertPreTokenizer())
    if not characters:
        raise DataError("tokenizer training: there are no reports to train on")
    fixed = [*SPECIAL_TOKENS, *characters]
    if vocab_size < len(fixed):
        raise DataError(
            f"tokenizer training: a vocabulary of {vocab_size} does not hold the {len(fixed)} special tokens and "
            "single characters of the reports; give a larger one"
        )
    _save_bert_tokenizer(_learn_vocabulary(texts, fixed, vocab_size, lowercase), Path(folder), lowercase)
    return load_tokenizer(folder)


def _characters(texts: Sequence[str], normalizer: Any, pre_tokenizer: Any) -> list[str]:
    """Single-character pieces of the texts, sorted: `a` for a word's first, `##a` for a later character."""
    pieces: set[str] = set()
    for text in texts:
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)):
            pieces.add(word[0])
            pieces.update(f"##{character}" for character in word[1:])
    return sorted(pieces)


def _learn_vocabulary(texts: Sequence[str], fixed: list[str], vocab_size: int, lowercase: bool) -> dict[str, int]:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.trainers import WordPieceTrainer

    scratch = Tokenizer(WordPiece(unk_token="[UNK]"))
    scratch.normalizer = BertNormalizer(lowercase=lowercase)
    scratch.pre_tokenizer = BertPreTokenizer()
    # The trainer numbers `##` characters in the random order of a hash map and breaks ties between merges by number,
    # so that both ids and pieces change from run to run. Declaring all characters as special fixes their numbers.
    trainer = WordPieceTrainer(vocab_size=vocab_size, min_frequency=2, special_tokens=fixed, show_progress=False)
    scratch.train_from_iterator(texts, trainer)
    return scratch.get_vocab()


def _save_bert_tokenizer(vocabulary: dict[str, int], folder: Path, lowercase: bool) -> None:
    from transformers import BertTokenizerFast

    tokenizer = BertTokenizerFast(vocab=vocabulary, do_lower_case=lowercase)
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tokenizer.save_pretrained(str(temporary))
    os.replace(temporary, folder)


def tokenizer_sha256(tokenizer: PreTrainedTokenizerFast) -> str:
    """SHA-256 of everything that turns text into ids: vocabulary, normaliser, pre-tokeniser, template.

    Padding and truncation are left out: they are settings of the last call, not of the tokenizer.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kept = {name: value for name, value in content.items() if name not in ("padding", "truncation")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class TokenizedReport:
    """One report as ids, not padded.

    Attributes:
        input_ids: `[L]` int64.
        sentence: `[L]` int64, number of the sentence that each token belongs to, -1 for special tokens.
    """

    input_ids: np.ndarray
    sentence: np.ndarray


def tokenize_reports(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int
) -> list[TokenizedReport]:
    """Turns reports into token ids with special tokens, cut at `max_length`, and numbers each token's sentence."""
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        padding=False,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    return [
        TokenizedReport(np.asarray(ids, np.int64), _sentence_numbers(text, offsets, special))
        for text, ids, offsets, special in zip(
            texts, encoded["input_ids"], encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True
        )
    ]


def _sentence_numbers(text: str, offsets: Sequence[tuple[int, int]], special: Sequence[int]) -> np.ndarray:
    """Sentence of each token `[L]`, by its last character: some tokenizers count a leading space to the token."""
    starts = [start for start, _ in split_sentences(text)]
    last = np.asarray([end - 1 for _, end in offsets], np.int64)
    number = np.searchsorted(np.asarray(starts, np.int64), last, side="right") - 1
    return np.where(np.asarray(special, bool), -1, np.maximum(number, 0))


class TokenizeReportd(MapTransform):
    """Tokenises a report text: adds `input_ids`, `attention_mask` and `sentence`, each `[L]` int64.

    For loading without a packed store. `sentence` numbers each token's sentence, -1 for special and pad tokens.

    Args:
        keys: key of the text; it must be one, since the outputs have fixed names.
        tokenizer: local folder or hub name, see `load_tokenizer`.
        max_length: longer reports are cut, special tokens kept.
        pad_to: pads on the right to this length, so that items of different lengths can be collated; by default the
            report keeps its own length.
        allow_missing_keys: lets items without the text pass unchanged.

    Raises:
        DataError: the tokenizer can't be loaded.
        ValueError: more than one key, or `pad_to` below `max_length`.

    Example:
        >>> TokenizeReportd("text", "stores/phantoms/tokenizer", max_length=128, pad_to=128)  # doctest: +SKIP
    """

    def __init__(
        self,
        keys: KeysCollection,
        tokenizer: str | Path,
        max_length: int = 256,
        pad_to: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"TokenizeReportd takes one key, got {self.keys}")
        if pad_to is not None and pad_to < max_length:
            raise ValueError(f"pad_to ({pad_to}) must not be below max_length ({max_length})")
        self.tokenizer = load_tokenizer(tokenizer)
        self.max_length = max_length
        self.pad_to = pad_to

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with the three arrays added."""
        item = dict(data)
        for key in self.key_iterator(item):
            report = tokenize_reports(self.tokenizer, [item[key]], self.max_length)[0]
            length = len(report.input_ids)
            padding = max((self.pad_to or length) - length, 0)
            item["input_ids"] = _padded(report.input_ids, padding, self.tokenizer.pad_token_id)
            item["attention_mask"] = _padded(np.ones(length, np.int64), padding, 0)
            item["sentence"] = _padded(report.sentence, padding, -1)
        return item


def _padded(values: np.ndarray, padding: int, fill: int | None) -> torch.Tensor:
    return torch.from_numpy(np.pad(values, (0, padding), constant_values=fill))
