"""Sections of free-text reports."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
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


def test_numbers_blanks_and_lists_stay_in_their_section() -> None:
    report = (
        " FINDINGS:\n \n 1.  Tube 3.5 cm above the carina.\n 2.  ___ line: unchanged.\n \n"
        " IMPRESSION:\n \n 1. No change since ___.\n 2. Dr. ___ was called at 10:30.\n"
    )
    assert extract_sections(report) == {
        "findings": "1. Tube 3.5 cm above the carina. 2. ___ line: unchanged.",
        "impression": "1. No change since ___. 2. Dr. ___ was called at 10:30.",
    }


def test_the_impression_ends_at_recommendation_and_notification() -> None:
    report = " IMPRESSION: New nodule.\n \n RECOMMENDATION(S):  CT.\n \n NOTIFICATION:  Told by phone.\n"
    assert extract_sections(report) == {
        "impression": "New nodule.",
        "recommendation": "CT.",
        "notification": "Told by phone.",
    }


def test_findings_and_impression_in_one_is_the_impression() -> None:
    report = " FINDINGS: Clear.\n IMPRESSION: Old.\n FINDINGS AND IMPRESSION: Mild edema.\n"
    assert extract_sections(report) == {"findings": "Clear.", "impression": "Mild edema."}


def test_no_header_at_all() -> None:
    assert extract_sections(" FINAL REPORT\n Lungs are clear.\n") == {"preamble": "FINAL REPORT Lungs are clear."}
    assert extract_sections(" FINAL REPORT\n\n Lungs are clear.\n\n No edema.\n") == {
        "preamble": "FINAL REPORT",
        "last_paragraph": "Lungs are clear. No edema.",
    }


def test_the_last_paragraph_is_that_of_the_last_section_with_text() -> None:
    report = " HISTORY: Cough.\n\n Old.\n COMPARISON: None.\n\n Lungs are clear.\n TECHNIQUE:\n\n"
    sections = extract_sections(report)
    assert sections["last_paragraph"] == "Lungs are clear."
    assert sections["history"] == "Cough. Old."  # only the last one is divided
    assert "technique" not in sections


def test_findings_or_impression_without_text_is_as_if_it_were_missing() -> None:
    report = " HISTORY: Cough.\n\n Lungs are clear.\n IMPRESSION:\n \n"
    assert extract_sections(report) == {"history": "Cough.", "last_paragraph": "Lungs are clear."}


def test_a_long_line_of_capitals_takes_no_time() -> None:
    words = "A B" * 100_000
    assert extract_sections(f"x\n{words}\n{words}: y") == {"preamble": f"x {words}", words.lower(): "y"}


_LINES = st.sampled_from(
    [
        *(
            " FINDINGS:",
            "IMPRESSION: ",
            " IMPRESSSION:",
            " FINDINGS AND IMPRESSION: x",
            " CHEST, TWO VIEWS:",
            "Findings:",
        ),
        *(
            " RECOMMENDATION(S): b",
            " WET READ:",
            " (A",
            " A):",
            " 1. Clear.",
            " ___",
            "a: b",
            "AP: 3 cm",
            "",
            " ",
            "\t",
        ),
    ]
)
_REPORTS = st.lists(
    _LINES | st.text(st.sampled_from("AF():,/-._1\x0b\x0c\x85\u2028 \tb") | st.characters(), max_size=20)
)
_BREAKS = st.sampled_from(["\n", "\r\n", "\r", " ", "\n\n"])


@given(_REPORTS, _BREAKS)
@settings(max_examples=300)
def test_nothing_is_invented(lines: list[str], line_break: str) -> None:
    report = line_break.join(lines)
    words = report.split()
    sections = extract_sections(report)
    assert all(name and text and text == " ".join(text.split()) for name, text in sections.items())
    assert all(_is_run(text.split(), words) for text in sections.values())
    assert sum(len(text.split()) for text in sections.values()) <= len(words)


@given(_REPORTS)
@settings(max_examples=300)
def test_last_paragraph_only_where_findings_and_impression_are_missing(lines: list[str]) -> None:
    sections = extract_sections("\n".join(lines))
    assert "last_paragraph" not in sections or not {"findings", "impression"} & sections.keys()


@given(_REPORTS)
def test_line_breaks_of_any_kind_are_the_same(lines: list[str]) -> None:
    plain = [line.replace("\n", " ").replace("\r", " ") for line in lines]
    assert extract_sections("\r\n".join(plain)) == extract_sections("\n".join(plain))
    assert extract_sections("\r".join(plain)) == extract_sections("\n".join(plain))


def _is_run(part: list[str], words: list[str]) -> bool:
    """Whether the words of a part stand in the report one after the other."""
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))
