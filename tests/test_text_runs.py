"""Pre-training of a text encoder alone: from a list of reports to folders that every method takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from workflows import TINY_TEXT, started

from bundle.data.tokenizer_files import load_tokenizer, tokenizer_sha256
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.transforms.tokenizer_training import own_tokenizer

VALUES = {
    "text_source": TINY_TEXT["text_source"],
    "trained_words": 300,
    "batch_size": 8,
    "max_epochs": 2,
    "val_interval": 1,
    "log_every": 1,
    "precision": "fp32",
    "learning_rate": 5e-3,
}


@pytest.fixture(scope="module")
def run(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    output = tmp_path_factory.mktemp("runs")
    values = {"dataset_dir": str(phantoms), "output_root": str(output), **VALUES}
    with started(("pretrain", "pretrain_text"), values) as made:
        assert made.check_properties() == []
        made.run()
        return output / "pretrain_text" / "text", made.parser.get_parsed_content("network_def").eval()


def test_held_out_perplexity_falls_and_has_an_interval(run: tuple[Path, torch.nn.Module]) -> None:
    folder, _ = run
    first, last = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    assert last["masked_word_perplexity"] < first["masked_word_perplexity"] < 300
    entry = json.loads((folder / "results.json").read_text())["metrics"]["masked_word_perplexity"]
    assert entry["low"] < entry["value"] < entry["high"]
    assert entry["value"] == last["masked_word_perplexity"]


def test_what_it_leaves_is_a_text_source_with_its_tokenizer(run: tuple[Path, torch.nn.Module]) -> None:
    folder, network = run
    tokenizer = load_tokenizer(str(folder / "models" / "tokenizer"))
    encoder = TextEncoder(folder / "models" / "text_encoder", 0, False, pooling="tokens", vocab_size=len(tokenizer))
    ids = torch.tensor([tokenizer("no pleural effusion")["input_ids"]])
    with torch.no_grad():
        found = encoder.eval()(ids, torch.ones_like(ids))
        torch.testing.assert_close(found, network.text_encoder(ids, torch.ones_like(ids)))
    card = json.loads((folder / "models" / "model.json").read_text())
    assert card["tokenizer"] == {"sha256": tokenizer_sha256(tokenizer), "vocab_size": len(tokenizer)}
    assert card["data"]["name"]


def test_no_report_is_left_in_the_run(run: tuple[Path, torch.nn.Module], phantoms: Path) -> None:
    folder, _ = run
    reports = [item["findings"] for item in json.loads((phantoms / "datalist.json").read_text())["training"][:20]]
    texts = [
        path.read_text() for path in folder.rglob("*") if path.suffix in {".json", ".jsonl", ".log", ".txt", ".yaml"}
    ]
    assert not any(report in text for report in reports for text in texts)


def test_own_tokenizer_is_trained_once(tmp_path: Path) -> None:
    texts = ["clear lungs", "clear heart", "no lungs"]
    folder = own_tokenizer(None, texts, tmp_path / "words", 60)
    first = tokenizer_sha256(load_tokenizer(folder))
    assert own_tokenizer(None, ["other words altogether"], tmp_path / "words", 60) == folder
    assert tokenizer_sha256(load_tokenizer(folder)) == first
    assert own_tokenizer("some/name", texts, tmp_path / "others") == "some/name"
    assert not (tmp_path / "others").exists()
