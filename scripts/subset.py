"""Draw a small training set: a list like LIST, its training split COUNT items of it, for runs with few labels.

    python -m scripts.subset lists/lungs/datalist.json --out lists/lungs/10.json --count 10 --annotated mask
    python -m scripts.subset phantoms/datalist.json --out phantoms/10.json --count 10 --annotated mask --positive

Validation and test stay as they are. Draws of one seed are nested: those of 10 are among those of 16.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bundle.data.datalist import read_datalist, write_datalist
from bundle.data.errors import DataError
from bundle.data.labelled import Task, annotation
from bundle.data.manifest import sha256_file
from bundle.data.mask_reader import read_mask
from bundle.data.splits import in_drawn_order
from scripts.command import exit_code
from scripts.preparing.options import positive

__all__ = ["main"]

_TASKS: dict[str, Task] = {"mask": "segmentation", "label": "classification", "boxes": "detection"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: what follows `python -m scripts.subset`; the process's own by default.

    Returns:
        Exit code: 0, or 2 when the list can't be used, with one sentence on stderr that says why, or 130 after Ctrl-C.
    """
    args = _parse(arguments)
    return exit_code(lambda: _write(args), interrupted="no list was written")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.subset", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("list", type=Path, metavar="LIST", help="data list (JSON)")
    parser.add_argument("--out", type=Path, required=True, metavar="LIST2", help="list to write")
    parser.add_argument("--count", type=positive, required=True, help="training items to draw")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the draw (default: 0)")
    parser.add_argument(
        "--annotated",
        choices=sorted(_TASKS),
        help="draw only items with this annotation; `mask` is also run lengths, and no boxes, which is an empty mask",
    )
    parser.add_argument("--positive", action="store_true", help="draw only items whose annotation isn't empty")
    args = parser.parse_args(arguments)
    if args.positive and args.annotated is None:
        parser.error("--positive needs --annotated")
    return args


def _write(args: argparse.Namespace) -> None:
    write_datalist(args.out, _drawn(args))
    print(f"wrote {args.out}: {args.count} training items, the other splits as in {args.list}")


def _drawn(args: argparse.Namespace) -> dict[str, Any]:
    """The whole new list."""
    if args.out.exists() and args.out.samefile(args.list):
        raise DataError(f"{args.out}: the draw would replace the list that it is taken from; give --out another name")
    datalist = read_datalist(args.list)
    training = datalist.get("training", [])
    root = os.path.normpath(args.list.absolute().parent / datalist.get("image_root", "."))
    usable = _usable(in_drawn_order(training, args.seed), root, args)
    chosen = {item["id"] for item in islice(usable, args.count)}
    if len(chosen) < args.count:
        what = f" with {args.annotated}" if args.annotated else ""
        what += " that show something" if args.positive else ""
        raise DataError(f"{args.list}: the training split has {len(chosen)} items{what}, too few to draw {args.count}")
    header = {key: value for key, value in datalist.items() if key not in ("subsets", "sha256", "published")}
    items = [{key: item[key] for key in item if key != "subset"} for item in training if item["id"] in chosen]
    draw = {"seed": args.seed, "count": args.count, "source_sha256": sha256_file(args.list)}
    draw |= {"annotated": args.annotated, "positive": args.positive} if args.annotated else {}
    return {**header, "image_root": _image_root(datalist, root, args.out), "draw": draw, "training": items}


def _usable(items: Sequence[dict[str, Any]], root: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for item in items:
        found = annotation(item, _TASKS[args.annotated]) if args.annotated else item
        if found is not None and (not args.positive or _is_positive(found, root)):
            yield item


def _is_positive(found: Any, root: str) -> bool:
    """Whether an annotation isn't empty: a mask's pixels, run lengths, boxes, a label of 1; a class number always."""
    if isinstance(found, str):
        return bool(read_mask(os.path.join(root, found)).any())
    if isinstance(found, Mapping):
        return any(int(length) > 0 for code in found.get("rle", ()) for length in code.split()[1::2])
    if found and isinstance(found, list) and not isinstance(found[0], list):
        return 1 in found
    return isinstance(found, int) or bool(found)


def _image_root(datalist: Mapping[str, Any], root: str, out: Path) -> str:
    """`image_root` as the list had it, absolute or relative, but from the new list's place."""
    if os.path.isabs(datalist.get("image_root", ".")):
        return str(datalist["image_root"])
    return Path(os.path.relpath(root, out.absolute().parent)).as_posix()


if __name__ == "__main__":
    sys.exit(main())
