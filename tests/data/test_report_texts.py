"""Reports alone: distinct, tokenized, cut, shortest first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from bundle.data.report_texts import ReportTexts, listed_reports
from bundle.data.tokenizer_files import load_tokenizer
from bundle.transforms.report import report_text


def written(folder: Path, items: list[dict]) -> Path:
    path = folder / "datalist.json"
    path.write_text(json.dumps({"name": "made", "schema_version": 1, "training": items}))
    return path


def test_distinct_reports_whose_images_are_nowhere(tmp_path: Path) -> None:
    items = [
        {"id": "a", "image": "a.png", "patient": "1", "text": "Clear lungs."},
        {"id": "b", "image": "b.png", "patient": "2", "text": "Clear  lungs."},
        {"id": "c", "image": "c.png", "findings": "Small nodule.", "impression": "Nodule."},
        {"id": "d", "image": "d.png", "patient": "4"},
    ]
    assert listed_reports(written(tmp_path, items), "training", report_text) == [
        {"text": "Clear lungs.", "patient": "1"},
        {"text": "Small nodule. Nodule.", "patient": "c"},
    ]


def test_a_list_without_reports_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [{"id": "a", "image": "a.png"}])
    with pytest.raises(DataError, match="none of the 1 items of training has a report"):
        listed_reports(path, "training", report_text)


def test_batches_hold_what_the_packed_store_holds(phantoms: Path, phantom_store: Path) -> None:
    reports = listed_reports(phantoms / "datalist.json", "validation", report_text)
    dataset = ReportTexts(reports, phantom_store / "tokenizer")
    packed = PackedDataset(phantom_store, "validation")
    assert len(dataset) == len(packed)  # texts of phantoms are distinct
    rows = [3, 0, 5]
    batch, expected = dataset.__getitems__(rows), packed.__getitems__(rows)
    for name in ("input_ids", "attention_mask", "index"):
        assert batch[name].tolist() == expected[name].tolist()
    assert batch["lengths"] == expected["lengths"] == sorted(batch["lengths"])
    assert dataset.cut == 0


def test_long_reports_are_cut_and_counted(phantom_store: Path) -> None:
    tokenizer = load_tokenizer(str(phantom_store / "tokenizer"))
    reports = [{"text": "no nodule"}, {"text": "no pleural effusion is seen in either lung today"}]
    dataset = ReportTexts(reports, phantom_store / "tokenizer", max_length=6)
    assert dataset.cut == 1
    assert dataset[1]["lengths"] == 6
    assert dataset[1]["input_ids"][-1] == tokenizer.sep_token_id
    with pytest.raises(IndexError):
        dataset[2]
