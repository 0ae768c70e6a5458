"""Training a tokenizer on reports, reproducibly."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.data.errors import DataError  # the one error of unusable input, whichever room finds it
from bundle.data.tokenizer_files import load_tokenizer, save_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["SPECIAL_TOKENS", "own_tokenizer", "train_tokenizer"]

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


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
    from transformers import BertTokenizer

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
    vocabulary = _learn_vocabulary(texts, fixed, vocab_size, lowercase)
    save_tokenizer(BertTokenizer(vocab=vocabulary, do_lower_case=lowercase), folder)
    return load_tokenizer(folder)


def own_tokenizer(given: str | None, texts: Iterable[str], folder: str | Path, vocab_size: int = 4096) -> str:
    """The tokenizer of a run: the one that is given, or one trained on its reports, once.

    Several processes may ask at the same time; each trains the same one, and one of them is kept.

    Args:
        given: local folder or hub name; None: trained.
        texts: as for `train_tokenizer`.
        folder: where the trained one is kept; one that is there already, from before a restart, is taken.
        vocab_size: as for `train_tokenizer`.

    Returns:
        Folder or hub name.

    Raises:
        DataError: see `train_tokenizer`.
    """
    folder = Path(folder)
    if given is not None or folder.is_dir():
        return given or str(folder)
    own = folder.with_name(f".{folder.name}.{os.getpid()}")
    train_tokenizer(texts, own, vocab_size)
    try:
        os.rename(own, folder)
    except OSError:  # another process was quicker
        shutil.rmtree(own)
    return str(folder)


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
