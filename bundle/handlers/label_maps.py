"""Label maps written as they are made, one image after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ignite.engine import Engine, Events

from .atomic import replacing

__all__ = ["Failures", "LabelMaps", "MapFiles"]

logger = logging.getLogger(__name__)

MapFiles = Callable[
    [Path, np.ndarray, np.ndarray | None, tuple[float, float] | None],
    Mapping[str, bytes],
]
"""A file format: from image file, label map, probabilities and spacing to contents by the ending of their names."""


class Failures(Protocol):
    """What takes note of files that can't be used."""

    def of(self, path: str) -> AbstractContextManager[None]:
        """A block that ends where the file can't be used."""


class LabelMaps:
    """Write the label map of every image when an evaluator has made it, and count them.

    For the image named `ward/chest.dcm` the files are `FOLDER/ward/chest.dcm.seg.png` and the like. Each is complete or
    not there.

    Args:
        folder: where to write.
        files: the format: `bundle.data.label_map_files` or `bundle.data.dicom_seg`.
        failures: takes note of images whose label map can't be written.

    The evaluator decollates; its items hold `image_path`, `image_spacing` and `name`, its outputs `pred` (the label
    map in the axes of image files, as `FileAxesd` leaves it) and maybe `pred_probabilities`.
    """

    def __init__(self, folder: str | Path, files: MapFiles, failures: Failures) -> None:
        self.folder = Path(folder)
        self.files = files
        self.failures = failures
        self.written = 0

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write_batch)
        engine.add_event_handler(Events.COMPLETED, self._tell)

    def _begin(self, engine: Engine) -> None:
        self.written = 0

    def _write_batch(self, engine: Engine) -> None:
        state: Any = engine.state
        for item, output in zip(state.batch, state.output, strict=True):
            with self.failures.of(item["image_path"]):
                self._write({**item, **output})

    def _write(self, item: Mapping[str, Any]) -> None:
        in_file_axes = np.asarray(item["pred"])
        upright = in_file_axes.reshape(in_file_axes.shape[:2]).T
        source, spacing = Path(item["image_path"]), tuple(float(side) for side in item["image_spacing"])
        known = None if np.isnan(spacing).any() else (spacing[0], spacing[1])
        for ending, content in self.files(source, upright, item.get("pred_probabilities"), known).items():
            with replacing(self.folder / f"{item['name']}{ending}") as partial:
                partial.write_bytes(content)
        self.written += 1

    def _tell(self, engine: Engine) -> None:
        logger.info("%d label maps written to %s", self.written, self.folder)
