"""What a sweep cannot go on with."""

from __future__ import annotations

__all__ = ["SweepError"]


class SweepError(ValueError):
    """An unusable sweep file, folder or figure; the message names it and says what to do."""
