"""Each rule of the format, broken once: the message names the file, the item and the reason."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from bundle.data.datalist import check_datalist
from bundle.data.errors import DataError


def _item(name: str = "a", **keys: Any) -> dict[str, Any]:
    return {"id": name, "image": f"{name}.png", "patient": f"p-{name}", **keys}


def _list(*training: dict[str, Any], **header: Any) -> dict[str, Any]:
    return {"training": list(training), **header}


SIZE = {"size": [10, 20]}  # 10 rows, 20 columns
CLASSES = {"classes": ["effusion", "edema"]}
PROMPTS = {"effusion": {"pos": ["effusion"], "neg": ["no effusion"]}, "edema": {"pos": ["edema"]}}

GOOD = [
    _list(_item()),
    _list(_item(view="AP", findings="Clear.", impression="Normal.", study="s1", extra={"any": ["thing", 1.5]})),
    _list(_item(text=["one", "two"])),
    _list(_item(label=[1, None]), _item("b", label=[-1, 0]), **CLASSES, multilabel=True),
    _list(_item(label=1), **CLASSES, multilabel=False),
    _list(_item(boxes=[[0, 0, 20, 10], [1.5, 2, 3, 2.5]], box_label=[0, 1], **SIZE), **CLASSES),
    _list(_item(boxes=[])),
    _list(_item(label=1, boxes=[[0, 0, 2, 2]], box_label=[2], **SIZE), **CLASSES, box_classes=["a", "b", "c"]),
    _list(_item(spacing=[0.139, 1])),
    _list(_item(rle=["0 200", "190 10"], **SIZE), _item("b", rle=[], **SIZE)),
    _list(_item(phrase_class=1), **CLASSES, prompts=PROMPTS),
    _list(_item(phrase="a large effusion", phrase_class=0), **CLASSES),
    _list(_item(question="Why?", answer="no", answer_type="OPEN", qid="1"), task="vqa"),
    _list(
        _item("a", subset=[1, 10, 100]),
        _item("b", subset=[10, 100]),
        _item("c"),
        subsets={"1": {"n": 1}, "10": {"n": 2}, "100": {"n": 3}},
    ),
    _list(_item(), numTraining=1, numTest=0, test=[_item("t", patient="other")]) | {"numTest": 1},
]


@pytest.mark.parametrize("datalist", GOOD)
def test_good_lists_pass(datalist: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_datalist(datalist, "l.json")


BAD_HEADER = [
    ({}, "none of the splits"),
    (_list(), "'training' must be a list with at least one item"),
    ({"test": {}}, "'test' must be a list"),
    (_list(["a.png"]), "entry 0 of 'training' must be an object, not \\[\"a.png\"\\]"),
    (_list(_item(), {"image": "b.png"}), "entry 1 of 'training' has no 'id'"),
    (_list({"id": "a"}), "entry 0 of 'training' has no 'image'"),
    (_list({"id": 3, "image": "a.png"}), "has no 'id', which must be a text"),
    (_list(_item(), name=" "), "header key 'name' holds an empty string"),
    (_list(_item(), schema_version=2), "schema_version 2 is unknown"),
    (_list(_item(), task="guessing"), 'task "guessing" is unknown'),
    (_list(_item(), classes="edema"), "'classes' must be a list"),
    (_list(_item(), classes=["edema", "edema"]), "names a class twice"),
    (_list(_item(), box_classes=["edema", "edema"]), "'box_classes' names a class twice"),
    (_list(_item(), mask_classes="lung"), "'mask_classes' must be a list of names"),
    (_list(_item(), subsets=[1]), "'subsets' must be an object"),
    (_list(_item(), subsets={"one": {"n": 1}}), "'subsets' must map a percentage"),
    (_list(_item(), split={"joined": ["p"]}), "'joined' of the header's 'split'"),
    (_list(_item(), image_root=3), "'image_root' must be a folder's path"),
    (_list(_item(subset=[10]), subsets={"10": {"n": 2}}), "subset 10 has 1 items, but the header says 2"),
    (_list(_item(), subsets={"100": {"n": 2}}), "subset 100 has 1 items, but the header says 2"),
    (_list(_item(), **CLASSES, prompts={"edema": PROMPTS["edema"]}), "'prompts' lacks the class 'effusion'"),
    (_list(_item(), prompts={"edema": {"pos": []}}), "prompts of 'edema' must be an object with a non-empty list"),
    (_list(_item(), prompts={"edema": {"pos": ["x"], "neg": "y"}}), "prompts 'neg' of 'edema' must be a list"),
    (_list(_item(), numTraining=2), "training has 1 items, but numTraining says 2"),
    (_list(_item(), numValidation=1), "validation has 0 items, but numValidation says 1"),
    (_list(_item(), sha256={"training": "0" * 64}), "ids of training are not those .*sha256 differs"),
    (_list(_item(), _item()), "item a: the id occurs 2 times"),
]

BAD_ITEM = [
    (_list(_item(text="")), "'text' holds an empty string"),
    (_list(_item(extra={"deep": ["x", " "]})), "'extra' holds an empty string"),
    (_list(_item(text=[])), "'text' must be a text or a list of texts"),
    (_list(_item(text=[1])), "'text' must be a text or a list of texts"),
    (_list(_item(patient=97)), "'patient' must be a text, not 97"),
    (_list(_item(view="AP Supine")), "view 'AP Supine' is none of PA, AP, L"),
    (_list(_item(subset=10)), "'subset' must be a list of percentages"),
    (_list(_item("b"), validation=[_item("a"), _item("b")]) | {"training": [_item("a")]}, "in both training and valid"),
    (_list(_item("b", patient="p"), test=[_item("a", patient="p")]), "its patient p is in both training and test"),
    (
        _list(_item("b", image="x.png"), validation=[_item("a", image="x.png")]),
        "its image x.png is in both training and validation",
    ),
    (  # the image is named first, whatever else is shared
        _list(_item("b", image="x.png", patient="p"), test=[_item("a", image="x.png", patient="p")]),
        "its image x.png is in both training and test",
    ),
    (
        _list(_item("b", patient="97"), test=[_item("a", patient="178")], split={"joined": [["178", "97"]]}),
        "its patient 178 is in both training and test",
    ),
    (_list(_item(subset=[10])), "is not declared in the header's 'subsets'"),
    (_list(_item(subset=[1]), subsets={"1": {"n": 1}, "10": {"n": 0}}), "isn't nested"),
    (_list(_item("b"), test=[_item(subset=[100])]), "only training items may"),
    (_list(_item(label=[1]), **CLASSES), "label has 1 values for 2 classes"),
    (_list(_item(label=[1, 2]), **CLASSES), r"label \[1, 2\] may hold only -1, 0, 1 and null"),
    (_list(_item(label=[1.0, True]), **CLASSES), "may hold only"),
    (_list(_item(label=2), **CLASSES), "label 2 is no index into the 2 classes"),
    (_list(_item(label=True), **CLASSES), "label True is no index"),
    (_list(_item(label=1), **CLASSES, multilabel=True), "must be a list of one value a class"),
    (_list(_item(label=[1, 0]), **CLASSES, multilabel=False), "must be one class index"),
    (_list(_item(size=[10])), r"size \[10\] must be \[height, width\]"),
    (_list(_item(size=[0, 10])), "must be"),
    (_list(_item(boxes="none")), "boxes must be a list"),
    (_list(_item(boxes=[[0, 0, 1, 1]])), "boxes need 'size'"),
    (_list(_item(boxes=[[0, 0, 1]], **SIZE)), "must be four numbers"),
    (_list(_item(boxes=[[5, 0, 5, 1]], **SIZE)), "is empty"),
    (_list(_item(boxes=[[0, 3, 5, 2]], **SIZE)), "is empty"),
    (_list(_item(boxes=[[0, 0, 20.5, 1]], **SIZE)), "leaves the image of 20 x 10 pixels"),
    (_list(_item(boxes=[[0, 0, 1, 11]], **SIZE)), "leaves the image"),
    (_list(_item(boxes=[[-1, 0, 1, 1]], **SIZE)), "leaves the image"),
    (_list(_item(boxes=[[0, 0, 1, 1]], box_label=[], **SIZE), **CLASSES), "one class index for each"),
    (_list(_item(boxes=[[0, 0, 1, 1]], box_label=[2], **SIZE), **CLASSES), "box_label 2 is no index"),
    (
        _list(_item(boxes=[[0, 0, 1, 1]], box_label=[1], **SIZE), **CLASSES, box_classes=["x"]),
        "box_label 1 is no index",
    ),
    (_list(_item(spacing=[0.1])), r"spacing \[0.1\] must be \[row, column\]"),
    (_list(_item(spacing=[0, 0.1])), "in mm"),
    (_list(_item(rle=["0 1"])), "rle needs 'size'"),
    (_list(_item(rle="0 1", **SIZE)), "rle must be a list of texts"),
    (_list(_item(rle=["-1"], **SIZE)), "pairs of a non-negative offset and length"),
    (_list(_item(rle=["-1 4"], **SIZE)), "non-negative"),
    (_list(_item(rle=["0 1 5"], **SIZE)), "pairs"),
    (_list(_item(rle=["0 x"], **SIZE)), "something other than whole numbers"),
    (_list(_item(rle=["100 50 50 1"], **SIZE)), "runs past the end of the image of 20 x 10"),
    (_list(_item(phrase_class=2), **CLASSES, prompts=PROMPTS), "phrase_class 2 is no index"),
    (_list(_item(phrase_class=1), **CLASSES), "no prompts for its class 'edema'"),
    (_list(_item(answer_type="CLOSED ")), "answer_type 'CLOSED ' is none of CLOSED, OPEN"),
    (_list(_item(image="/data/a.png")), "image '/data/a.png' must be relative"),
    (_list(_item(image="x/../../a.png")), "without .."),
    (_list(_item(image="x\\a.png")), "with /"),
    (_list(_item(mask="C:/a.png")), "mask 'C:/a.png' must be relative"),
]


@pytest.mark.parametrize(("datalist", "reason"), BAD_HEADER)
def test_refused_for_the_list(datalist: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=f"^l.json: .*{reason}"):
        check_datalist(datalist, "l.json")


@pytest.mark.parametrize(("datalist", "reason"), BAD_ITEM)
def test_refused_for_an_item(datalist: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=f"^l.json: item a: .*{reason}"):
        check_datalist(datalist, "l.json")


def test_unknown_patients_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"l\.json: 1 items name no patient"):
        check_datalist(_list(_item(), {"id": "b", "image": "b.png"}), "l.json")


LEAK = {"training-test": {"images": 1, "patients": 1}}
LEAKING = {"training": [_item("a", image="x.png", patient="p")], "test": [_item("b", image="x.png", patient="p")]}


@pytest.mark.parametrize(
    "datalist",
    [
        {**LEAKING, "split": {"method": "published", "leaks": LEAK}},
        {"training": [_item("a")], "test": [_item("b")], "split": {"leaks": {}}},
    ],
)
def test_declared_leaks_pass(datalist: dict[str, Any]) -> None:
    check_datalist(datalist, "l.json")


@pytest.mark.parametrize(
    ("datalist", "reason"),
    [
        (
            {**LEAKING, "split": {"leaks": {}}},
            r"its splits share {'training-test': {'images': 1, 'patients': 1}}, but the header's 'leaks' says {}",
        ),
        (
            {**LEAKING, "split": {"leaks": {"training-test": {"images": 1, "patients": 0}}}},
            r"share {'training-test': {'images': 1, 'patients': 1}}, but .* says .*'patients': 0",
        ),
        ({**LEAKING, "split": {"leaks": {"training-validation": LEAK["training-test"]}}}, "training-test.*, but the"),
        ({**LEAKING, "split": {"leaks": "some"}}, "says some"),
        (
            {"training": [_item("a")], "test": [_item("b")], "split": {"leaks": LEAK}},
            "its splits share nothing, but the header's 'leaks' says {'training-test'",
        ),
    ],
)
def test_wrongly_declared_leaks_are_refused(datalist: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=f"^l.json: .*{reason}"):
        check_datalist(datalist, "l.json")


def test_declared_leaks_excuse_no_repeated_id() -> None:
    datalist = {"training": [_item("a")], "test": [_item("a")], "split": {"leaks": LEAK}}
    with pytest.raises(DataError, match="item a: the id is in both training and test"):
        check_datalist(datalist, "l.json")
