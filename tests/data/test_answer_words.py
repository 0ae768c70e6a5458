"""The form in which answers are compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.answer_words import normalise_answer


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("Yes", "yes"),
        ("  The  left\nlung. ", "left lung"),
        ("In an upper lobe", "in upper lobe"),
        ("Two nodules", "2 nodules"),
        ("none", "0"),
        ("Ten", "10"),
        ("3.4 cm", "3.4 cm"),
        ("1,000 ml", "1000 ml"),
        ("T2-weighted", "t2 weighted"),
        ("jaundice,weight loss?", "jaundice weight loss"),
        ("X-ray (PA)", "x ray pa"),
        ("the patient's left", "patient's left"),
        ("It isnt, they dont", "it isn't they don't"),
        ("youre sure its well", "you're sure its well"),  # "its" and "well" are words of their own
        ("A", "a"),
        ("?", "?"),
        ("肺", "肺"),
    ],
)
def test_hand_computed(written: str, normalised: str) -> None:
    assert normalise_answer(written) == normalised


PIECES = ("a", "the", "one,", ".", "1", "?", "-", "dont", "o.ne", ",5", ".5", "’s", "t.he")


@given(st.text(max_size=30) | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_answer(text)
    assert normalise_answer(once) == once
    assert bool(once) == bool(text.strip())
