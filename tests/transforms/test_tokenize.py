from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import Compose
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, BertTokenizer

from bundle.data.errors import DataError
from bundle.transforms.report import split_sentences
from bundle.transforms.tokenize import (
    TokenizeReportd,
    load_tokenizer,
    save_tokenizer,
    tokenize_reports,
    tokenizer_sha256,
    train_tokenizer,
)

REPORTS = [
    "The lungs are clear. No pleural effusion or pneumothorax is seen.",
    "Heart size is normal. There is a 3.5 cm mass in the right lung.",
    "Left pleural effusion. The heart is enlarged. No pneumothorax.",
] * 3
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "mass", "clear", "lung", "##s", ".", "3", "5", "cm"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tokenizer whose vocabulary is `PIECES`."""
    folder = tmp_path_factory.mktemp("tokenizer") / "pieces"
    save_tokenizer(BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)}), folder)
    return folder


def test_training_twice_gives_the_same_tokenizer(tmp_path: Path) -> None:
    first, second = (train_tokenizer(REPORTS, tmp_path / name, vocab_size=150) for name in ("a", "b"))
    assert first.get_vocab() == second.get_vocab()
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (tmp_path / "b" / "tokenizer.json").read_bytes()
    assert first.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]) == [0, 1, 2, 3, 4]
    assert {"pleural", "effusion", "pneumothorax"} <= set(first.get_vocab())


def test_a_trained_folder_is_what_hugging_face_loads(tmp_path: Path) -> None:
    trained = train_tokenizer(REPORTS, tmp_path / "a", vocab_size=150)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert loaded("The HEART, enlarged")["input_ids"] == trained("the heart, enlarged")["input_ids"]
    assert loaded.decode(loaded("No mass.")["input_ids"]) == "[CLS] no mass. [SEP]"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_lower_casing_is_an_option(tmp_path: Path) -> None:
    cased = train_tokenizer(["The lungs", "the Lungs"] * 2, tmp_path / "a", vocab_size=60, lowercase=False)
    assert cased.tokenize("The the") != cased.tokenize("the the")
    assert "T" in cased.get_vocab()


def test_the_vocabulary_keeps_its_bound(tmp_path: Path) -> None:
    assert len(train_tokenizer(REPORTS, tmp_path / "a", vocab_size=80)) == 80
    with pytest.raises(DataError, match=r"a vocabulary of 20 does not hold the .* special tokens"):
        train_tokenizer(REPORTS, tmp_path / "b", vocab_size=20)
    with pytest.raises(DataError, match="no reports to train on"):
        train_tokenizer([], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_hash_is_that_of_what_makes_ids(pieces: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(pieces)
    before = tokenizer_sha256(tokenizer)
    tokenizer(["no mass", "no"], padding=True, truncation=True, max_length=3)
    assert tokenizer_sha256(tokenizer) == before
    swapped = {piece: number for number, piece in enumerate(PIECES[:5] + PIECES[:4:-1])}
    assert tokenizer_sha256(BertTokenizer(vocab=swapped)) != before
    assert tokenizer_sha256(BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=False)) != before
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert tokenizer_sha256(load_tokenizer(tmp_path)) == before  # the same tokenizer in the older file format


def test_sentences_and_ids_by_hand(pieces: Path) -> None:
    report, cut = tokenize_reports(load_tokenizer(pieces), ["Lungs clear. No 3.5 cm mass.", "no " * 20], max_length=12)
    names = [PIECES[number] for number in report.input_ids]
    assert names == ["[CLS]", "lung", "##s", "clear", ".", "no", "3", ".", "5", "cm", "mass", "[SEP]"]
    assert report.sentence.tolist() == [-1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, -1]
    assert [PIECES[number] for number in cut.input_ids] == ["[CLS]", *["no"] * 10, "[SEP]"]


def test_a_leading_space_belongs_to_the_token_behind_it(tmp_path: Path) -> None:
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(REPORTS, 300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    trained.save_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    tokenizer = load_tokenizer(tmp_path)
    report = tokenize_reports(tokenizer, ["No mass. No mass."], max_length=40)[0]
    names = tokenizer.convert_ids_to_tokens(report.input_ids)
    assert names[0] == "<s>"
    assert names[-1] == "</s>"
    second = names.index(".") + 1
    assert names[second].startswith("Ġ")
    assert report.sentence.tolist() == [-1] + [0] * (second - 1) + [1] * (len(names) - second - 1) + [-1]


@given(st.text(max_size=80))
def test_any_text_is_numbered_within_its_sentences(pieces: Path, text: str) -> None:
    report = tokenize_reports(_cached(pieces), [text], max_length=30)[0]
    assert len(report.input_ids) == len(report.sentence) <= 30
    assert report.sentence[0] == report.sentence[-1] == -1
    inner = report.sentence[1:-1]
    assert (inner >= 0).all()
    assert (inner[1:] >= inner[:-1]).all()
    assert inner.max(initial=0) < max(len(split_sentences(text)), 1)


def _cached(folder: Path, tokenizers: dict = {}):  # noqa: B006, one load for all examples
    return tokenizers.setdefault(folder, load_tokenizer(folder) if folder not in tokenizers else None)


def test_transform_pads_and_marks(pieces: Path) -> None:
    item = {"id": "a", "text": "No mass. Clear."}
    made = Compose([TokenizeReportd("text", pieces, max_length=10, pad_to=10)])(item)
    assert made["input_ids"].tolist() == [2, 5, 6, 10, 7, 10, 3, 0, 0, 0]
    assert made["attention_mask"].tolist() == [1] * 7 + [0] * 3
    assert made["sentence"].tolist() == [-1, 0, 0, 0, 1, 1, -1, -1, -1, -1]
    assert all(made[key].dtype == torch.int64 for key in ("input_ids", "attention_mask", "sentence"))
    assert made["text"] == item["text"]
    assert "input_ids" not in item


def test_transform_without_padding_survives_workers(pieces: Path) -> None:
    transform = pickle.loads(pickle.dumps(TokenizeReportd("text", pieces, max_length=4)))
    assert transform({"text": "no no no no"})["input_ids"].tolist() == [2, 5, 5, 3]
    assert transform({"text": "no"})["input_ids"].tolist() == [2, 5, 3]
    with pytest.raises(KeyError, match="text"):
        transform({"id": "a"})
    assert TokenizeReportd("text", pieces, allow_missing_keys=True)({"id": "a"}) == {"id": "a"}


def test_impossible_options_of_the_transform(pieces: Path) -> None:
    with pytest.raises(ValueError, match="takes one key"):
        TokenizeReportd(["text", "caption"], pieces)
    with pytest.raises(ValueError, match=r"pad_to \(8\) must not be below max_length \(9\)"):
        TokenizeReportd("text", pieces, max_length=9, pad_to=8)


def test_a_hub_name_without_network_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"'someone/no-such-model' is no local folder.*give a local folder") as raised:
        load_tokenizer("someone/no-such-model")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("source", ["/no/such/folder", "./missing", "a name with spaces"])
def test_what_cannot_be_a_name_is_a_missing_folder(source: str) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        load_tokenizer(source)


def test_a_folder_without_vocabulary_is_never_an_empty_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == 5  # what transformers makes of it
    with pytest.raises(DataError, match=r"holds none of the files tokenizer\.json, vocab\.txt"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    with pytest.raises(DataError, match="its vocabulary is empty"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "truncation"')
    with pytest.raises(DataError, match="can't be loaded"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_needs_a_pad_token(pieces: Path, tmp_path: Path) -> None:
    save_tokenizer(load_tokenizer(pieces), tmp_path / "a")
    path = tmp_path / "a" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "tokenizer_class": "TokenizersBackend", "pad_token": None}))
    with pytest.raises(DataError, match="has no pad token"):
        load_tokenizer(tmp_path / "a")
