"""What is asked of a radiograph in words."""

from __future__ import annotations

from dataclasses import dataclass

from bundle.data.errors import DataError

__all__ = ["Phrase"]


@dataclass(frozen=True)
class Phrase:
    """One question to an image: sentences that all say it, and sentences that deny it.

    Attributes:
        texts: at least one sentence; several are averaged where they are embedded.
        negatives: sentences for the absence of the same, for maps of a contrast.

    Raises:
        DataError: there is no sentence, or one is empty.

    Example:
        >>> Phrase(("There is a left pleural effusion.",), ("No pleural effusion.",))
    """

    texts: tuple[str, ...]
    negatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what can't be asked."""
        if not self.texts or not all(text.strip() for text in (*self.texts, *self.negatives)):
            raise DataError("a phrase is empty: write what to look for, such as 'There is a left pleural effusion.'")
