"""Sheets of radiographs with marks of truth and prediction over them, and a caption that explains the marks."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from monai.engines import Workflow
from torch import Tensor

from .atomic import replacing
from .sheets import Place, Sheets

__all__ = ["STYLES", "Kind", "OverlaySheets", "colour_of", "radiograph_of"]

Kind = Literal["truth", "prediction"]

STYLES: dict[Kind, Literal["solid", "dashed"]] = {"truth": "solid", "prediction": "dashed"}
"""How lines are drawn."""

_COLOURS: dict[Kind, tuple[str, ...]] = {  # bright ones: they lie over every grey
    "truth": ("lawngreen", "cyan", "violet", "white"),
    "prediction": ("red", "orange", "magenta", "yellow"),
}
_COLUMNS = 4
_INCHES = 3.0  # side of one picture


class _HasRadiograph(Protocol):
    @property
    def radiograph(self) -> np.ndarray:
        """`[S, S]` in [0, 1]."""
        ...


OverlayT = TypeVar("OverlayT", bound=_HasRadiograph)


class OverlaySheets(Sheets[OverlayT], Generic[OverlayT]):
    """Draw a grid of radiographs with marks over them; items that have something to find come first.

    Args:
        folder: where the sheets `epoch_0003.png` go; it is made.
        count: number of radiographs.
        classes: names of the classes for the caption; without them it gives their numbers.
    """

    def __init__(self, folder: str | Path, count: int = 8, classes: Sequence[str] = ()) -> None:
        super().__init__(folder, count)
        self.classes = list(classes)
        self._seen = 0

    def _clear(self, engine: Workflow) -> None:
        super()._clear(engine)
        self._seen = 0

    def places(self, engine: Workflow) -> list[Place]:
        """Items with something to find in the order of the list, then the others."""
        target = engine.state.output["label"]
        found = self.has_truth(target).tolist()
        # Lists of MONAI's own tools do not number their items.
        numbers = target["index"].tolist() if "index" in target else range(self._seen, self._seen + len(found))
        self._seen += len(found)
        return [(not there, int(number)) for there, number in zip(found, numbers, strict=True)]

    @abstractmethod
    def has_truth(self, target: Mapping[str, Tensor]) -> Tensor:
        """Whether there is something to find, `[B]` bool."""

    @abstractmethod
    def mark(self, axis: Axes, picture: OverlayT) -> None:
        """Draw the marks of one picture."""

    @abstractmethod
    def class_numbers(self, picture: OverlayT) -> Iterable[int]:
        """The classes that marks of a picture may be of."""

    def draw(self, pictures: Mapping[int, OverlayT], path: Path) -> None:
        """Draw a grid of radiographs and, below it, what the lines mean."""
        columns = min(_COLUMNS, len(pictures))
        rows = math.ceil(len(pictures) / columns)
        figure = Figure(figsize=(columns * _INCHES, rows * (_INCHES + 0.25) + 0.4), layout="compressed")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axis in grid.flat:
            axis.axis("off")
        for axis, (number, picture) in zip(grid.flat, pictures.items(), strict=False):
            axis.imshow(picture.radiograph, cmap="gray", vmin=0, vmax=1)
            axis.set_title(f"row {number}", fontsize="small")
            self.mark(axis, picture)
        classes = sorted({number for picture in pictures.values() for number in self.class_numbers(picture)})
        lines = [self._line(number, kind) for number in classes for kind in STYLES]
        if lines:
            figure.legend(handles=lines, loc="outside lower center", ncols=min(columns, 4), fontsize="small")
        with replacing(path) as partial:
            figure.savefig(partial, dpi=100)

    def _line(self, number: int, kind: Kind) -> Line2D:
        """Entry of the caption."""
        name = self.classes[number] if number < len(self.classes) else f"class {number}"
        return Line2D([], [], color=colour_of(number, kind), linestyle=STYLES[kind], label=f"{name}: {kind}")


def colour_of(number: int, kind: Kind) -> str:
    """The colour of a class: cold for truth, warm for a prediction. Those of a fifth class are those of the first."""
    return _COLOURS[kind][number % len(_COLOURS[kind])]


def radiograph_of(image: Tensor) -> np.ndarray:
    """An image as the network takes it, `[1, S, S]`, as `[S, S]` on the host: its darkest pixel 0, its brightest 1."""
    pixels = image[0].float().cpu().numpy()
    return (pixels - pixels.min()) / max(pixels.max() - pixels.min(), 1e-12)
