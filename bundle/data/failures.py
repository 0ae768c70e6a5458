"""Files of a run that could not be used: each costs a sentence, and the rest goes on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from bundle.data.errors import DataError

__all__ = ["Failures"]

logger = logging.getLogger(__name__)

_UNUSABLE = (DataError, OSError)


class Failures:
    """Collects what is wrong with files, to be told at the end.

    Example:
        >>> failures = Failures()
        >>> with failures.of("chest.dcm"):
        ...     raise DataError("chest.dcm: no such file")
        >>> failures.check()
        Traceback (most recent call last):
        bundle.data.errors.DataError: 1 file could not be segmented; its reason is in the log above
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    @contextmanager
    def of(self, path: str | os.PathLike[str]) -> Iterator[None]:
        """Ends the block, and nothing more, where the file can't be used; other errors pass."""
        try:
            yield
        except Exception as error:  # MONAI wraps what its transforms raise
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, _UNUSABLE):
                cause = cause.__cause__
            if cause is None:
                raise
            self.reasons[os.fspath(path)] = str(cause)
            logger.error("%s", cause)

    def check(self) -> None:
        """Says how many files failed.

        Raises:
            DataError: if any did.
        """
        if count := len(self.reasons):
            many = f"{count} files could not be segmented; their reasons are"
            one = "1 file could not be segmented; its reason is"
            raise DataError(f"{one if count == 1 else many} in the log above")
