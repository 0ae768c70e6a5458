"""Sections of free-text reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.transforms.report import extract_sections

FULL = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with new onset ascites  // eval for infection

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  None.

 FINDINGS:

 There is no focal consolidation: none at all. Imaged upper
 abdomen is unremarkable.

 IMPRESSION:

 No acute cardiopulmonary process.
"""


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_a_whole_report(line_break: str) -> None:
    assert extract_sections(FULL.replace("\n", line_break)) == {
        "preamble": "FINAL REPORT",
        "examination": "CHEST (PA AND LAT)",
        "indication": "___F with new onset ascites // eval for infection",
        "technique": "Chest PA and lateral",
        "comparison": "None.",
        "findings": "There is no focal consolidation: none at all. Imaged upper abdomen is unremarkable.",
        "impression": "No acute cardiopulmonary process.",
    }


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("IMPRESSSION", "impression"),
        ("IMPRESSIONS", "impression"),
        ("CONCLUSION", "impression"),
        ("FINDINGS AND IMPRESSION", "impression"),
        ("FINDINGS/IMPRESSION", "impression"),
        ("FINDIGNS", "findings"),
        ("FINDING", "findings"),
        ("CHEST, TWO VIEWS", "findings"),
        ("PORTABLE CHEST", "findings"),
        ("PA AND LATERAL", "findings"),
        ("SINGLE AP VIEW OF THE CHEST", "findings"),
        ("COMPARISONS", "comparison"),
        ("REASON FOR EXAM", "indication"),
        ("CLINICAL HISTORY", "history"),
        ("Findings", "findings"),
        ("ONE", "one"),
        ("WET READ", "wet read"),
    ],
)
def test_header_names(header: str, name: str) -> None:
    assert extract_sections(f"FINAL REPORT\n {header}: Something.\n") == {
        "preamble": "FINAL REPORT",
        name: "Something.",
    }


def test_the_last_section_with_text_counts() -> None:
    report = " IMPRESSION: First.\n FINDINGS: Clear.\n IMPRESSION: Second.\n IMPRESSION:\n\n"
    assert extract_sections(report) == {"impression": "Second.", "findings": "Clear."}


def test_last_paragraph_without_findings_and_impression() -> None:
    report = "FINAL REPORT\n HISTORY: Cough.\n \n Lungs are clear.\n \n No effusion.\n"
    assert extract_sections(report) == {
        "preamble": "FINAL REPORT",
        "history": "Cough.",
        "last_paragraph": "Lungs are clear. No effusion.",
    }
    assert "last_paragraph" not in extract_sections("FINAL REPORT\n HISTORY: Cough.\n")
    assert "last_paragraph" not in extract_sections(f"{report}\n IMPRESSION: Clear.\n")
    assert "last_paragraph" in extract_sections(f"{report.rstrip()}\n\n More.\n FINDINGS:\n IMPRESSION: \n")


def test_no_header_within_a_line() -> None:
    report = " FINDINGS: The tip: unchanged. AP: 3 cm.\n Heart (see below): large.\n"
    assert list(extract_sections(report)) == ["findings"]


def test_a_report_whose_line_breaks_were_lost() -> None:
    assert extract_sections("EXAM: x. FINDINGS: Clear lungs. LEFT: none. IMPRESSION: Normal.") == {
        "preamble": "EXAM: x.",
        "findings": "Clear lungs. LEFT: none.",
        "impression": "Normal.",
    }
    assert extract_sections("no header at all") == {"preamble": "no header at all"}
    assert extract_sections("") == {}


@given(st.text(st.sampled_from("AF():,/-\n\r \tb") | st.characters(), max_size=80))
def test_nothing_is_invented(report: str) -> None:
    sections = extract_sections(report)
    assert all(name and text and text == " ".join(text.split()) for name, text in sections.items())
    assert sum(len(text.replace(" ", "")) for text in sections.values()) <= len("".join(report.split()))
