import json
from pathlib import Path

import pytest

from bundle.data.errors import DataError
from bundle.data.prompts import load_prompts, prompts_identity

SETS = sorted((Path(__file__).resolve().parents[2] / "configs" / "prompts").glob("*.json"))
FORM = {
    "name": "mine",
    "version": 2,
    "source": "ours",
    "classes": {"edema": {"pos": ["{}"], "neg": ["no {}", "clear"]}},
}
CHEXPERT = [
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
]


def written(folder: Path, **changes: object) -> Path:
    path = folder / "mine.json"
    path.write_text(json.dumps(FORM | changes))
    return path


def test_names_are_matched_and_filled_in(tmp_path):
    classes = {"pleural effusion": {"pos": ["a {} is there"]}, "Edema": {"pos": ["{}", "wet"], "neg": ["no {}"]}}
    path = written(tmp_path, classes=classes)
    assert load_prompts(path, ["edema", "Pleural_Effusion"]) == {
        "edema": {"pos": ["edema", "wet"], "neg": ["no edema"]},
        "Pleural_Effusion": {"pos": ["a pleural effusion is there"], "neg": []},
    }
    assert list(load_prompts(path, ["Pleural_Effusion", "edema"])) == ["Pleural_Effusion", "edema"]
    assert prompts_identity(path) == "mine, version 2"


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_own_sets_can_be_used(path):
    classes = json.loads(path.read_text())["classes"]
    loaded = load_prompts(path, list(classes))
    assert prompts_identity(path).startswith(f"{path.stem}, version ")
    for name, sides in loaded.items():
        assert not set(sides["pos"]) & set(sides["neg"]), name
        assert all(len(set(texts)) == len(texts) > 0 for texts in sides.values()), name
        assert not any("{" in text for texts in sides.values() for text in texts)


def test_findings_have_five_to_ten_sentences_a_side():
    folder = SETS[0].parent
    for sides in load_prompts(folder / "findings.json", CHEXPERT).values():
        assert all(5 <= len(texts) <= 10 for texts in sides.values())
    assert load_prompts(folder / "chexzero.json", CHEXPERT)["No Finding"] == {
        "pos": ["no finding"],
        "neg": ["no no finding"],
    }


def test_phantom_prompts_name_each_place():
    classes = ["consolidation", "pleural effusion", "pneumothorax", "nodule", "cardiomegaly"]
    loaded = load_prompts(SETS[0].parent / "phantom.json", classes)
    for name in classes[:-1]:
        sides = ["left" in text for text in loaded[name]["pos"]]
        assert sum(sides) * 2 == len(sides), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": {"fracture": {"pos": ["x"]}}}, "no prompts for the class 'edema' .*only for fracture"),
        ({"classes": {"edema": {"pos": ["x", " "]}}}, "text 1 of the prompts 'pos' of 'edema' is empty"),
        ({"classes": {"edema": {"pos": []}}}, "the prompts of 'edema' must be an object with a list 'pos'"),
        ({"classes": {"edema": {"pos": ["x"], "maybe": ["y"]}}}, "the prompts of 'edema' must be an object"),
        ({"classes": {"edema": {"pos": "x"}}}, "the prompts 'pos' of 'edema' must be a list of texts"),
        ({"classes": {"edema": {"pos": ["x"]}, "Edema": {"pos": ["y"]}}}, "the class 'Edema' stands there twice"),
        ({"classes": ["edema"]}, "'classes' must be an object"),
        ({"version": None}, "'version' is absent"),
    ],
)
def test_unusable_files_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"mine\.json: .*{message}"):
        load_prompts(written(tmp_path, **changes), ["edema", "hernia"])


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json: the prompt file can't be read \(No such file"):
        load_prompts(tmp_path / "nowhere.json", ["edema"])
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match=r"broken\.json: the prompt file is no JSON"):
        load_prompts(tmp_path / "broken.json", ["edema"])
