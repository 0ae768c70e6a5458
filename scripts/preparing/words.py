"""How long the report of an item is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["count_words"]

_WORD = re.compile(r"\w+")


def count_words(item: Mapping[str, Any]) -> int:
    """Words (runs of letters and digits) in an item's `text`, `findings` and `impression`."""
    return sum(len(_WORD.findall(item[key])) for key in ("text", "findings", "impression") if key in item)
