"""The answers that a network chooses among."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from bundle.data.answer_words import normalise_answer
from bundle.data.datalist_form import SPLITS
from bundle.data.errors import DataError
from bundle.data.listed_questions import listed_questions

__all__ = ["AnswerVocabulary", "VocabularyMode", "build_vocabulary"]

VocabularyMode = Literal["training", "training_validation", "m3ae"]

_READ = {"training": ("training",), "training_validation": ("training", "validation"), "m3ae": tuple(SPLITS)}
_MAY_LACK = {"m3ae": ("validation",)}  # the published VQA-RAD has none of its own


class AnswerVocabulary:
    """Distinct normalised answers, sorted; an answer's number is its place.

    Args:
        answers: in any order and form, also repeated; one or more.
        mode: which splits they come from.

    Attributes:
        answers: the normalised answers, by number.
        mode: which splits they come from.

    Raises:
        DataError: there is no answer.

    Example:
        >>> vocabulary = AnswerVocabulary(["Yes", "no", "The left lung"])
        >>> vocabulary.answers, vocabulary.number("yes."), vocabulary.number("maybe")
        (('left lung', 'no', 'yes'), 2, -1)
    """

    def __init__(self, answers: Sequence[str], mode: VocabularyMode = "training") -> None:
        self.answers = tuple(sorted({normalise_answer(answer) for answer in answers}))
        self.mode = mode
        if not self.answers:
            raise DataError("a vocabulary needs one answer or more; check that the list's questions have answers")
        self._numbers = {answer: number for number, answer in enumerate(self.answers)}

    def __len__(self) -> int:
        return len(self.answers)

    def number(self, answer: str) -> int:
        """The number of an answer in any form, -1 where it is not in the vocabulary."""
        return self._numbers.get(normalise_answer(answer), -1)

    @property
    def identity(self) -> dict[str, Any]:
        """What a network's card keeps of its vocabulary: `mode`, `count` and `sha256` of the answers in their order."""
        content = json.dumps(self.answers).encode()
        return {"mode": self.mode, "count": len(self), "sha256": hashlib.sha256(content).hexdigest()}

    def check_card(self, card: Mapping[str, Any], source: str | os.PathLike[str]) -> None:
        """Refuse weights whose outputs mean other answers.

        Args:
            card: of the weights; its `answers` is the `identity` of the vocabulary that they were trained with.
            source: the weights' file, for the message.

        Raises:
            DataError: the card names no vocabulary, or one of another size, or other answers.
        """
        known = card.get("answers")
        if not isinstance(known, Mapping) or "count" not in known or "sha256" not in known:
            raise DataError(f"{source}: its card names no vocabulary of answers; give weights of a run on questions")
        if known["count"] != len(self):
            raise DataError(
                f"{source}: the weights choose among {known['count']} answers, this vocabulary has {len(self)}; take "
                "the vocabulary file that lies beside the weights"
            )
        if known["sha256"] != self.identity["sha256"]:
            raise DataError(
                f"{source}: the weights choose among {len(self)} other answers than those of this vocabulary; take the "
                "vocabulary file that lies beside the weights"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary as JSON, whole or not at all; its folder is made."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            content = self.identity | {"answers": self.answers}
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AnswerVocabulary:
        """Read what `save` wrote.

        Raises:
            DataError: the file can't be read, is no vocabulary, or was changed.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            loaded = cls(content["answers"], content["mode"])
        except OSError as error:
            raise DataError(f"{path}: the vocabulary can't be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: this is no vocabulary of answers; make it anew from the data list") from error
        if content != loaded.identity | {"answers": list(loaded.answers)}:
            raise DataError(f"{path}: the vocabulary was changed since it was written; make it anew from the data list")
        return loaded


def build_vocabulary(path: str | os.PathLike[str], mode: VocabularyMode = "training") -> AnswerVocabulary:
    """All distinct answers of some splits of a data list.

    Args:
        path: the data list.
        mode: "training", or "training_validation" with the answers of the validation list; "m3ae" also with those of
            the test list, which a network should not know of: for comparison with M3AE's published figures alone.

    Returns:
        The vocabulary.

    Raises:
        DataError: there is no such mode, the list can't be used, or lacks a split that the mode reads (but "m3ae" does
            without a validation list).

    Example:
        >>> build_vocabulary("lists/vqa_rad/datalist.json").identity["count"]  # doctest: +SKIP
        461
    """
    if mode not in get_args(VocabularyMode):
        raise DataError(f"a vocabulary's mode is one of {', '.join(get_args(VocabularyMode))}, not {mode!r}")
    questions = listed_questions(path)
    if missing := [name for name in _READ[mode] if name not in (*questions, *_MAY_LACK.get(mode, ()))]:
        raise DataError(f"{path}: the vocabulary mode '{mode}' reads the split '{missing[0]}', which the list lacks")
    read = [question for name in _READ[mode] for question in questions.get(name, [])]
    return AnswerVocabulary([answer for question in read for answer in question.answers], mode)
