from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bundle.data.datalist import write_datalist
from bundle.data.errors import DataError
from bundle.data.grounded import GroundedList
from bundle.data.grounding_truth import BoxTruth, MaskTruth
from bundle.data.phantom_findings import Finding
from bundle.data.phrases import Phrase

PROMPTS = {
    "opacity": {"pos": ["An opacity.", "Some opacity."], "neg": ["No opacity."]},
    "nodule": {"pos": ["A nodule."]},
}
SIZE = {"size": [20, 30]}


def listed(folder: Path, *items: dict[str, Any], **header: Any) -> Path:
    """A list whose items are the test split; their images exist."""
    test = [{"id": f"i{n}", "image": f"{n}.png", "patient": f"p{n}", **item} for n, item in enumerate(items)]
    for item in test:
        (folder / item["image"]).touch()
    path = folder / "datalist.json"
    write_datalist(path, {"name": "l", "classes": ["opacity", "nodule"], "prompts": PROMPTS, **header, "test": test})
    return path


def shown(pairs: list[dict[str, Any]]) -> list[tuple]:
    return [(Path(pair["image"]).name, pair["title"], pair["phrase_class"], pair["label"]) for pair in pairs]


def test_masks_of_classes_are_asked_for_by_prompts(tmp_path: Path) -> None:
    for name in ("o.png", "n.png"):
        (tmp_path / name).touch()
    items = (
        {"label": [0, 0]},
        {"masks": {"nodule": "n.png", "opacity": "o.png"}, "label": [1, 1]},
        {"label": [1, 0]},  # positive, but nothing is marked
        {"masks": {"opacity": "o.png"}, "label": [1, 0]},
    )
    grounded = GroundedList(listed(tmp_path, *items), MaskTruth("masks"))
    pairs = grounded.pairs("test")
    paths = {name: str(tmp_path / name) for name in ("n.png", "o.png")}
    assert shown(pairs) == [
        ("1.png", "A nodule.", 1, paths["n.png"]),
        ("1.png", "An opacity.", 0, paths["o.png"]),
        ("3.png", "An opacity.", 0, paths["o.png"]),
    ]
    assert pairs[1]["phrase"] == Phrase(("An opacity.", "Some opacity."), ("No opacity.",))
    assert pairs[0]["phrase"] == Phrase(("A nodule.",))
    assert [pair["index"] for pair in pairs] == [0, 1, 2]
    assert {Path(pair["normal"]).name for pair in pairs} == {"0.png"}
    assert grounded.patients("test") == ["p1", "p1", "p3"]
    assert not any("moved" in pair for pair in pairs)


def test_only_asked_classes_count_and_are_numbered_as_asked(tmp_path: Path) -> None:
    (tmp_path / "n.png").touch()
    items = {"masks": {"nodule": "n.png", "opacity": "n.png"}}, {"masks": {"opacity": "n.png"}}
    grounded = GroundedList(listed(tmp_path, *items), MaskTruth("masks"), classes=["nodule"])
    (pair,) = grounded.pairs("test")
    assert (pair["phrase_class"], grounded.classes) == (0, ["nodule"])
    assert "normal" not in pair


def test_phrase_of_an_item_goes_before_prompts_and_is_not_shown(tmp_path: Path) -> None:
    """It may be cut from a report."""
    item = {
        "phrase": "patchy opacity at the left base",
        "phrase_class": 0,
        "boxes": [[1, 2, 3, 4], [5, 6, 7, 8]],
    } | SIZE
    (pair,) = GroundedList(listed(tmp_path, item), BoxTruth()).pairs("test")
    assert pair["phrase"] == Phrase((item["phrase"],), ("No opacity.",))
    assert pair["title"] == "opacity"
    assert pair["label"] == {"boxes": item["boxes"], "size": [20, 30]}


def test_boxes_of_one_class_are_one_truth(tmp_path: Path) -> None:
    boxes = [[0, 0, 5, 5], [10, 10, 15, 15], [1, 1, 2, 2]]
    items = {"boxes": boxes, "box_label": [1, 0, 1]} | SIZE, {"boxes": [], "box_label": []} | SIZE
    pairs = GroundedList(listed(tmp_path, *items), BoxTruth()).pairs("test")
    assert [(pair["phrase_class"], pair["label"]["boxes"]) for pair in pairs] == [
        (0, [boxes[1]]),
        (1, [boxes[0], boxes[2]]),
    ]
    assert [Path(pair["normal"]).name for pair in pairs] == ["1.png"] * 2


def test_list_of_one_class_needs_no_names_of_marks(tmp_path: Path) -> None:
    items = ({"rle": ["0 3"]} | SIZE, {"rle": []} | SIZE, {"rle": ["2 2"]} | SIZE)
    path = listed(tmp_path, *items, classes=["nodule"])
    pairs = GroundedList(path, MaskTruth()).pairs("test")
    assert [pair["label"] for pair in pairs] == [{"rle": ["0 3"], **SIZE}, {"rle": ["2 2"], **SIZE}]
    assert [Path(pair["normal"]).name for pair in pairs] == ["1.png"] * 2


def test_prompts_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    classes = {"nodule": {"pos": ["There is a {}."], "neg": ["There is no {}."]}}
    file.write_text(json.dumps({"name": "p", "version": 1, "source": "ours", "classes": classes}))
    path = listed(tmp_path, {"rle": ["0 3"]} | SIZE, classes=["nodule"], prompts={})
    (pair,) = GroundedList(path, MaskTruth(), prompts=file).pairs("test")
    assert pair["phrase"] == Phrase(("There is a nodule.",), ("There is no nodule.",))


def test_normal_images_are_drawn_anew_by_seed_alone(tmp_path: Path) -> None:
    items = [{"rle": ["0 3"] if n % 2 else []} | SIZE for n in range(40)]
    path = listed(tmp_path, *items, classes=["nodule"])
    drawn = [[pair["normal"] for pair in GroundedList(path, MaskTruth(), seed=n).pairs("test")] for n in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {int(Path(name).stem) % 2 for name in drawn[0]} == {0}
    assert len(set(drawn[0])) > 5


def test_findings_of_phantoms_have_phrases_masks_and_mirrored_drawings(phantoms: Path) -> None:
    items = {
        item["image"].split("/")[-1]: item for item in json.loads((phantoms / "datalist.json").read_text())["test"]
    }
    masks = GroundedList(phantoms / "datalist.json", MaskTruth("finding_masks")).pairs("test")
    boxes = GroundedList(phantoms / "datalist.json", BoxTruth()).pairs("test")
    assert [pair["phrase"] for pair in masks] == [pair["phrase"] for pair in boxes]
    expected = [(item, number) for item in items.values() for number in range(len(item["truth"]))]
    assert len(masks) == len(expected) > 3
    for (item, number), by_mask, by_box in zip(expected, masks, boxes, strict=True):
        finding = item["truth"][number]
        assert by_mask["phrase"].texts == (finding["phrase"],)
        assert by_mask["label"] == str(phantoms / item["finding_masks"][finding["name"]])
        assert by_box["label"]["boxes"] == [item["boxes"][number]]
        assert items[Path(by_mask["normal"]).name]["truth"] == []
        if "moved" in by_mask:
            assert by_mask["moved"]["seed"] == item["seed"]
            moved: Finding = by_mask["moved"]["finding"]
            assert (moved.name, moved.side) == (finding["name"], {"left": "right", "right": "left"}[finding["side"]])
            assert moved.side in by_mask["moved_phrase"].texts[0]
        else:
            assert finding["name"] == "cardiomegaly" or "cardiomegaly" in str(item["truth"])
    assert any("moved" in pair for pair in masks)


def test_finding_that_the_heart_would_hide_is_not_moved(tmp_path: Path) -> None:
    truth = [{"name": "nodule", "side": "right", "zone": "lower", "size": "small", "phrase": "A nodule."}]
    heart = {"name": "cardiomegaly", "size": "large", "phrase": "A large heart."}
    item = {"boxes": [[0, 0, 5, 5]], "seed": 1} | SIZE
    both = item | {"boxes": [[0, 0, 5, 5]] * 2}
    path = listed(tmp_path, item | {"truth": truth}, both | {"truth": [*truth, heart]})
    pairs = GroundedList(path, BoxTruth()).pairs("test")
    assert ["moved" in pair for pair in pairs] == [True, False]


def test_joined_patients_have_one_name(tmp_path: Path) -> None:
    items = ({"rle": ["0 3"]} | SIZE, {"rle": ["0 3"]} | SIZE)
    path = listed(tmp_path, *items, classes=["nodule"], split={"method": "m", "joined": [["p1", "p0"]]})
    assert GroundedList(path, MaskTruth()).patients("test") == ["p1", "p1"]


@pytest.mark.parametrize(
    ("truth", "needed"),
    [(MaskTruth("masks"), r"a mask \('masks' or 'rle'\) of a finding"), (BoxTruth(), "'boxes' of a finding")],
)
def test_list_without_the_annotation_is_refused(tmp_path: Path, truth: Any, needed: str) -> None:
    path = listed(tmp_path, {"label": [1, 0]}, {"label": [0, 0]})
    with pytest.raises(DataError, match=rf"none of the 2 items of test has {needed} of the classes opacity, nodule"):
        GroundedList(path, truth).pairs("test")


def test_class_without_a_phrase_and_list_without_classes_are_refused(tmp_path: Path) -> None:
    item = {"rle": ["0 3"]} | SIZE
    path = listed(tmp_path, item, classes=["nodule"], prompts={})
    with pytest.raises(DataError, match="item i0: there is no phrase for its 'nodule'; give the item a 'phrase'"):
        GroundedList(path, MaskTruth()).pairs("test")
    path = listed(tmp_path, item, classes=[], prompts={})
    with pytest.raises(DataError, match="names no 'classes'; give the names"):
        GroundedList(path, MaskTruth())
    with pytest.raises(DataError, match="the list has no split 'validation'"):
        GroundedList(path, MaskTruth(), classes=["nodule"]).pairs("validation")
    with pytest.raises(DataError, match="a phrase is empty"):
        Phrase(())
