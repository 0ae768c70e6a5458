"""Boxes and outlines from a COCO file, by image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bundle.data.errors import DataError

__all__ = ["BoxedImage", "CocoBoxes"]

_ROUNDING = 1.0
"""By how many pixels a box may leave its image before that is more than rounding."""

_PATIENT_KEYS = ("patient_id", "patient", "subject_id")


@dataclass(frozen=True)
class BoxedImage:
    """An image of the file.

    Attributes:
        name: its `file_name`.
        size: [H, W] that the boxes were drawn on.
        boxes: xyxy in pixels, half-open, of the categories that were chosen.
        labels: for each box the number of its category among those.
        outlines: for each box its `segmentation` as the file has it, None where it has none.
        patient: who it is of, where the file's entry has a `patient_id`, `patient` or `subject_id`.
    """

    name: str
    size: list[int]
    boxes: list[list[float]]
    labels: list[int]
    outlines: list[Any]
    patient: str | None = None


class CocoBoxes:
    """The boxes of a COCO file by image.

    Args:
        path: the JSON file with `images`, `annotations` and `categories`.
        categories: names of the categories to take, in the order that numbers them; None: all, as in the file.

    Attributes:
        classes: names of the categories.

    Raises:
        DataError: the file can't be read or lacks a part, a category isn't in it, two images have one `file_name`, or a
            box is empty or leaves its image by more than a pixel.

    Example:
        >>> CocoBoxes("boxes_coco.json", ["Right Lung", "Left Lung"]).find("images/b343e657.jpg").labels
        [1, 0]
    """

    def __init__(self, path: str | Path, categories: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        content = self._read()
        names = {category["id"]: category["name"] for category in content["categories"]}
        self.classes = list(categories if categories is not None else dict.fromkeys(names.values()))
        for name in self.classes:
            if name not in names.values():
                known = ", ".join(names.values())
                raise DataError(f"{path}: there is no category '{name}'; the categories are {known}")
        number = {key: self.classes.index(name) for key, name in names.items() if name in self.classes}
        self._by_name = self._images(content, number)
        ends = Counter(PurePosixPath(name).name for name in self._by_name)
        self._by_end = {PurePosixPath(name).name: image for name, image in self._by_name.items()}
        self._ambiguous = {end for end, count in ends.items() if count > 1}

    @property
    def images(self) -> list[BoxedImage]:
        """Every image of the file, in its order."""
        return list(self._by_name.values())

    def find(self, image: str) -> BoxedImage | None:
        """The entry of an image: the one with its path, else the one with its file's name.

        Args:
            image: path relative to the images' folder, with forward slashes.

        Returns:
            The entry, or None where the file doesn't know the image.

        Raises:
            DataError: several entries have the file's name and none has the path.
        """
        end = PurePosixPath(image).name
        if image not in self._by_name and end in self._ambiguous:
            raise DataError(f"{self.path} has several images named {end} and none with the path {image}")
        return self._by_name.get(image) or self._by_end.get(end)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{self.path}: can't be read ({error.strerror})") from error
        except ValueError as error:
            raise DataError(f"{self.path}: not valid JSON ({error})") from error
        for part in ("images", "annotations", "categories"):
            if not isinstance(content, dict) or not isinstance(content.get(part), list):
                raise DataError(f"{self.path}: not a COCO file: it has no list '{part}'")
        return content

    def _images(self, content: dict[str, Any], number: dict[int, int]) -> dict[str, BoxedImage]:
        try:
            images = {image["id"]: _without_boxes(image) for image in content["images"]}
            for entry in content["annotations"]:
                if entry["category_id"] in number:
                    image = images[entry["image_id"]]
                    image.boxes.append(self._corners(entry["bbox"], image))
                    image.labels.append(number[entry["category_id"]])
                    image.outlines.append(entry.get("segmentation") or None)
        except (KeyError, TypeError) as error:
            raise DataError(f"{self.path}: an image or annotation lacks or misnames {error}") from error
        by_name = {image.name: image for image in images.values()}
        if len(by_name) < len(content["images"]):
            repeated = _most_common(_posix(image["file_name"]) for image in content["images"])
            raise DataError(f"{self.path}: two images have one id or the name {repeated}")
        return by_name

    def _corners(self, bbox: Sequence[float], image: BoxedImage) -> list[float]:
        """COCO's [x, y, width, height] as corners, moved into the image where only rounding puts them outside."""
        left, top, width, height = bbox
        limits = (image.size[1], image.size[0]) * 2
        corners = [left, top, left + width, top + height]
        moved = [min(max(corner, 0), limit) for corner, limit in zip(corners, limits, strict=True)]
        off = max(abs(corner - there) for corner, there in zip(corners, moved, strict=True))
        if off > _ROUNDING or moved[0] >= moved[2] or moved[1] >= moved[3]:
            raise DataError(
                f"{self.path}: image {image.name}: box {list(bbox)} [x, y, width, height] is empty or leaves the image "
                f"of {image.size[1]} x {image.size[0]} pixels"
            )
        return [round(corner, 3) for corner in moved]


def _without_boxes(entry: dict[str, Any]) -> BoxedImage:
    patient = next((str(entry[key]).strip() for key in _PATIENT_KEYS if entry.get(key) is not None), None)
    return BoxedImage(_posix(entry["file_name"]), [entry["height"], entry["width"]], [], [], [], patient or None)


def _posix(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")))


def _most_common(names: Iterable[str]) -> str:
    return Counter(names).most_common(1)[0][0]
