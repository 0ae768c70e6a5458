"""Loading and writing data lists."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data import load_decathlon_datalist

from bundle.data.datalist import check_datalist, load_datalist, read_datalist, write_datalist
from bundle.data.errors import DataError

LIST: dict[str, Any] = {
    "name": "two_hospitals",
    "task": "classification",
    "classes": ["effusion", "edema"],
    "multilabel": True,
    "image_root": "pictures",
    "subsets": {"10": {"seed": 3, "n": 1}},
    "training": [
        {"id": "b", "image": "b.png", "patient": "p2", "label": [1, None], "text": "Grüße: left effusion.", "site": 7},
        {
            "id": "a",
            "image": "deep/a.png",
            "mask": "a_mask.png",
            "patient": "p1",
            "label": [0, -1],
            "subset": [10, 100],
        },
    ],
    "test": [{"id": "images", "image": "c.png", "patient": "p3", "findings": "test"}],
}


def _files(folder: Path) -> None:
    for name in ("b.png", "deep/a.png", "a_mask.png", "c.png"):
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_writes_counts_and_hashes_one_item_a_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "datalist.json"
    before = copy.deepcopy(LIST)
    write_datalist(path, LIST)
    assert before == LIST
    written = json.loads(path.read_text())
    assert (written["numTraining"], written["numValidation"], written["numTest"]) == (2, 0, 1)
    assert written["sha256"] == {
        "training": hashlib.sha256(b"a\nb").hexdigest(),
        "test": hashlib.sha256(b"images").hexdigest(),
    }
    assert {key: written[key] for key in LIST} == LIST
    lines = path.read_text().splitlines()
    assert [json.loads(line.rstrip(",")) for line in lines if line.startswith("    {")] == LIST["training"] + LIST[
        "test"
    ]
    assert os.listdir(path.parent) == ["datalist.json"]


def test_empty_splits_are_not_written(tmp_path: Path) -> None:
    write_datalist(tmp_path / "l.json", {**LIST, "validation": []})
    assert "validation" not in read_datalist(tmp_path / "l.json")


def test_a_refused_list_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    write_datalist(path, LIST)
    old = path.read_bytes()
    for bad in ({**LIST, "classes": ["one"]}, {**LIST, "noise": float("nan")}, {**LIST, "training": [{"image": "x"}]}):
        with pytest.raises(DataError, match=r"l\.json"):
            write_datalist(path, bad)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["l.json"]


def test_joins_declared_paths_only(tmp_path: Path) -> None:
    _files(tmp_path)
    for folder in ("images", "test"):  # folders with the names of an id and of a text
        (tmp_path / "pictures" / folder).mkdir()
    write_datalist(tmp_path / "l.json", LIST)
    training = load_datalist(tmp_path / "l.json", "training", check_files="all")
    root = str(tmp_path / "pictures")
    assert training == [
        {**LIST["training"][0], "image": f"{root}/b.png"},
        {**LIST["training"][1], "image": f"{root}/deep/a.png", "mask": f"{root}/a_mask.png"},
    ]
    assert load_datalist(tmp_path / "l.json", "test") == [{**LIST["test"][0], "image": f"{root}/c.png"}]
    assert list(load_datalist(tmp_path / "l.json")) == ["training", "test"]


def test_joins_a_dict_of_paths_and_looks_for_its_files(tmp_path: Path) -> None:
    item = {"id": "a", "image": "a.png", "patient": "p", "masks": {"lung": "l.png"}}
    write_datalist(tmp_path / "l.json", {"test": [item]})
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"item a: there is no masks file .*l\.png"):
        load_datalist(tmp_path / "l.json", "test", path_keys=("image", "masks"))
    (tmp_path / "l.png").touch()
    loaded = load_datalist(tmp_path / "l.json", "test", path_keys=("image", "masks"))
    assert loaded[0]["masks"] == {"lung": str(tmp_path / "l.png")}


def test_absolute_image_root(tmp_path: Path) -> None:
    _files(tmp_path)
    write_datalist(tmp_path / "lists" / "l.json", {**LIST, "image_root": str(tmp_path / "pictures")})
    assert load_datalist(tmp_path / "lists" / "l.json", "test")[0]["image"] == str(tmp_path / "pictures" / "c.png")


def test_monai_reads_the_same_file(tmp_path: Path) -> None:
    write_datalist(tmp_path / "l.json", LIST)
    read = load_decathlon_datalist(tmp_path / "l.json", False, "training", base_dir=tmp_path / "pictures")
    assert [item["image"] for item in read] == [str(tmp_path / "pictures" / name) for name in ("b.png", "deep/a.png")]
    assert [item["label"] for item in read] == [[1, None], [0, -1]]
    assert read[0]["text"] == "Grüße: left effusion."


def test_subsets(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    write_datalist(path, LIST)
    assert [item["id"] for item in load_datalist(path, "training", subset=10, check_files="none")] == ["a"]
    assert [item["id"] for item in load_datalist(path, "training", subset=100, check_files="none")] == ["b", "a"]
    assert {key: len(items) for key, items in load_datalist(path, subset=10, check_files="none").items()} == {
        "training": 1,
        "test": 1,
    }
    with pytest.raises(DataError, match="no subset of 1 %; it has 10, 100"):
        load_datalist(path, "training", subset=1)
    with pytest.raises(DataError, match="only the training split has subsets"):
        load_datalist(path, "test", subset=10)


def test_missing_files(tmp_path: Path) -> None:
    items = [{"id": f"i{n}", "image": f"{n}.png", "patient": "p"} for n in range(1000)]
    write_datalist(tmp_path / "l.json", {"training": items})
    for number in range(1000):
        if number != 503:
            (tmp_path / f"{number}.png").touch()
    with pytest.raises(DataError, match=r"l\.json: item i503: there is no image file .*503\.png; mend 'image_root'"):
        load_datalist(tmp_path / "l.json", "training", check_files="all")
    assert len(load_datalist(tmp_path / "l.json", "training")) == 1000  # looks for 0, 10, 20, ...
    assert len(load_datalist(tmp_path / "l.json", "training", check_files="none")) == 1000
    os.remove(tmp_path / "990.png")
    with pytest.raises(DataError, match="item i990"):
        load_datalist(tmp_path / "l.json", "training")
    os.remove(tmp_path / "0.png")
    with pytest.raises(DataError, match="item i0"):
        load_datalist(tmp_path / "l.json", "training", check_files=3)


def test_unknown_split(tmp_path: Path) -> None:
    write_datalist(tmp_path / "l.json", LIST)
    with pytest.raises(DataError, match="no split 'validation', only training, test"):
        load_datalist(tmp_path / "l.json", "validation")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "isn't valid JSON"),
        (b'{"test": [{"id": "a", "image": "a", "patient": "p", "age": NaN}]}', "NaN is not a number"),
        (b'{"name": "\xff"}', "isn't UTF-8"),
        (b"[]", "is a JSON object"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "l.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"l\.json: .*{reason}"):
        read_datalist(tmp_path / "l.json")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: the data list can't be read \(No such file"):
        read_datalist(tmp_path / "none.json")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.sampled_from(["", "a", "b", "PA", "1 2", "10"]),
    lambda part: (
        st.lists(part, max_size=4) | st.dictionaries(st.sampled_from(["a", "10", "pos", "n"]), part, max_size=3)
    ),
    max_leaves=6,
)
_ITEM = st.fixed_dictionaries(
    {"id": st.sampled_from("abcde"), "image": st.just("x.png")},
    optional=dict.fromkeys(("patient", "view", "text", "label", "subset", "rle", "boxes", "box_label"), _JSON)
    | dict.fromkeys(("size", "phrase_class", "answer_type", "mask"), _JSON),
)
_LIST = st.fixed_dictionaries(
    {"training": st.lists(_ITEM, min_size=1, max_size=2)},
    optional=dict.fromkeys(("classes", "subsets", "prompts", "split", "sha256", "numTraining", "test", "task"), _JSON),
)


@pytest.mark.filterwarnings("ignore:.*name no patient")
@given(_LIST | _JSON)
def test_any_content_passes_or_is_refused_with_a_sentence(content: Any) -> None:
    message = "wild.json: accepted"
    try:
        check_datalist(content, "wild.json")
    except DataError as error:
        message = str(error)
    assert message.startswith("wild.json: ")
    assert "\n" not in message
