"""Reports told abnormal from normal by their sentences, with real tokenizers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.models import WordLevel
from transformers import BertTokenizer, PreTrainedTokenizerFast

from bundle.transforms.abnormal_reports import AbnormalReports
from bundle.transforms.tokenize import load_tokenizer, save_tokenizer, tokenize_reports, train_tokenizer

NORMAL = ["No pleural effusion. The heart is normal in size.", "Lungs are clear. No pneumothorax."]
ABNORMAL = ["No pneumothorax. There is a left pleural effusion.", "Large effusion."]


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wordpiece")
    train_tokenizer((NORMAL + ABNORMAL) * 3, folder, 200)
    return folder


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, special = tmp_path_factory.mktemp("bpe"), ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator((NORMAL + ABNORMAL) * 9, vocab_size=400, special_tokens=special, show_progress=False)
    trained.save(str(folder / "raw.json"))
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_file=str(folder / "raw.json"), **names).save_pretrained(folder)
    return folder


def batch(folder: Path, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    reports = tokenize_reports(load_tokenizer(folder), texts, 64)
    longest = max(len(report.input_ids) for report in reports)
    ids, mask, sentence = (torch.full((len(reports), longest), fill) for fill in (0, 0, -1))
    for row, report in enumerate(reports):
        count = len(report.input_ids)
        ids[row, :count], mask[row, :count] = torch.from_numpy(report.input_ids), 1
        sentence[row, :count] = torch.from_numpy(report.sentence)
    return ids, mask, sentence


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level"])
def test_one_sentence_without_a_normal_word_is_enough(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    judged = AbnormalReports(folder)(*batch(folder, NORMAL + ABNORMAL))
    assert judged.tolist() == [False, False, True, True]


def test_other_words_give_another_judgement(wordpiece: Path) -> None:
    judged = AbnormalReports(wordpiece, ["effusion"])(*batch(wordpiece, [*NORMAL, ABNORMAL[1]]))
    assert judged.tolist() == [True, True, False]


def test_a_report_without_words_is_not_abnormal(wordpiece: Path) -> None:
    empty = torch.tensor([[1, 2, 0]])
    assert AbnormalReports(wordpiece)(empty, (empty > 0).long(), torch.full((1, 3), -1)).tolist() == [False]


def test_a_word_within_another_is_none(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "##dule", "clear", "un", "##clear", "left", ".", ","]
    save_tokenizer(BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}), tmp_path)
    texts = ["Nodule.", "Unclear.", "No, left.", "Clear left", "left unclear"]
    assert load_tokenizer(tmp_path).tokenize("nodule unclear") == ["no", "##dule", "un", "##clear"]
    assert AbnormalReports(tmp_path)(*batch(tmp_path, texts)).tolist() == [True, True, False, False, True]


def test_a_tokenizer_that_marks_no_words_is_refused(tmp_path: Path) -> None:
    letters = Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": 1, "a": 2}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not mark where words begin or go on"):
        AbnormalReports(tmp_path)
