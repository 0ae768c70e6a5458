"""Shapes as Object-CXR annotates foreign objects: rectangles, ellipses and polygons in one text."""

from __future__ import annotations

import math

from bundle.data.errors import DataError

__all__ = ["shape_bounds"]

_CORNERS = {"0": "rectangle", "1": "ellipse"}
_POLYGON = "2"


def shape_bounds(annotation: str) -> list[list[float]]:
    """The bounds of shapes.

    Args:
        annotation: shapes with `;` between them: `0 x1 y1 x2 y2` a rectangle, `1 x1 y1 x2 y2` an ellipse by the corners
            of its bounds, `2 x1 y1 ... xn yn` a polygon; in pixels.

    Returns:
        [x1, y1, x2, y2] of each shape.

    Raises:
        DataError: a shape is of another kind or has another number of coordinates.

    Example:
        >>> shape_bounds("0 1 2 3 4;2 5 9 7 5 6 8")
        [[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 7.0, 9.0]]
    """
    return [_bounds(shape) for shape in annotation.split(";") if shape.strip()]


def _bounds(shape: str) -> list[float]:
    kind, *texts = shape.split()
    numbers = [_number(text, shape) for text in texts]
    if kind in _CORNERS and len(numbers) == 4:
        return numbers
    if kind == _POLYGON and len(numbers) >= 6 and len(numbers) % 2 == 0:
        x, y = numbers[::2], numbers[1::2]
        return [min(x), min(y), max(x), max(y)]
    raise DataError(
        f"its shape '{shape.strip()[:40]}' is none of 0 (rectangle) or 1 (ellipse) with 4 numbers and 2 (polygon) with "
        "6 or more, an even number"
    )


def _number(text: str, shape: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"its shape '{shape.strip()[:40]}' has '{text}' where a number must be")
    return number
