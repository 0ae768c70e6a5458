"""The same picture under two names in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.checking.files import root_of
from scripts.checking.places import each_place
from scripts.preparing.same_person import same_images, thumbnails

__all__ = ["pictures_in_two_splits"]


def pictures_in_two_splits(datalist: Mapping[str, Any], source: Path, workers: int) -> dict[str, list[list[str]]]:
    """Find pictures that are in two splits under different names, also resized or compressed anew.

    Reads every image. What is in two splits under one name is not among them: the list's rules find it.

    Args:
        datalist: a list of usable form.
        source: its file.
        workers: threads that decode.

    Returns:
        For every two splits that share a picture, such as "training-test", the places of both items of each pair.
    """
    root = root_of(datalist, source)
    place_of = {item["image"]: place for place, item in reversed(list(each_place(datalist)))}
    found = thumbnails([root / image for image in place_of], workers)
    readable = [
        (place, small)
        for place, small in zip(place_of.values(), found, strict=True)
        if not isinstance(small, DataError)  # what can't be read is reported by the look at the files
    ]
    shared: defaultdict[str, list[list[str]]] = defaultdict(list)
    for one, other in same_images([small.vector for _, small in readable]):
        places = sorted((readable[one][0], readable[other][0]), key=_order)
        splits = [place.partition("[")[0] for place in places]
        if splits[0] != splits[1]:
            shared["-".join(splits)].append(places)
    return {pair: sorted(places) for pair, places in shared.items()}


def _order(place: str) -> int:
    return ("training", "validation", "test").index(place.partition("[")[0])
