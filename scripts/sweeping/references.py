"""Names in braces, such as `{store}` or `{seed}`, in the values of a sweep file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["names_in", "put_in"]

_REFERENCE = re.compile(r"\{([A-Za-z0-9][A-Za-z0-9_.-]*)\}")


def names_in(value: Any) -> set[str]:
    """Names that a value takes in braces, at any depth of lists and mappings.

    Example:
        >>> sorted(names_in({"start": "{pretrain}/models/encoder.safetensors", "seeds": ["{seed}"]}))
        ['pretrain', 'seed']
    """
    if isinstance(value, str):
        return set(_REFERENCE.findall(value))
    if isinstance(value, Mapping):
        return set().union(*map(names_in, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(names_in, value))
    return set()


def put_in(value: Any, known: Mapping[str, Any]) -> Any:
    """Replace names in braces.

    Args:
        value: text, list or mapping at any depth; other values stay as they are.
        known: what stands for each name. A text that is one reference and nothing else becomes the value itself, with
            its type.

    Example:
        >>> put_in({"seed": "{seed}", "name": "run_{seed}"}, {"seed": 3})
        {'seed': 3, 'name': 'run_3'}
    """
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        return known[whole[1]] if whole else _REFERENCE.sub(lambda found: str(known[found[1]]), value)
    if isinstance(value, Mapping):
        return {key: put_in(inner, known) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [put_in(inner, known) for inner in value]
    return value
