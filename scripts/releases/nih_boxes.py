"""The boxes of ChestX-ray14, `BBox_List_2017.csv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError

__all__ = ["FRAME", "BoxesOf", "ImageBoxes", "read_boxes"]

FRAME = [1024, 1024]
"""[H, W] of every image of the release, in which boxes are given."""

_HEADER = ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"]
_ROUNDING = 1.0
"""By how many pixels a box may leave its image before that is more than rounding."""

_OTHER_NAMES = {"Infiltrate": "Infiltration"}


@dataclass
class ImageBoxes:
    """The boxes of one image.

    Attributes:
        boxes: xyxy in pixels of the 1024 frame, half-open.
        labels: for each box the number of its class.
    """

    boxes: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def annotation(self) -> dict[str, Any]:
        """What an item of a data list says of them."""
        return {"boxes": self.boxes, "box_label": self.labels, "size": FRAME}

    def by_class(self) -> dict[int, list[list[float]]]:
        """For the number of each class that has boxes these boxes."""
        pairs = list(zip(self.boxes, self.labels, strict=True))
        return {number: [box for box, label in pairs if label == number] for number in sorted(set(self.labels))}


BoxesOf = dict[str, ImageBoxes]
"""By the name of the image without `.png`."""


def read_boxes(path: Path, classes: Sequence[str]) -> BoxesOf:
    """Read the boxes; each is moved into the image where rounding puts it outside.

    The header has more cells than the rows in some copies, and its bracketed name takes four: `Bbox [x,y,w,h],,,`.

    Args:
        path: the file.
        classes: names of the findings, by which they are numbered.

    Returns:
        The boxes by image.

    Raises:
        DataError: the file can't be read, has other columns, or a row isn't an image, a finding and a box.

    Example:
        >>> read_boxes(Path("BBox_List_2017.csv"), ["Atelectasis"])["00013118_008"].labels  # doctest: +SKIP
        [0]
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the table can't be read ({error})") from error
    if not rows or rows[0][: len(_HEADER)] != _HEADER:
        raise DataError(f"{path}: its columns must be {', '.join(_HEADER)}, not {', '.join(rows[0] if rows else [])}")
    found: BoxesOf = {}
    for line, row in enumerate(rows[1:], start=2):
        try:
            name, finding, corners = row[0], row[1], _corners(row[2:6])
            label = classes.index(_OTHER_NAMES.get(finding, finding))
        except (IndexError, ValueError):
            raise DataError(
                f"{path} line {line}: {','.join(row)} is no image with one of {', '.join(classes)} and a box x,y,w,h "
                "inside the image; if it is the last line, the file was cut off"
            ) from None
        image = found.setdefault(name.removesuffix(".png"), ImageBoxes())
        image.boxes.append(corners)
        image.labels.append(label)
    return found


def _corners(cells: Sequence[str]) -> list[float]:
    x, y, width, height = (float(cell) for cell in cells)
    corners = [x, y, x + width, y + height]
    moved = [min(max(corner, 0), side) for corner, side in zip(corners, FRAME[::-1] * 2, strict=True)]
    off = max(abs(corner - there) for corner, there in zip(corners, moved, strict=True))
    if off > _ROUNDING or not (moved[0] < moved[2] and moved[1] < moved[3]):
        raise ValueError
    return [round(corner, 3) for corner in moved]
