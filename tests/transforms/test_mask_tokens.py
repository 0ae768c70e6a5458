"""Masked words: how many, which never, what replaces them, and whole words with real tokenizers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bundle.data.errors import DataError
from bundle.transforms.mask_tokens import MaskNamedWords, MaskTokens, MaskWords
from bundle.transforms.tokenize import load_tokenizer, train_tokenizer

TEXTS = [
    "The heart is enlarged. There is cardiomegaly with a small left pleural effusion.",
    "No pneumothorax, no consolidation; the costophrenic angles are sharp bilaterally.",
    "Patchy opacities in the right lower lobe (pneumonia) and a nodule in the left apex.",
]


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wordpiece")
    train_tokenizer(TEXTS, folder, 70)
    return folder


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE with RoBERTa's special tokens."""
    folder, special = tmp_path_factory.mktemp("bpe"), ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS, vocab_size=300, special_tokens=special, show_progress=False)
    trained.save(str(folder / "raw.json"))
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_file=str(folder / "raw.json"), **names).save_pretrained(folder)
    (folder / "raw.json").unlink()
    return folder


def reports(folder: Path, texts: list[str]) -> tuple[Tensor, Tensor]:
    batch = load_tokenizer(folder)(texts, padding=True, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]


def long_reports(folder: Path) -> tuple[Tensor, Tensor]:
    """400 reports of 200 ordinary tokens between the two special ones, and 22 of padding."""
    tokenizer = load_tokenizer(folder)
    ordinary = [number for number in range(len(tokenizer)) if number not in tokenizer.all_special_ids]
    ids = torch.full((400, 224), tokenizer.pad_token_id)
    ids[:, 0], ids[:, 201] = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids[:, 1:201] = torch.tensor(ordinary)[torch.randint(len(ordinary), (400, 200))]
    return ids, (torch.arange(224) < 202).long().expand(400, -1)


def test_share_and_replacements(wordpiece: Path) -> None:
    torch.manual_seed(0)
    ids, mask = long_reports(wordpiece)
    masked = MaskTokens(wordpiece)(ids, mask)
    used = masked["masked_labels"] != -100
    assert (used.sum(1) == 30).all()  # 15 % of 200
    assert masked["masked_positions"].shape == (400, round(0.15 * 224))
    tokenizer = load_tokenizer(wordpiece)
    now = masked["masked_ids"].gather(1, masked["masked_positions"])[used]
    before = masked["masked_labels"][used]
    assert (now == tokenizer.mask_token_id).float().mean().item() == pytest.approx(0.8, abs=0.015)
    ordinary = len(tokenizer) - len(tokenizer.all_special_ids)
    assert (now == before).float().mean().item() == pytest.approx(0.1 + 0.1 / ordinary, abs=0.012)
    other = now[(now != tokenizer.mask_token_id) & (now != before)]
    assert not torch.isin(other, torch.tensor(tokenizer.all_special_ids)).any()
    assert len(other.unique()) > ordinary / 2
    places = torch.bincount(masked["masked_positions"][used], minlength=224)[1:201] / 400
    assert places.min() > 0.07
    assert places.max() < 0.25


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6),
    st.sampled_from([0.15, 0.5, 1.0]),
    st.sampled_from([MaskTokens, MaskWords]),
)
def test_special_and_padding_never_and_one_always(
    wordpiece: Path, words: list[int], share: float, kind: type[MaskTokens]
) -> None:
    tokenizer = load_tokenizer(wordpiece)
    ids, mask = reports(wordpiece, [" ".join((TEXTS[0].split() * 3)[:count]) for count in words])
    masked = kind(wordpiece, share)(ids, mask)
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids)) | (mask == 0)
    assert torch.equal(masked["masked_ids"][special], ids[special])
    for row in range(len(ids)):
        used = masked["masked_labels"][row] != -100
        positions = masked["masked_positions"][row][used]
        assert torch.equal(masked["masked_labels"][row][used], ids[row][positions])
        assert not special[row][positions].any()
        untouched = torch.ones(ids.shape[1], dtype=torch.bool).index_fill(0, positions, False)
        assert torch.equal(masked["masked_ids"][row][untouched], ids[row][untouched])
        assert len(masked["masked_positions"][row].unique()) == len(masked["masked_positions"][row])
        real = int((~special[row]).sum())
        assert used.sum() >= min(real, max(1, round(share * real)))
        if kind is MaskTokens:
            assert used.sum() == (0 if real == 0 else max(1, round(share * real)))


@pytest.mark.parametrize("kind", [MaskTokens, MaskWords])
def test_short_reports_have_one_masked(wordpiece: Path, kind: type[MaskTokens]) -> None:
    tokenizer = load_tokenizer(wordpiece)
    first, last, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    letters = tokenizer.convert_tokens_to_ids(["a", "c", "e"])
    ids = torch.tensor([[first, letters[0], last, pad, pad], [first, *letters, last]])
    masked = kind(wordpiece)(ids, (ids != pad).long())
    assert (masked["masked_labels"] != -100).sum(1).tolist() == [1, 1]
    assert masked["masked_labels"][0, 0] == letters[0]


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level"])
def test_whole_words(kind: str, request: pytest.FixtureRequest) -> None:
    torch.manual_seed(0)
    folder = request.getfixturevalue(kind)
    tokenizer = load_tokenizer(folder)
    texts = ["Cardiomegaly, consolidation, pneumothorax; opacities. costophrenic angles bilaterally"] * 40
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    words = torch.tensor([[-1 if word is None else word for word in encoded.word_ids(row)] for row in range(40)])
    masked = MaskWords(folder, 0.2)(encoded["input_ids"], encoded["attention_mask"])
    seen = set()
    for row in range(40):
        hit = torch.zeros(words.shape[1], dtype=torch.bool)
        hit[masked["masked_positions"][row][masked["masked_labels"][row] != -100]] = True
        for word in range(int(words[row].max()) + 1):
            tokens = hit[words[row] == word]
            assert tokens.all() or not tokens.any()
            seen.add((len(tokens) > 2, bool(tokens.any())))
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


def test_a_seed_makes_every_call_the_same(wordpiece: Path) -> None:
    ids, mask = reports(wordpiece, TEXTS)
    fixed = MaskTokens(wordpiece, seed=3)
    first, second = fixed(ids, mask), fixed(ids, mask)
    assert all(torch.equal(first[name], second[name]) for name in first)
    free = MaskTokens(wordpiece)
    assert not torch.equal(free(ids, mask)["masked_positions"], free(ids, mask)["masked_positions"])


def test_a_report_without_words_has_none_masked(wordpiece: Path) -> None:
    ids, mask = reports(wordpiece, ["", TEXTS[1]])
    masked = MaskTokens(wordpiece)(ids, mask)
    assert (masked["masked_labels"][0] == -100).all()
    assert torch.equal(masked["masked_ids"][0], ids[0])


@pytest.mark.parametrize("kind", [MaskTokens, MaskWords])
def test_nothing_needs_the_values_of_a_tensor(wordpiece: Path, kind: type[MaskTokens]) -> None:
    masked = kind(wordpiece)(*(x.to("meta") for x in reports(wordpiece, TEXTS)))
    assert masked["masked_ids"].is_meta


def test_what_cannot_be_is_refused(wordpiece: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="above 0 and not above 1"):
        MaskTokens(wordpiece, share=0)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(wordpiece / "tokenizer.json"), pad_token="[PAD]")
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no mask token"):
        MaskTokens(tmp_path)


def test_named_words_are_masked_wherever_they_stand(wordpiece: Path) -> None:
    tokenizer = load_tokenizer(wordpiece)
    the = tokenizer.convert_tokens_to_ids("the")
    ids, mask = reports(wordpiece, [TEXTS[0], "the the left", "no."])
    masked = MaskNamedWords(wordpiece, ["the"])(ids, mask)
    where = ids == the
    assert where.sum(1).tolist() == [2, 2, 0]  # the small vocabulary makes "the" + "##re" of "There"
    assert torch.equal(masked["masked_ids"], ids.masked_fill(where, tokenizer.mask_token_id))
    judged = masked["masked_labels"] != -100
    assert torch.equal(judged.sum(1), where.sum(1))
    assert (masked["masked_labels"][judged] == the).all()
    rows = judged.nonzero()[:, 0]
    assert where[rows, masked["masked_positions"][judged]].all()


def test_a_word_of_several_tokens_cannot_be_named(wordpiece: Path) -> None:
    with pytest.raises(DataError, match="'cardiomegaly' is no single token of it"):
        MaskNamedWords(wordpiece, ["the", "cardiomegaly"])
