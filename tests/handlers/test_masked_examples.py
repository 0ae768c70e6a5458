"""What is written about masked words: numbers by default, words where that was asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from bundle.data.tokenizer_files import load_tokenizer
from bundle.handlers.masked_examples import MaskedExamples
from bundle.transforms.mask_tokens import MaskTokens
from bundle.transforms.tokenize import train_tokenizer

TEXTS = ["Large pleural effusion on the left.", "No pneumothorax. The heart is enlarged.", "Normal chest."]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="module", params=["wordpiece", "byte level"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer in which every word of the reports is one token."""
    made = tmp_path_factory.mktemp("tokenizer")
    if request.param == "wordpiece":
        train_tokenizer(TEXTS * 20, made, 200)
        return made
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS * 20, vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    trained.save(str(made / "raw.json"))
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_file=str(made / "raw.json"), **names).save_pretrained(made)
    (made / "raw.json").unlink()
    return made


def reports(folder: Path) -> dict[str, Tensor]:
    made = load_tokenizer(folder)(TEXTS, padding=True, return_tensors="pt")
    return {name: made[name] for name in ("input_ids", "attention_mask")} | {"index": torch.arange(len(TEXTS))}


class Knows(nn.Module):
    """Gives the right word a logit of 3 in the first place of a report, and every word one of 0 in the others."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = words

    def forward(self, image: Tensor, masked_labels: Tensor) -> dict[str, Tensor]:
        logits = torch.zeros(*masked_labels.shape, self.words)
        logits[:, 0].scatter_(1, masked_labels[:, :1].clamp_min(0), 3.0)
        return {"mlm_logits": logits.bfloat16(), "mlm_labels": masked_labels}


def run(
    folder: Path, examples: MaskedExamples, order: list[list[int]], network: nn.Module | None = None, epoch: int = 1
) -> None:
    mask, made = MaskTokens(folder, share=0.3, seed=1), reports(folder)

    def prepare(data: dict[str, Tensor], *_: Any, **__: Any) -> tuple[Tensor, dict, tuple, dict[str, Tensor]]:
        masked = mask(data["input_ids"], data["attention_mask"])
        return torch.zeros(len(data["index"]), 1), {}, (), {"masked_labels": masked["masked_labels"]}

    SupervisedEvaluator(
        device="cpu",
        val_data_loader=[{name: x[rows] for name, x in made.items()} for rows in order],
        network=Knows(len(load_tokenizer(folder))) if network is None else network,
        prepare_batch=prepare,
        val_handlers=[examples],
        decollate=False,
    ).run(epoch)


def handler(folder: Path, target: Path, **options: Any) -> MaskedExamples:
    return MaskedExamples(target, MaskTokens(folder, share=0.3, seed=1), load_tokenizer(folder), **options)


def rows(text: str) -> dict[int, list[list[str]]]:
    """The table of each report."""
    _, *paragraphs = re.split(r"^row (\d+)$", text, flags=re.MULTILINE)
    tables = {}
    for number, paragraph in zip(paragraphs[::2], paragraphs[1::2], strict=True):
        tables[int(number)] = [line.split() for line in paragraph.splitlines() if re.match(r" +\d", line)]
    return tables


def test_numbers_by_hand(folder: Path, tmp_path: Path) -> None:
    run(folder, handler(folder, tmp_path), [[0, 1, 2]], epoch=3)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_0003.txt"]
    given = reports(folder)
    masked = MaskTokens(folder, share=0.3, seed=1)(given["input_ids"], given["attention_mask"])
    words = len(load_tokenizer(folder))
    right = 2.718281828**3 / (2.718281828**3 + words - 1)
    tables = rows((tmp_path / "epoch_0003.txt").read_text(encoding="utf-8"))
    assert list(tables) == [0, 1, 2]
    mask_id, shown = load_tokenizer(folder).mask_token_id, set()
    for number, table in tables.items():
        first = int(masked["masked_positions"][number, 0])
        labels = masked["masked_labels"][number]
        places = {int(p): int(w) for p, w in zip(masked["masked_positions"][number], labels, strict=True) if w != -100}
        assert [int(row[0]) for row in table] == sorted(places)
        for row in table:
            position, after = int(row[0]), int(masked["masked_ids"][number, int(row[0])])
            assert row[1] == ("masked" if after == mask_id else "kept" if after == places[position] else "replaced")
            assert float(row[2]) == pytest.approx(right if position == first else 1 / words, abs=1e-3)
            assert int(row[3]) == (1 if position == first else words)  # all are equally likely: it names none
            shown.add(row[1])
    assert "masked" in shown


def test_what_was_shown_is_told(folder: Path, tmp_path: Path) -> None:
    """All three kinds, of a mask that makes each."""
    given = reports(folder)
    ids = given["input_ids"][:1]
    tokenizer = load_tokenizer(folder)
    after = ids.clone()
    after[0, 1], after[0, 2] = tokenizer.mask_token_id, (ids[0, 2] + 1 if ids[0, 2] + 1 < len(tokenizer) else 6)
    masked = {
        "masked_ids": after,
        "masked_positions": torch.tensor([[3, 2, 1, 0]]),
        "masked_labels": torch.tensor([[*ids[0, [3, 2, 1]].tolist(), -100]]),
    }
    examples = MaskedExamples(tmp_path, lambda *_: masked, tokenizer)
    examples._batch = {name: x[:1] for name, x in given.items()}
    logits = torch.zeros(1, 4, len(tokenizer))
    (example,) = examples.take({"pred": {"mlm_logits": logits, "mlm_labels": masked["masked_labels"]}}, [0])
    shown = [(place.position, place.shown) for place in example.places]
    assert shown == [(1, "masked"), (2, "replaced"), (3, "kept")]


def test_no_word_of_a_report_by_default(folder: Path, tmp_path: Path) -> None:
    run(folder, handler(folder, tmp_path), [[0, 1, 2]])
    head, *rest = (tmp_path / "epoch_0001.txt").read_text(encoding="utf-8").split("\nrow ")
    assert set(re.findall(r"[^\W\d]+", "".join(rest))) <= {
        "position", "shown", "probability", "rank", "masked", "replaced", "kept",
    }  # fmt: skip
    tokenizer = load_tokenizer(folder)
    other = tmp_path / "other"
    run(folder, MaskedExamples(other, MaskTokens(folder, share=0.3, seed=1), tokenizer, words=True), [[0, 1, 2]])
    assert (other / "epoch_0001.txt").read_text(encoding="utf-8").startswith(head)


def test_words_where_they_were_asked_for(folder: Path, tmp_path: Path) -> None:
    run(folder, handler(folder, tmp_path, words=True, count=1), [[0, 1, 2]])
    lines = (tmp_path / "epoch_0001.txt").read_text(encoding="utf-8").splitlines()
    start = lines.index("row 0")
    report, table = lines[start + 1], [line.split(maxsplit=4) for line in lines[start + 3 :] if line]
    named = {}
    for position, _, _, rank, words in table:
        right, guesses = words.split(": ", 1)
        named[position] = right
        assert guesses.count(", ") == 2
        assert int(rank) > 1 or guesses.startswith(right)
    whole = re.sub(r"\[(\d+)\]", lambda blank: f" {named[blank[1]]} ", report)
    assert re.findall(r"\w+", whole.lower()) == re.findall(r"\w+", TEXTS[0].lower())
    assert not any(f" {word} " in f" {report} " for word in named.values() if word.isalpha())


@pytest.mark.parametrize("order", [[[0, 1, 2]], [[2], [1, 0]], [[2, 1], [0]]])
def test_the_first_reports_of_the_list(order: list[list[int]], folder: Path, tmp_path: Path) -> None:
    run(folder, handler(folder, tmp_path, count=2), order)
    assert list(rows((tmp_path / "epoch_0001.txt").read_text(encoding="utf-8"))) == [0, 1]


def test_another_mask_is_refused(folder: Path, tmp_path: Path) -> None:
    examples = MaskedExamples(tmp_path, MaskTokens(folder, share=0.3, seed=2), load_tokenizer(folder))
    with pytest.raises(ValueError, match="give MaskedExamples the mask of the evaluator's own batches, with a seed"):
        run(folder, examples, [[0, 1, 2]])
    assert list(tmp_path.iterdir()) == []


def test_nothing_without_a_language_head(folder: Path, tmp_path: Path) -> None:
    class Silent(nn.Module):
        def forward(self, image: Tensor, masked_labels: Tensor) -> dict[str, Tensor]:
            return {"matching_logits": image[:, 0]}

    run(folder, handler(folder, tmp_path), [[0, 1, 2]], network=Silent())
    assert list(tmp_path.iterdir()) == []
