"""A sheet of radiographs of a data list with their masks and boxes over them, for the eye to find what no rule does."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from bundle.data.errors import DataError
from bundle.data.mask_reader import read_mask, split_classes
from bundle.data.radiograph_reader import read_radiograph
from bundle.handlers.atomic import replacing
from bundle.handlers.sheets import draw_outline
from bundle.transforms.annotation_masks import rle_to_mask
from scripts.checking.files import root_of, whole_mask_classes
from scripts.checking.places import each_place
from scripts.preparing.item_files import item_files

__all__ = ["draw_sheet"]

_COLUMNS = 4
_INCHES = 3.2  # side of one picture
_PIXELS = 512  # longer side of one picture; more than is printed
_ANNOTATED = 0.75  # share of the pictures that show something, where there are so many
_LETTERS = 44  # of a line below a picture
_LINES = 3
_FILL = 0.18
_COLOURS = ("lawngreen", "cyan", "orange", "violet", "yellow", "tomato", "dodgerblue", "white", "lime", "hotpink")


class _Tile(NamedTuple):
    """What is drawn of an item, in pixels of the reduced picture."""

    pixels: np.ndarray
    masks: list[tuple[str, np.ndarray]]
    boxes: list[tuple[str, list[float]]]


def draw_sheet(datalist: Mapping[str, Any], source: Path, path: Path, count: int = 16, seed: int = 0) -> None:
    """Draw images of a list, three of four with a mask or box where there are so many, and write them as PNG.

    Pictures are named by their place in the list; below stand the view and the classes that are positive.

    Args:
        datalist: a list of usable form, labels and boxes.
        source: its file.
        path: the PNG file.
        count: number of images.
        seed: of the draw.
    """
    chosen = _chosen(datalist, count, seed)
    columns = min(_COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(columns * _INCHES, rows * (_INCHES + 0.5) + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axis in grid.flat:
        axis.axis("off")
    root, names = root_of(datalist, source), _class_names(datalist)
    shown: set[str] = set()
    for axis, (place, item) in zip(grid.flat, chosen, strict=False):
        axis.set_title(f"{place}{', ' + item['view'] if 'view' in item else ''}", fontsize="small")
        axis.text(0.5, -0.02, _caption(item, datalist), transform=axis.transAxes, ha="center", va="top", fontsize=7)
        shown |= _draw_item(axis, item, datalist, root, names)
    entries = [Patch(color=_colour(name, names), label=name) for name in names if name in shown]
    if entries:
        style: dict[str, Any] = {"fontsize": "small", "facecolor": "0.3", "labelcolor": "white"}
        figure.legend(handles=entries, loc="outside lower center", ncols=min(5, columns + 1), **style)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)


def _draw_item(
    axis: Axes, item: Mapping[str, Any], datalist: Mapping[str, Any], root: Path, names: Sequence[str]
) -> set[str]:
    """Draw one picture; the names of what is marked on it."""
    try:
        tile = _tile(item, datalist, root)
    except DataError:
        axis.text(0.5, 0.5, "can't be read", transform=axis.transAxes, ha="center")
        return set()
    _draw(axis, tile, names)
    return {name for name, _ in (*tile.masks, *tile.boxes)}


def _chosen(datalist: Mapping[str, Any], count: int, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """Different images in the order of the list."""
    items = list({item["image"]: item for _, item in each_place(datalist)}.values())
    # Not in the order of `in_drawn_order`, whose first items are a split of their own where images were split with it.
    drawn = [items[position] for position in np.random.default_rng(seed).permutation(len(items))]
    annotated = [item for item in drawn if _is_annotated(item)][: math.ceil(_ANNOTATED * count)]
    taken = {item["id"] for item in annotated}
    others = [item for item in drawn if item["id"] not in taken][: count - len(annotated)]
    chosen = {item["id"] for item in (*annotated, *others)}
    return [(place, item) for place, item in each_place(datalist) if item["id"] in chosen]


def _is_annotated(item: Mapping[str, Any]) -> bool:
    return bool(item.get("boxes") or item.get("rle") or any(file.key != "image" for file in item_files(item)))


def _class_names(datalist: Mapping[str, Any]) -> list[str]:
    """Every name that a mask or box may have; its position gives its colour."""
    headers = (datalist.get(key, []) for key in ("classes", "box_classes", "mask_classes"))
    named = (file.name for _, item in each_place(datalist) for file in item_files(item) if file.name)
    return list(dict.fromkeys(chain(*headers, named, ("mask", "box"))))


def _caption(item: Mapping[str, Any], datalist: Mapping[str, Any]) -> str:
    label, classes = item.get("label"), datalist.get("classes", [])
    if label is None:
        return ""
    names = (
        [classes[label]]
        if isinstance(label, int)
        else [name for name, value in zip(classes, label, strict=True) if value == 1]
    )
    lines = textwrap.wrap(", ".join(names) or "none positive", _LETTERS)
    return "\n".join([*lines[: _LINES - 1], "..."] if len(lines) > _LINES else lines)


def _tile(item: Mapping[str, Any], datalist: Mapping[str, Any], root: Path) -> _Tile:
    radiograph = read_radiograph(root / item["image"], draft=_PIXELS)
    height, width = radiograph.size
    scale = min(1.0, _PIXELS / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    pixels = cv2.resize(radiograph.pixels, size, interpolation=cv2.INTER_AREA)
    masks = [(name, cv2.resize(mask.astype(np.float32), size)) for name, mask in _masks(item, datalist, root)]
    across, down = size[0] / width, size[1] / height
    boxes = [
        (name, [left * across, top * down, right * across, bottom * down])
        for name, (left, top, right, bottom) in zip(_box_names(item, datalist), item.get("boxes", ()), strict=True)
    ]
    return _Tile(pixels, masks, boxes)


def _masks(item: Mapping[str, Any], datalist: Mapping[str, Any], root: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The masks by class where there are such, else the one mask, else run lengths; float or bool [H, W]."""
    files = [file for file in item_files(item) if file.key != "image"]
    named = [file for file in files if file.name]
    classes = whole_mask_classes(datalist)
    for file in named or files:
        values = read_mask(root / file.path)
        if file.name:
            yield file.name, values > 0
        else:
            yield from zip(classes, split_classes(values, classes, file.path), strict=True)
    if "rle" in item and not files:
        height, width = item["size"]
        yield classes[0] if len(classes) == 1 else "mask", rle_to_mask(item["rle"], (height, width))


def _box_names(item: Mapping[str, Any], datalist: Mapping[str, Any]) -> list[str]:
    classes = datalist.get("box_classes") or datalist.get("classes") or ["box"]
    labels = item.get("box_label") or [item.get("phrase_class", 0)] * len(item.get("boxes", ()))
    return [classes[label] for label in labels]


def _draw(axis: Axes, tile: _Tile, names: Sequence[str]) -> None:
    axis.imshow(tile.pixels, cmap="gray")
    for name, mask in tile.masks:
        colour = _colour(name, names)
        axis.imshow(np.where(mask[..., None] > 0.5, to_rgba(colour, _FILL), 0.0))
        draw_outline(axis, mask, colour)
    for name, (left, top, right, bottom) in tile.boxes:
        corner = (left - 0.5, top - 0.5)  # a pixel's centre is at its whole number
        colour = _colour(name, names)
        axis.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.2))
        _write(axis, name, colour, (left, top, right), tile.pixels.shape[1])


def _write(axis: Axes, name: str, colour: str, edges: tuple[float, float, float], width: int) -> None:
    """Write the name of a box into its upper corner that is farther from the picture's side."""
    left, top, right = edges
    at_left = left + right < width
    place: dict[str, Any] = {"xytext": (2 if at_left else -2, -2), "ha": "left" if at_left else "right", "va": "top"}
    text = axis.annotate(name, (left if at_left else right, top), textcoords="offset points", fontsize=7, **place)
    text.set_color(colour)
    text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def _colour(name: str, names: Sequence[str]) -> str:
    return _COLOURS[names.index(name) % len(_COLOURS)]
