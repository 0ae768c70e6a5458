"""Reports and answers of phantoms say what is on the picture and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from bundle.data import phantom_wording as wording
from bundle.data.phantom import Phantom, draw_phantom
from bundle.data.phantom_findings import CLASSES, SIDES, SIZES, ZONES, Finding, all_findings
from bundle.data.phantom_report import phrase, prompts, write_report

WORDS = {
    "consolidation": r"consolidation|opacity|opacification",
    "pleural effusion": r"effusion|fluid",
    "pneumothorax": r"pneumothorax",
    "nodule": r"nodule",
    "cardiomegaly": r"cardiomegaly|enlarge|increased",
}
DENIAL = r"\b(no|not|without|free of|negative for|neither|absent|unremarkable)\b"


@cache
def phantoms() -> list[Phantom]:
    return [draw_phantom(seed, 64) for seed in range(400)]


def sentences(text: str) -> list[str]:
    return re.findall(r"[^.]+\.", text)


def affirmed(sentence: str) -> list[str]:
    """Classes that a sentence claims to be present."""
    if re.search(DENIAL, sentence.lower()):
        return []
    return [name for name, words in WORDS.items() if re.search(words, sentence.lower())]


def named(sentence: str, choices: tuple[str, ...]) -> list[str]:
    return [word for word in choices if re.search(rf"\b{word}\b", sentence.lower())]


def test_reports_mention_every_finding_with_its_place() -> None:
    for phantom in phantoms():
        for section in ("findings", "impression"):
            said = [sentence for sentence in sentences(phantom.report[section]) if affirmed(sentence)]
            assert len(said) == len(phantom.findings)
            for finding in phantom.findings:
                about = [sentence for sentence in said if affirmed(sentence) == [finding.name]]
                places = [(named(sentence, SIDES), named(sentence, ZONES)) for sentence in about]
                assert ([finding.side] if finding.side else [], [finding.zone] if finding.zone else []) in places


def test_reports_never_affirm_what_is_absent_nor_deny_what_is_present() -> None:
    for phantom in phantoms():
        present = {finding.name for finding in phantom.findings}
        for sentence in sentences(" ".join(phantom.report.values())):
            assert set(affirmed(sentence)) <= present
            if re.search(DENIAL, sentence.lower()):
                denied = {name for name, words in WORDS.items() if re.search(words, sentence.lower())}
                assert not denied & present


def test_reports_call_only_healthy_lungs_clear() -> None:
    seen: Counter[int] = Counter()
    for phantom in phantoms():
        ill = {finding.side for finding in phantom.findings if finding.side}
        for sentence in sentences(phantom.report["findings"]):
            if re.search(r"\bclear\b|lung appears normal", sentence.lower()):
                about = named(sentence, SIDES) or list(SIDES)
                assert not ill & set(about)
                seen[len(about)] += 1
            if "costophrenic angles are sharp" in sentence:
                assert not any(finding.name == "pleural effusion" for finding in phantom.findings)
    assert min(seen[1], seen[2]) > 20


def test_reports_always_state_the_size_of_the_heart() -> None:
    normal = r"normal in size|size is normal|not enlarged|no cardiomegaly|normal cardiac size"
    for phantom in phantoms():
        enlarged = any(finding.name == "cardiomegaly" for finding in phantom.findings)
        assert bool(re.search(normal, phantom.report["findings"].lower())) != enlarged


def test_normal_pictures_have_a_normal_impression() -> None:
    normal = [phantom for phantom in phantoms() if not phantom.findings]
    assert {phantom.report["impression"] for phantom in normal} == set(wording.HEALTHY)


def test_projection_and_inspiration_are_reported_truly() -> None:
    spoken: Counter[str] = Counter()
    for phantom in phantoms():
        for view in ("PA", "AP"):
            if re.search(rf"\b{view}\b", phantom.report["findings"]):
                assert view == phantom.view
                spoken[view] += 1
        lungs = phantom.anatomy["left lung"] | phantom.anatomy["right lung"]
        height = np.ptp(np.argwhere(lungs)[:, 0]) / 64
        if any(sentence in phantom.report["findings"] for sentence in wording.POORLY_INFLATED):
            assert height < 0.66
            spoken["low"] += 1
        if any(sentence in phantom.report["findings"] for sentence in wording.INFLATED):
            assert height > 0.54
            spoken["high"] += 1
    assert min(spoken[key] for key in ("PA", "AP", "low", "high")) > 5


def test_words_vary_but_stay_few() -> None:
    texts = [" ".join(phantom.report.values()) for phantom in phantoms()]
    assert len(set(texts)) > 0.98 * len(texts)
    vocabulary = {word for text in texts for word in re.findall(r"[a-z-]+", text.lower())}
    assert 180 < len(vocabulary) < 400
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) >= 5
    assert max(lengths) < 120
    assert all(text[0].isupper() for report in texts for text in map(str.strip, sentences(report)))
    assert not any("{" in text or "None" in text or "  " in text for text in texts)


@pytest.mark.parametrize("finding", [finding for finding in all_findings() if finding.side == "left"], ids=str)
def test_mirrored_finding_has_the_mirrored_report(finding: Finding) -> None:
    here, there = (
        " ".join(write_report([place], "PA", False, np.random.default_rng(4)).values())
        for place in (finding, finding.mirrored())
    )
    opposite = {"left": "right", "right": "left"}
    assert re.sub("left|right", lambda side: opposite[side[0]], here.lower()) == there.lower()


def test_every_template_reads_well_for_every_finding() -> None:
    for finding in all_findings():
        for size in SIZES:
            for table in (wording.STATED, wording.CONCLUDED):
                for template in table[finding.name]:
                    text = template.format(
                        side=finding.side,
                        zone=finding.zone,
                        size=wording.SIZE_WORDS[finding.name][size],
                        degree=wording.DEGREES[size],
                    )
                    assert affirmed(text) == [finding.name]
                    assert ("{side}" in template, "{zone}" in template) == (bool(finding.side), bool(finding.zone))
                    assert not re.search(r"\ba [aeiou]", text.lower())


def test_phrases_and_prompts_read_like_reports() -> None:
    assert phrase(Finding("pleural effusion", "left")) == "There is a left pleural effusion."
    assert phrase(Finding("nodule", "right", "upper")) == "There is a nodule in the right upper zone."
    assert phrase(Finding("cardiomegaly")) == "There is cardiomegaly."
    asked = prompts()
    assert list(asked) == list(CLASSES)
    assert {name: len(sides["pos"]) for name, sides in asked.items()} == dict(
        zip(CLASSES, (6, 2, 2, 6, 1), strict=True)
    )
    said = {placeless(text) for phantom in phantoms() for text in sentences(phantom.report["findings"])}
    assert {placeless(text) for sides in asked.values() for texts in sides.values() for text in texts} <= said


def placeless(sentence: str) -> str:
    return re.sub("left|right", "SIDE", re.sub("upper|middle|lower", "ZONE", sentence.strip()))


def truth_of(question: str, findings: tuple[Finding, ...]) -> str | None:
    """The answer, worked out from the words of the question; None where it isn't about a finding's presence."""
    match = re.fullmatch(r"Is there a ([a-z ]+) on the (left|right)\?", question)
    if match:
        return "yes" if any((f.name, f.side) == match.groups() for f in findings) else "no"
    if question == "Is this chest radiograph normal?":
        return "no" if findings else "yes"
    words = {**WORDS, "pleural effusion": "pleural effusion|fluid in", "pneumothorax": "pneumothorax|air in"}
    if re.match(r"Is |Does ", question):
        about = [name for name, pattern in words.items() if re.search(pattern, question)]
        assert len(about) == 1, question
        return "yes" if any(f.name == about[0] for f in findings) else "no"
    return None


def test_answers_are_true() -> None:
    open_questions: Counter[str] = Counter()
    for phantom in phantoms():
        for entry in phantom.questions:
            question, answer = entry["question"], entry["answer"]
            expected = truth_of(question, phantom.findings)
            assert entry["answer_type"] == ("OPEN" if expected is None else "CLOSED")
            if expected is not None:
                assert answer == expected, question
                continue
            about = [finding for finding in phantom.findings if finding.name in question]
            kind = re.split(" is| was| the", question)[0]
            open_questions[kind] += 1
            match kind:
                case "Which abnormality":
                    assert [answer] == ([finding.name for finding in phantom.findings] or ["none"])
                case "In which projection":
                    assert answer == phantom.view
                case "On which side":
                    assert [answer] == [finding.side for finding in about]
                case "Where":
                    assert [answer] == [f"{finding.side} {finding.zone} zone" for finding in about]
                case _:
                    assert kind in ("How large", "How severe")
                    assert [answer] == [wording.SIZE_WORDS[finding.name][finding.size] for finding in about]
    assert len(open_questions) == 6


def test_yes_and_no_are_balanced() -> None:
    answers = Counter(
        entry["answer"] for phantom in phantoms() for entry in phantom.questions if entry["answer_type"] == "CLOSED"
    )
    assert set(answers) == {"yes", "no"}
    assert 0.35 < answers["yes"] / answers.total() < 0.65
