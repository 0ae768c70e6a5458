"""The text of reports and their sentences."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from bundle.data.errors import DataError
from bundle.transforms.report import ReportTextd, impression_text, released_report_text, report_text, split_sentences


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"text": " Clear\r\n  lungs.\t"}, "Clear lungs."),
        ({"text": ["Axial CT.", "Fig. 1 shows it."]}, "Axial CT. Fig. 1 shows it."),
        ({"findings": "Clear.", "impression": "Normal."}, "Clear. Normal."),
        ({"impression": "Normal."}, "Normal."),
        ({"text": "Final.", "findings": "Raw."}, "Final."),
    ],
)
def test_report_text(item: dict[str, Any], text: str) -> None:
    assert report_text(item) == text


@pytest.mark.parametrize("build", [report_text, impression_text, released_report_text])
@pytest.mark.parametrize("item", [{"id": "s7"}, {"id": "s7", "text": " \n"}])
def test_no_report(build: Any, item: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="item s7: it has no report"):
        build(item)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        # No space between the sections, "1" and "2" dropped as numeric, a decimal torn apart, the header kept.
        (
            {"impression": "1. No edema.\n2. A 3.5 cm mass.", "findings": "LUNGS: Clear. COMPARISON: ___ Stable."},
            "No edema. A 3. 5 cm mass. LUNGS: Clear. Stable.",
        ),
        ({"impression": "No edema", "findings": "Clear."}, "No edemaClear."),
        ({"impression": "1. No  edema."}, "1. No  edema."),
        ({"findings": "1. Clear."}, "Clear."),
        ({"text": "1. Clear. 2. Stable"}, "Clear. Stable"),
    ],
)
def test_released_report_text(item: dict[str, Any], text: str) -> None:
    assert released_report_text(item) == text


@pytest.mark.parametrize(
    "sentences",
    [
        ["Lungs are clear.", "No effusion."],
        ["A 3.5 cm mass in the left upper lobe.", "Stable."],
        ["1. No acute process.", "2. Small effusion, as seen by Dr. Smith.", "3. Edema."],
        ["Left vs. right (e.g. Fig. 2).", "Is it new?", "Yes!", "no full stop"],
        ['He said "clear."', "Then (so it seems.)", "More."],
        ["Myalgia. .", "Next."],
        ["Tip at T7.", "5 mm nodule."],
        ["compared to ___.", "heart size is normal."],
        ["Dr."],
        ["1."],
    ],
)
def test_sentences(sentences: list[str]) -> None:
    text = " ".join(sentences)
    assert [text[start:end] for start, end in split_sentences(text)] == sentences


def test_sentences_without_a_space_between() -> None:
    text = "Lungs are clear.The heart is large.  "
    assert split_sentences(text) == [(0, 16), (16, 35)]


def test_no_sentence() -> None:
    assert split_sentences(" \n\t") == []


@given(st.text(st.sampled_from("aB3.!?)( \n\t\xa0Dr'\"") | st.characters(), max_size=60))
def test_spans_are_ordered_and_cover_everything(text: str) -> None:
    spans = split_sentences(text)
    ends = [0, *(end for _, end in spans)]
    for before, (start, end) in zip(ends, spans, strict=False):
        assert before <= start < end
        assert not text[start].isspace()
        assert not text[end - 1].isspace()
        assert not text[before:start].strip()
    assert not text[ends[-1] :].strip()


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"findings": "The heart is large.", "impression": " Cardio-\n megaly. "}, "Cardio- megaly."),
        ({"findings": "The heart is large."}, "The heart is large."),
        ({"text": "All of it.", "impression": "The gist."}, "The gist."),
    ],
)
def test_impression_text(item: dict[str, Any], text: str) -> None:
    assert impression_text({"id": "a", **item}) == text


def test_transform_from_a_config() -> None:
    config = {
        "_target_": "bundle.transforms.report.ReportTextd",
        "keys": "report",
        "report": {"_target_": "bundle.transforms.report.released_report_text", "_mode_": "callable"},
    }
    transform = ConfigParser({"transform": config}).get_parsed_content("transform")
    item = {"id": "a", "impression": "Normal", "findings": "Clear."}
    assert transform(item) == {**item, "report": "NormalClear."}
    assert "report" not in item
    assert ReportTextd()(item)["text"] == "Clear. Normal"


@pytest.mark.real
def test_sentences_of_real_reports(data_root: Path) -> None:
    texts = []
    with tarfile.open(data_root / "reports" / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            if member.name.endswith(".xml") and len(texts) < 1000:
                root = ElementTree.parse(archive.extractfile(member)).getroot()
                found = {part.get("Label", "").lower(): part.text for part in root.iter("AbstractText") if part.text}
                texts += [report_text(found)] if found.keys() & {"findings", "impression"} else []
    counts = [len(split_sentences(text)) for text in texts]
    assert len(texts) == 1000
    # Every sentence ends with a mark somewhere, so there are at most as many as marks, plus one without.
    assert all(count <= sum(text.count(mark) for mark in ".!?") + 1 for count, text in zip(counts, texts, strict=True))
    assert 5 < sum(counts) / len(counts) < 9
    pieces = [text[start:end] for text in texts for start, end in split_sentences(text)]
    assert sum(any(letter.isalpha() for letter in piece) for piece in pieces) / len(pieces) > 0.995
