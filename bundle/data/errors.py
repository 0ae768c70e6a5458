"""The one error that every reader and check of input data raises."""

from __future__ import annotations

__all__ = ["DataError"]


class DataError(ValueError):
    """Input that can't be used; its message is one sentence that names the file, the item and the reason."""
