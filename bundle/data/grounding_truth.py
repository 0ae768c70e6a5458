"""Which findings of an image are marked, and how: by masks or by boxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bundle.data.labelled import annotation

__all__ = ["BoxTruth", "MarkedFinding", "MaskTruth", "Truth"]


class MarkedFinding(NamedTuple):
    """One finding of an image.

    Attributes:
        name: its class; None where the list does not say.
        label: where it is: the path of a mask, run lengths or boxes, as `LoadMaskd` reads them.
        number: position in the item's `truth`; None where it has none.
    """

    name: str | None
    label: Any
    number: int | None = None


class Truth(ABC):
    """Reads the marks of items.

    Attributes:
        path_keys: keys of items that hold paths of marks.
        header_keys: keys of the list's header that may name the classes of marks, the first that there is.
        needed: what an item needs, for messages.
    """

    path_keys: tuple[str, ...]
    header_keys: tuple[str, ...]
    needed: str

    @abstractmethod
    def findings(self, item: Mapping[str, Any], classes: Sequence[str]) -> list[MarkedFinding]:
        """What is marked in an item, with a mark that is not empty as far as the list tells.

        Args:
            item: of a data list, paths joined.
            classes: names of the list's classes.
        """


class MaskTruth(Truth):
    """Masks: one a class (a dict of paths by class name), or one of a phrase or of the only class (a path, or `rle`).

    Of an item with `truth` each finding has the mask of its class.

    Args:
        key: the items' key with the path, or the dict of paths.
    """

    def __init__(self, key: str = "mask") -> None:
        self.path_keys = (key,)
        self.header_keys = ("mask_classes", "classes")
        self.needed = f"a mask ('{key}' or 'rle') of a finding"
        self.key = key

    def findings(self, item: Mapping[str, Any], classes: Sequence[str]) -> list[MarkedFinding]:
        """Findings with their masks."""
        found = annotation(item, "segmentation", self.key)
        if not isinstance(found, Mapping) or "rle" in found or "boxes" in found:
            empty = found is None or (isinstance(found, Mapping) and not found.get("rle"))
            return [] if empty else [MarkedFinding(_own_class(item, classes), found)]
        if "truth" in item:
            named = [(number, finding["name"]) for number, finding in enumerate(item["truth"])]
            return [MarkedFinding(name, found[name], number) for number, name in named if name in found]
        return [MarkedFinding(name, path) for name, path in found.items()]


class BoxTruth(Truth):
    """Boxes, half-open: of an item with `truth` one a finding, else the union of a class's or of the phrase's boxes."""

    path_keys = ()
    header_keys = ("box_classes", "classes")
    needed = "'boxes' of a finding"

    def findings(self, item: Mapping[str, Any], classes: Sequence[str]) -> list[MarkedFinding]:
        """Findings with their boxes."""
        boxes = item.get("boxes", [])
        if "truth" in item:
            pairs = enumerate(zip(item["truth"], boxes, strict=True))
            return [MarkedFinding(one["name"], _drawn(item, [box]), number) for number, (one, box) in pairs]
        if "phrase" in item or "box_label" not in item:
            return [MarkedFinding(_own_class(item, classes), _drawn(item, boxes))] if boxes else []
        labels = item["box_label"]
        of_class = {k: [box for box, label in zip(boxes, labels, strict=True) if label == k] for k in sorted({*labels})}
        return [MarkedFinding(classes[k], _drawn(item, some)) for k, some in of_class.items()]


def _own_class(item: Mapping[str, Any], classes: Sequence[str]) -> str | None:
    """The class that an item's only mark is of."""
    if "phrase_class" in item:
        return classes[item["phrase_class"]]
    return classes[0] if len(classes) == 1 else None


def _drawn(item: Mapping[str, Any], boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {"boxes": list(boxes), "size": item.get("size")}
