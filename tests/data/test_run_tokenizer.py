"""Where a run's tokenizer comes from, and the copy that it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from bundle.data.errors import DataError
from bundle.data.run_tokenizer import find_tokenizer, keep_tokenizer
from bundle.data.tokenizer_files import load_tokenizer, tokenizer_sha256
from bundle.transforms.tokenizer_training import train_tokenizer

START = "model.safetensors"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The place of weights, with a tokenizer beside them."""
    train_tokenizer(["There is a nodule."] * 3, tmp_path / "models" / "tokenizer", 100)
    return tmp_path / "models" / START


@pytest.fixture
def other(tmp_path: Path) -> Path:
    train_tokenizer(["No effusion on the left."] * 3, tmp_path / "other", 100)
    return tmp_path / "other"


def sha256(folder: Path) -> str:
    return tokenizer_sha256(load_tokenizer(folder))


def test_beside_the_weights_unless_given(weights: Path, other: Path) -> None:
    beside = weights.with_name("tokenizer")
    assert find_tokenizer(None, str(weights)) == str(beside)
    assert find_tokenizer(None, str(weights), {"sha256": sha256(beside)}) == str(beside)
    assert find_tokenizer(str(other), str(weights)) == str(other)
    assert find_tokenizer(str(other), None) == str(other)


def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tokenizer: there are no weights to start from; give --tokenizer"):
        find_tokenizer(None, None)
    with pytest.raises(DataError, match=r"no tokenizer: there is no folder .*tokenizer; give --tokenizer"):
        find_tokenizer(None, str(tmp_path / START))


def test_words_that_the_weights_do_not_know(weights: Path, other: Path) -> None:
    words = {"sha256": sha256(weights.with_name("tokenizer"))}
    with pytest.raises(DataError, match=f"{other}: its words are not those .* {weights} was trained with; take"):
        find_tokenizer(str(other), str(weights), words)


def test_copy(weights: Path, other: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "models" / "tokenizer"
    tokenizer: PreTrainedTokenizerFast = load_tokenizer(other)
    assert keep_tokenizer(other, folder) == {"sha256": sha256(other), "vocab_size": len(tokenizer)}
    assert sha256(folder) == sha256(other)
    written = [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]
    keep_tokenizer(other, folder)
    assert [path.stat().st_mtime_ns for path in sorted(folder.iterdir())] == written
    keep_tokenizer(weights.with_name("tokenizer"), folder)  # another one gives way
    assert sha256(folder) == sha256(weights.with_name("tokenizer"))
    assert [path.name for path in folder.parent.iterdir()] == ["tokenizer"]
