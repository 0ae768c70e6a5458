"""The rows of a table of labelled radiographs as items of a data list."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from scripts.preparing.coco import CocoBoxes
from scripts.preparing.record import Record
from scripts.preparing.table_rows import TableRow, check_new, relative_path

__all__ = ["LabelledRows"]

Cells = dict[str, str | None]


@dataclass(frozen=True)
class LabelledRows:
    """Makes items of rows: which column holds what, where the files are, and what images and classes there are.

    Attributes:
        source: the table's file, for messages.
        images: folder that image paths are relative to; ids come from these paths.
        masks: folder that mask paths are relative to.
        image: column with the image's path.
        patient: column with the patient.
        mask: column with the mask's path; an empty cell is an image without annotation.
        class_masks: classes that have a mask each, in a folder of `masks` that has the name of the image's file.
        label: column with the name of the one class that a row belongs to.
        labels: columns with 1, 0, -1 (uncertain) or nothing, one a class.
        classes: the classes that `label` may name.
        spacing: columns with the row and the column distance of the original's pixels in mm.
        coco: boxes.
        boxless_is_negative: whether an image without any box is known to show nothing, instead of not annotated.
    """

    source: Path
    images: Path
    masks: Path
    image: str
    patient: str | None = None
    mask: str | None = None
    class_masks: Sequence[str] = ()
    label: str | None = None
    labels: Sequence[str] = ()
    classes: Sequence[str] = ()
    spacing: Sequence[str] = ()
    coco: CocoBoxes | None = None
    boxless_is_negative: bool = False
    _boxed: dict[str, str] = field(default_factory=dict, init=False, repr=False)  # row by its boxes' image

    @property
    def root(self) -> Path:
        """The folder that holds both images and masks, which items are relative to."""
        return Path(os.path.commonpath([self.images, self.masks])) if self.mask or self.class_masks else self.images

    def read(self, table: pd.DataFrame, record: Record) -> Iterator[TableRow]:
        """Turn rows into items.

        Args:
            table: the table.
            record: takes the rows that can't be used (no image or patient, a label or spacing that can't be read, an
                image that occurred before) and counts those without any annotation.

        Yields:
            The usable, annotated rows. What their files hold is not asked.

        Raises:
            DataError: a row can't be used and `record` stops at the first.
        """
        seen: dict[str, str] = {}
        names = self._columns()
        for number, values in enumerate(table[names].itertuples(index=False), start=2):  # row 1 holds the names
            cells = dict(zip(names, values, strict=True))
            where = f"{self.source} row {number} ({cells[self.image] or 'no image'})"
            try:
                row = self._row(where, cells)
                check_new(row, seen)
            except DataError as error:
                record.reject(where, str(error))
                continue
            if row.item.keys() & {"label", "mask", "finding_masks", "boxes"}:
                yield row
            else:
                record.drop("not annotated")

    def _columns(self) -> list[str]:
        single = [name for name in (self.image, self.patient, self.mask, self.label) if name is not None]
        return list(dict.fromkeys([*single, *self.labels, *self.spacing]))

    def _row(self, where: str, cells: Cells) -> TableRow:
        image = relative_path(cells[self.image], self.images, "image", "--images")
        name = os.path.splitext(image)[0]
        item: dict[str, Any] = {"id": name, "image": _from(self.root, self.images, image)}
        if self.patient is not None:
            if cells[self.patient] is None:
                raise DataError("its patient is empty")
            item["patient"] = cells[self.patient]
        if self.spacing and (spacing := self._spacing(cells)):
            item["spacing"] = spacing
        label = self._one_label(cells) if self.label else self._label_a_class(cells)
        item.update({} if label is None else {"label": label})
        if self.mask is not None and cells[self.mask] is not None:
            mask = relative_path(cells[self.mask], self.masks, "mask", "--masks")
            item["mask"] = _from(self.root, self.masks, mask)
        folder = self.masks / os.path.basename(name)
        if self.class_masks and folder.is_dir():
            item["finding_masks"] = {
                label: _from(self.root, folder, file)
                for label in self.class_masks
                if (folder / (file := f"{label.replace(' ', '_')}.png")).is_file()
            }
        item.update(self._boxes(image, where))
        return TableRow(where, item, group=item.get("patient", name))

    def _spacing(self, cells: Cells) -> list[float] | None:
        texts = [cells[name] for name in self.spacing]
        if None in texts:
            return None
        spacing = [_number(text, "spacing") for text in texts]
        if not all(0 < side < math.inf for side in spacing):
            raise DataError(f"its spacing {' x '.join(map(str, texts))} is no distance in mm")
        return spacing

    def _one_label(self, cells: Cells) -> int | None:
        name = cells[str(self.label)]
        if name is None:
            return None
        if name not in self.classes:
            raise DataError(f"its {self.label} '{name}' is none of the classes {', '.join(self.classes)}")
        return self.classes.index(name)

    def _label_a_class(self, cells: Cells) -> list[int | None] | None:
        values = [None if cells[name] is None else _number(cells[name], name) for name in self.labels]
        for name, value in zip(self.labels, values, strict=True):
            if value not in (1, 0, -1, None):
                raise DataError(f"its {name} is {value:g}; a label is 1, 0, -1 (uncertain) or empty")
        known = any(value is not None for value in values)
        return [None if value is None else int(value) for value in values] if known else None

    def _boxes(self, image: str, where: str) -> dict[str, Any]:
        boxed = self.coco.find(image) if self.coco is not None else None
        if boxed is None or not (boxed.boxes or self.boxless_is_negative):
            return {}
        before = self._boxed.setdefault(boxed.name, where)
        if before != where:
            raise DataError(f"its boxes, those of {boxed.name}, are also those of {before}")
        return {"boxes": boxed.boxes, "box_label": boxed.labels, "size": boxed.size}


def _from(root: Path, folder: Path, path: str) -> str:
    return Path(os.path.relpath(folder / path, root)).as_posix()


def _number(text: str | None, what: str) -> float:
    try:
        return float(str(text))
    except ValueError:
        raise DataError(f"its {what} is '{text}', which is no number") from None
