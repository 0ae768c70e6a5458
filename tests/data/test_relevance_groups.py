from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bundle.data.errors import DataError
from bundle.data.relevance_groups import relevance_groups


def listed(folder: Path, items: list[dict[str, Any]], **header: Any) -> Path:
    entries = [
        {"id": f"i{number}", "image": f"{number}.png", "patient": f"p{number}", **item}
        for number, item in enumerate(items)
    ]
    path = folder / "datalist.json"
    path.write_text(json.dumps({"name": "pairs", "test": entries, **header}), encoding="utf-8")
    return path


IDS = [f"i{number}" for number in range(6)]


def test_group_comes_before_class(tmp_path: Path) -> None:
    items = [{"group": "b"}, {"group": "a"}, {"group": "b", "label": 1}, {"label": 1}, {"label": 0}, {}]
    path = listed(tmp_path, items, classes=["x", "y"], multilabel=False)
    assert relevance_groups(path, "test", IDS) == [0, 1, 0, 2, 3, -1]


def test_an_item_with_exactly_one_class_has_its_group(tmp_path: Path) -> None:
    labels = [[1, 0, 0], [0, 1, 0], [1, None, 0], [1, 1, 0], [0, 0, 0], [1, 0, -1]]
    path = listed(tmp_path, [{"label": label} for label in labels], classes=["x", "y", "z"])
    assert relevance_groups(path, "test", IDS) == [0, 1, 0, -1, -1, -1]


def test_ids_are_in_the_order_of_the_store(tmp_path: Path) -> None:
    path = listed(tmp_path, [{"group": name} for name in "abcabc"])
    assert relevance_groups(path, "test", ["i5", "i0", "i2"]) == [0, 1, 0]


def test_a_list_of_another_store_is_refused(tmp_path: Path) -> None:
    path = listed(tmp_path, [{"group": "a"}])
    with pytest.raises(DataError, match=r"the split test has no item i1, which the packed store has; give the list"):
        relevance_groups(path, "test", ["i0", "i1"])
    with pytest.raises(DataError, match="no split 'validation'"):
        relevance_groups(path, "validation", ["i0"])


def test_a_list_without_groups_is_refused(tmp_path: Path) -> None:
    path = listed(tmp_path, [{"label": [1, 1]}], classes=["x", "y"])
    with pytest.raises(DataError, match=r"no item of test has a 'group' or a label with exactly one class"):
        relevance_groups(path, "test", ["i0"])
