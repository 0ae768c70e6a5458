"""Answers in one form, so that "The left lung." and "left lung" are one answer."""

from __future__ import annotations

import re

__all__ = ["normalise_answer"]

_ARTICLES = ("a", "an", "the")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMBERS = {word: str(number) for number, word in enumerate(_DIGITS)} | {"none": "0", "ten": "10"}

_NEGATED = (
    *("ai", "are", "ca", "could", "did", "does", "do", "had", "has", "have", "is", "might", "must", "need", "should"),
    *("was", "were", "wo", "would"),
)
_SHORTENED = {  # without those that are words of their own, such as its, well and id
    "s": ("he", "here", "how", "let", "she", "that", "there", "what", "when", "where", "who"),
    "re": ("they", "you", "what"),
    "ve": ("could", "i", "might", "must", "should", "they", "we", "would", "you"),
    "d": ("it", "they", "you"),
    "ll": ("it", "that", "they", "you"),
    "m": ("i",),
}
_CONTRACTIONS = {f"{stem}nt": f"{stem}n't" for stem in _NEGATED} | {
    f"{stem}{ending}": f"{stem}'{ending}" for ending, stems in _SHORTENED.items() for stem in stems
}

_THOUSANDS = re.compile(r"(?<=\d),(?=\d)")
_POINTS = re.compile(r"(?<!\d)\.|\.(?!\d)")  # all but those of decimal fractions
_SIGNS = str.maketrans(dict.fromkeys(';/[]"{}()=+\\_-><@`,?!', " "))


def normalise_answer(text: str) -> str:
    """Bring an answer into the form in which answers are compared.

    Lower case; no punctuation, except points and apostrophes within numbers and words; number words as digits ("none"
    is 0); no articles; contractions with their apostrophe; single spaces.

    Reference: the evaluation of VQA v2 (Goyal et al., CVPR 2017), which published results of M3AE and others use. Where
    it removes or spaces a sign by what surrounds the sign elsewhere in the answer, here every sign separates words. On
    VQA-RAD both give 498 answers.

    Args:
        text: the answer as written.

    Returns:
        The normalised answer; the lower-case text where nothing else would be left, as of "A".

    Example:
        >>> normalise_answer("In the left-sided lung, two nodules.")
        'in left sided lung 2 nodules'
    """
    lower = " ".join(text.lower().split())
    bare = _POINTS.sub("", _THOUSANDS.sub("", lower).translate(_SIGNS))
    numbered = [_NUMBERS.get(word, word) for word in bare.split()]
    kept = [_CONTRACTIONS.get(word, word) for word in numbered if word not in _ARTICLES]
    return " ".join(kept) or lower
