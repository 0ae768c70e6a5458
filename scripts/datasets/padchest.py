"""PadChest: radiographs of Hospital San Juan (Spain) with labels and Spanish reports.

Needed under --root: `PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv` (or `.csv.gz`) and the PNG files, in folders
named by the table's ImageDir (`0/`, `1/`, ...) or all beside the table.

    python -m scripts.prepare padchest --root /data/padchest --out lists/padchest
    python -m scripts.prepare padchest --root /data/padchest --out lists/physicians --physician-only
    python -m scripts.prepare padchest --root /data/padchest --out lists/zero_shot --physician-only --split zero_shot
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable
from typing import Any

import pandas as pd

from bundle.data.errors import DataError
from scripts.preparing.official import add_root, find, image_root, split_evenly, with_images, with_subsets
from scripts.preparing.record import Record
from scripts.preparing.table import read_table
from scripts.preparing.table_rows import describe_shares
from scripts.releases.padchest_labels import multi_hot, parse_labels

__all__ = ["HELP", "add_arguments", "build"]

HELP = "PadChest: radiographs with labels and Spanish reports"

_TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
_COLUMNS = ["ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Report", "MethodLabel", "Labels"]
_VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "L"}
_SHARES = (0.1, 0.2)
_BROKEN = frozenset(
    [
        "216840111366964012819207061112010307142602253_04-014-084.png",
        "216840111366964012989926673512011074122523403_00-163-058.png",
        "216840111366964012959786098432011033083840143_00-176-115.png",
        "216840111366964012558082906712009327122220177_00-102-064.png",
        "216840111366964012339356563862009072111404053_00-043-192.png",
        "216840111366964013076187734852011291090445391_00-196-188.png",
        "216840111366964012373310883942009117084022290_00-064-025.png",
        "216840111366964012283393834152009033102258826_00-059-087.png",
        "216840111366964012373310883942009170084120009_00-097-074.png",
        "216840111366964012819207061112010315104455352_04-024-184.png",
        "216840111366964012819207061112010306085429121_04-020-102.png",
        "216840111366964012989926673512011083134050913_00-168-009.png",
        "216840111366964012373310883942009152114636712_00-102-045.png",
        "216840111366964012819207061112010281134410801_00-129-131.png",
        "216840111366964012487858717522009280135853083_00-075-001.png",
        "216840111366964012989926673512011151082430686_00-157-045.png",
        "216840111366964013686042548532013208193054515_02-026-007.png",
        "216840111366964013590140476722013058110301622_02-056-111.png",
        "216840111366964013590140476722013043111952381_02-065-198.png",
        "216840111366964013829543166512013353113303615_02-092-190.png",
        "216840111366964013962490064942014134093945580_01-178-104.png",
    ]
)
"""Files that are cut off or unreadable in the release, as TorchXRayVision lists them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this data set's options."""
    add_root(parser, "the table and the PNG files")
    parser.add_argument("--physician-only", action="store_true", help="only images that physicians labelled")
    parser.add_argument(
        "--split",
        choices=("ours", "zero_shot"),
        default="ours",
        help="ours: 70/10/20 by patient; zero_shot: every image is a test image (default: ours)",
    )


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data list of all images with labels.

    Args:
        args: the options of `add_arguments` and the common ones of `scripts.prepare`.

    Returns:
        The data list; `image_root` is absolute. `label` has a value for each label that occurs among the images of the
        options (whatever `--limit` says), `text` is the Spanish report.

    Raises:
        DataError: the table is missing, cut off or of another form, or (without `--on-error skip`) a row's labels can't
            be read or its image is missing.
    """
    table = _chosen_rows(read_table(find(args.root, _TABLE, f"{_TABLE}.gz"), _COLUMNS), args)
    labels = _labels(table, args.record)
    classes, rows = multi_hot(labels.values())
    table = table[table["ImageID"].isin(labels.keys())].head(args.limit)
    folder_of = _folders(table, args)
    chosen: Iterable[Any] = table.itertuples(index=False)
    items = [_item(row, folder_of, rows[labels[row.ImageID]]) for row in chosen]
    return {
        "name": "padchest",
        "task": "classification",
        "modality": {"0": "CR"},
        "licence": "research use only (BIMCV)",
        "source": "PadChest, labels of 01.02.19",
        "classes": classes,
        "multilabel": True,
        "image_root": image_root(args.root),
        **({"limit": args.limit} if args.limit else {}),
        **_split(with_images(items, args.root, args), args),
    }


def _chosen_rows(table: pd.DataFrame, args: argparse.Namespace) -> pd.DataFrame:
    """The rows that the release's own faults and the options leave."""
    broken = table["ImageID"].isin(_BROKEN)
    args.record.drop("image file broken in the release", int(broken.sum()))
    table = table[~broken]
    if args.physician_only:
        by_physician = table["MethodLabel"] == "Physician"
        args.record.drop("not labelled by a physician", int((~by_physician).sum()))
        table = table[by_physician]
    return table


def _labels(table: pd.DataFrame, record: Record) -> dict[str, tuple[str, ...]]:
    """The label names of each image that has any."""
    parse = functools.lru_cache(maxsize=None)(parse_labels)  # few different cells among many rows
    labels: dict[str, tuple[str, ...]] = {}
    for image, cell in zip(table["ImageID"], table["Labels"], strict=True):
        try:
            names = parse(cell) if cell else ()
        except DataError as error:
            record.reject(f"{_TABLE}: {image}", str(error))
            continue
        if names and image:
            labels[image] = names
        else:
            record.drop("row without an image or a label")
    return labels


def _folders(table: pd.DataFrame, args: argparse.Namespace) -> dict[str | None, str]:
    """The path in front of an image's name, by ImageDir: the folder, or nothing where the images lie in --root."""
    names = [name for name in table["ImageDir"].unique() if name is not None]
    return {None: "", **{name: f"{name}/" for name in names if args.without_images or (args.root / name).is_dir()}}


def _item(row: Any, folder_of: dict[str | None, str], label: list[int]) -> dict[str, Any]:
    view = _VIEWS.get(row.Projection)
    optional = {"patient": row.PatientID, "study": row.StudyID, "view": view, "text": row.Report}
    return {
        "id": row.ImageID.removesuffix(".png"),
        "image": f"{folder_of.get(row.ImageDir, '')}{row.ImageID}",
        **{key: " ".join(value.split()) for key, value in optional.items() if value},
        "label": label,
    }


def _split(items: list[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    if args.split == "zero_shot":
        return {"split": {"method": "zero_shot", "unit": "patient", "leak_checked": True}, "test": items}
    splits = split_evenly(items, *_SHARES, args.seed)
    return {"split": describe_shares("patient", *_SHARES, args.seed), **with_subsets(splits, args.seed)}
