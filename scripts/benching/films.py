"""Synthetic radiographs as files: of a detector's size, and as a data list to be packed."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pydicom import dcmread

from bundle.data.datalist import write_datalist
from bundle.data.phantom import draw_phantom
from bundle.data.phantom_files import write_phantom_dicom, write_phantom_png
from scripts.benching.lengths import report_lengths

__all__ = ["write_films", "write_list"]

_DRAWN = 512  # px: phantoms are enlarged to a film, for drawing millions of pixels takes a quarter of a minute
_GRAIN = 2.0  # grey levels of 255; gives a 3056 x 2544 JPEG of quality 95 the 1.7 MB that chest films have
_BORDER = 50  # a film has a black border of one such part of its side
_DISTINCT = 16


def write_films(folder: Path, height: int, width: int, seed: int) -> tuple[Path, Path]:
    """Draws one radiograph of a detector's size.

    Args:
        folder: where the files go.
        height: in pixels.
        width: in pixels.
        seed: of the phantom and its grain.

    Returns:
        A JPEG of quality 95 and an uncompressed 16-bit DICOM.
    """
    phantom = draw_phantom(seed, _DRAWN)
    grey = cv2.resize(phantom.image, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    white = np.random.default_rng(seed).standard_normal((height, width), np.float32)
    grain = cv2.GaussianBlur(white, (0, 0), 0.7)
    grey = np.clip(grey + grain * (_GRAIN / grain.std()), 0, 255)
    top, left = height // _BORDER, width // _BORDER
    film = np.zeros_like(grey)
    film[top : height - top, left : width - left] = grey[top : height - top, left : width - left]
    jpeg, dicom = folder / f"film{seed}.jpg", folder / f"film{seed}.dcm"
    Image.fromarray(np.rint(film).astype(np.uint8)).save(jpeg, quality=95)
    write_phantom_dicom(phantom, dicom, bits=16)
    header = dcmread(dicom)
    header.Rows, header.Columns = film.shape
    header.PixelData = np.rint(film * 257).astype("<u2").tobytes()
    header.save_as(dicom)
    return jpeg, dicom


def write_list(folder: Path, size: int, count: int, seed: int = 0) -> Path:
    """Draws phantoms and lists them over and over, with reports of the lengths that are assumed.

    Args:
        folder: where the files go.
        size: side of the images in pixels.
        count: items of the training list.
        seed: of the lengths.

    Returns:
        The data list.
    """
    phantoms = [draw_phantom(number, size) for number in range(min(count, _DISTINCT))]
    for phantom in phantoms:
        write_phantom_png(phantom, folder / f"{phantom.seed}.png")
    words = " ".join(" ".join(phantom.report.values()) for phantom in phantoms).split()
    lengths = report_lengths(count, np.random.default_rng(seed))
    items: list[dict[str, Any]] = [
        {
            "id": f"pair{number}",
            "image": f"{number % len(phantoms)}.png",
            "patient": f"patient{number}",
            "text": " ".join(islice(cycle(words), number, number + int(length) - 2)),
        }
        for number, length in enumerate(lengths)
    ]
    path = folder / "datalist.json"
    write_datalist(path, {"name": "synthetic", "image_root": ".", "training": items})
    return path
