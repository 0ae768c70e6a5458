"""How many items, images, patients and boxes a data list has, and whether that is what its source says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any

from bundle.data.datalist_form import SPLITS, each_item

__all__ = ["Published", "compare_published", "count_all", "count_split"]


@dataclass(frozen=True)
class Published:
    """One count of the header's `published` against the list.

    Attributes:
        key: `items`, `images`, `patients`, `boxes` or a split.
        published: what the source says.
        found: what the list has.
        filters: reasons of the header's `filters` whose counts add up to what is missing; none where they don't.
    """

    key: str
    published: int
    found: int
    filters: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the list has as many as published, or as many fewer as filters left out."""
        return self.found == self.published or bool(self.filters)

    def line(self) -> str:
        """The comparison for a person to read, such as `items: 8 of 10 published (too dark)`."""
        if self.found == self.published:
            return f"{self.key}: {self.found:,} as published"
        reasons = f", which the list's filters explain: {'; '.join(self.filters)}" if self.filters else ""
        difference = self.found - self.published
        return f"{self.key}: {self.found:,}, but {self.published:,} published ({difference:+,}{reasons})"


def count_split(datalist: Mapping[str, Any], split: str) -> dict[str, int]:
    """Items, different images, different patients, boxes, and items without a patient of one split."""
    return _counts(list(datalist.get(split, ())))


def count_all(datalist: Mapping[str, Any]) -> dict[str, int]:
    """The same counts over all splits, and the items of each split under its name."""
    return {**_counts(list(each_item(datalist))), **{split: len(datalist.get(split, ())) for split in SPLITS}}


def compare_published(datalist: Mapping[str, Any]) -> list[Published]:
    """Compare a list with the header's `published`.

    A difference is explained where it is what some of the header's `filters` left out together. For splits their sum
    may be, since filters count the whole list.

    Args:
        datalist: a list of usable form.

    Returns:
        One comparison for each known key of `published`; none without it, or where the list was made with a `limit`.
    """
    published = datalist.get("published")
    if not isinstance(published, Mapping) or "limit" in datalist:
        return []
    found, filters = count_all(datalist), datalist.get("filters", {})
    splits = [split for split in SPLITS if split in published]
    reasons = {
        key: _explanation(published[key] - found[key], filters)
        for key in published
        if key in found and key not in SPLITS
    }
    fewer = [published[split] - found[split] for split in splits]
    together = _explanation(sum(fewer), filters) if min(fewer, default=-1) >= 0 else ()
    reasons |= dict.fromkeys(splits, together)
    return [
        Published(key, published[key], found[key], reasons[key] if found[key] < published[key] else ())
        for key in found
        if key in published
    ]


def _counts(items: list[Mapping[str, Any]]) -> dict[str, int]:
    return {
        "items": len(items),
        "images": len({item["image"] for item in items}),
        "patients": len({item["patient"] for item in items if "patient" in item}),
        "boxes": sum(len(item["boxes"]) for item in items if isinstance(item.get("boxes"), list)),
        "without patient": sum("patient" not in item for item in items),
    }


def _explanation(missing: int, filters: Mapping[str, int]) -> tuple[str, ...]:
    """The fewest filters that left out exactly as many; none where there are no such."""
    chosen = chain.from_iterable(combinations(filters, count) for count in range(1, len(filters) + 1))
    return next((some for some in chosen if sum(filters[reason] for reason in some) == missing > 0), ())
