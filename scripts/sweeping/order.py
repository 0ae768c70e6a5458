"""Names that refer to each other: which comes first, and which nothing asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from scripts.sweeping.errors import SweepError

__all__ = ["asked_for", "in_order"]

References = Mapping[str, Collection[str]]


def in_order(references: References, where: str) -> list[str]:
    """Each name behind those that it refers to, otherwise as given.

    Args:
        references: by name, all names that it refers to; those that are no keys are passed over.
        where: what has these names, for messages.

    Raises:
        SweepError: when names refer to each other in a circle.

    Example:
        >>> in_order({"probe": ["pretrain", "seed"], "pretrain": []}, "a sweep")
        ['pretrain', 'probe']
    """
    ordered: dict[str, None] = {}

    def place(name: str, asking: tuple[str, ...]) -> None:
        if name in asking:
            raise SweepError(f"{where}: {' -> '.join([*asking, name])} refer to each other in a circle")
        for other in references:
            if other in references[name]:
                place(other, (*asking, name))
        ordered.setdefault(name)

    for name in references:
        place(name, ())
    return list(ordered)


def asked_for(roots: Iterable[str], references: References) -> set[str]:
    """The roots and all that they refer to, directly or through others.

    Example:
        >>> sorted(asked_for(["probe"], {"probe": ["pretrain", "seed"], "pretrain": [], "labels": ["pretrain"]}))
        ['pretrain', 'probe']
    """
    found: set[str] = set()
    waiting = set(roots)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= references.keys() & set(references[name]) - found
    return found
