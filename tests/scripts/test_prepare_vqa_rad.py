"""The data list of VQA-RAD, from small files in both of its forms with invented questions, and from the real files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from bundle.data.datalist import load_datalist
from scripts.prepare import main

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

# number, image, organ, question, answer, answer type, phrase type, framed wording
QUESTIONS: list[tuple[int, str, str, str, Any, str, str, str]] = [
    (1, "synpic1.jpg", "CHEST", "Is the heart enlarged?", "Yes", "CLOSED", "freeform", "NULL"),
    (2, "synpic1.jpg", "CHEST", "Is there\n cardiomegaly? ", "no", "CLOSED ", "test_freeform", "Is/Are the heart big?"),
    (4, "synpic1.jpg", "CHEST", "How many ribs\t are seen?", 12, "OPEN", "para", "NULL"),
    (5, "synpic2.jpg", "HEAD", "Which plane?", " axial", "OPEN", "freeform", "NULL"),
    (6, "synpic2.jpg", "HEAD", "In which plane?", "axial", "OPEN", "test_para", "NULL"),
    (7, "synpic2.jpg", "HEAD", "in which Plane?", "axial", "OPEN", "para", "NULL"),
    (8, "synpic3.jpg", "ABD", "Is it a CT?", "Yes", "CLOSED", "freeform", "Is this a CT?"),
    (10, "synpic4.jpg", "ABD", "Is it an MRI?", "No", "CLOSED", "freeform", "NULL"),
]
IMAGES = ("synpic1.jpg", "synpic2.jpg", "synpic3.jpg", "synpic4.jpg")
RESTATED = {"3", "7"}  # the framed wording of question 2, and question 6 in other letters


def _write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in IMAGES:
        (folder / name).write_bytes(b"")  # the list only names them


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """The form of the authors: framed wordings in a field of their own, `qid` as text."""
    root = tmp_path / "public"
    _write_images(root / "VQA_RAD Image Folder")
    records = [
        {
            "qid": str(index),
            "phrase_type": phrase,
            "qid_linked_id": "03f451ca",
            "image_case_url": "https://medpix.example/case",
            "image_name": image,
            "image_organ": organ,
            "evaluation": "not evaluated",
            "question": question,
            "question_rephrase": "NULL",
            "question_relation": "NULL",
            "question_frame": frame,
            "question_type": "PRES",
            "answer": answer,
            "answer_type": kind,
        }
        for index, (_, image, organ, question, answer, kind, phrase, frame) in enumerate(QUESTIONS)
    ]
    (root / "VQA_RAD Dataset Public.json").write_text(json.dumps(records), encoding="utf-8")
    return root


@pytest.fixture
def split_files(tmp_path: Path) -> Path:
    """The form of most published results: framed wordings are questions of training, without a link to theirs."""
    root = tmp_path / "split_files"
    _write_images(root / "images")
    splits: dict[str, list[dict[str, Any]]] = {"trainset": [], "testset": []}
    for number, image, organ, question, answer, kind, phrase, frame in QUESTIONS:
        record = {
            "qid": number,
            "image_name": image,
            "image_organ": organ,
            "answer": answer,
            "answer_type": kind,
            "question_type": "PRES",
            "question": question,
            "phrase_type": phrase.removeprefix("test_"),
        }
        splits["testset" if "test" in phrase else "trainset"].append(record)
        if frame != "NULL":
            splits["trainset"].append({**record, "qid": number + 1, "question": frame, "phrase_type": "frame"})
    for name, records in splits.items():
        (root / f"{name}.json").write_text(json.dumps(records[::-1]), encoding="utf-8")  # in any order
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["vqa_rad", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _ids(datalist: dict[str, Any]) -> dict[str, list[str]]:
    names = ("training", "validation", "test")
    return {split: [item["id"] for item in datalist.get(split, [])] for split in names}


def test_official_every_field(public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = prepared("vqa_rad", public, tmp_path / "out", "--split", "official")
    assert [{**item, "subset": None} for item in datalist["training"][:3]] == [
        {
            "id": "1",
            "qid": "1",
            "image": "VQA_RAD Image Folder/synpic1.jpg",
            "question": "Is the heart enlarged?",
            "answer": "Yes",
            "answer_type": "CLOSED",
            "organ": "CHEST",
            "category": "PRES",
            "phrase_type": "freeform",
            "subset": None,
        },
        {
            "id": "3",
            "qid": "3",
            "image": "VQA_RAD Image Folder/synpic1.jpg",
            "question": "Is/Are the heart big?",
            "answer": "no",
            "answer_type": "CLOSED",
            "organ": "CHEST",
            "category": "PRES",
            "phrase_type": "frame",
            "subset": None,
        },
        {
            "id": "4",
            "qid": "4",
            "image": "VQA_RAD Image Folder/synpic1.jpg",
            "question": "How many ribs are seen?",
            "answer": "12",
            "answer_type": "OPEN",
            "organ": "CHEST",
            "category": "PRES",
            "phrase_type": "para",
            "subset": None,
        },
    ]
    assert [(item["id"], item["question"], item["answer_type"], item["phrase_type"]) for item in datalist["test"]] == [
        ("2", "Is there cardiomegaly?", "CLOSED", "freeform"),
        ("6", "In which plane?", "OPEN", "para"),
    ]
    header = {key: datalist[key] for key in ("name", "task", "licence", "image_root", "published", "split")}
    assert header == {
        "name": "vqa_rad",
        "task": "vqa",
        "licence": "CC0 1.0",
        "image_root": str(public),
        "published": {"items": 3515, "images": 314, "training": 3064, "test": 451},
        "split": {
            "method": "official",
            "unit": "question",
            "restated": 2,
            "leak_checked": True,
            "leaks": {"training-test": {"images": 2, "patients": 0}},
        },
    }
    printed = capsys.readouterr().out
    assert "2 training questions of this published split word a test question anew" in printed
    assert "training and test of this published split share 2 images" in printed
    assert len(load_datalist(tmp_path / "out" / "datalist.json", "test", check_files="all")) == 2


@pytest.mark.parametrize("split", ["official", "ours", "images"])
def test_both_forms_give_one_list(public: Path, split_files: Path, tmp_path: Path, split: str) -> None:
    first = prepared("vqa_rad", public, tmp_path / "first", "--split", split)
    second = prepared("vqa_rad", split_files, tmp_path / "second", "--split", split)
    assert first["sha256"] == second["sha256"]
    assert first["split"] == second["split"]
    text = json.dumps(first).replace("VQA_RAD Image Folder", "images").replace(str(public), str(split_files))
    assert json.loads(text) == second


def test_images_keeps_an_image_in_one_split(public: Path, tmp_path: Path) -> None:
    datalist = prepared("vqa_rad", public, tmp_path / "out")
    assert "leaks" not in datalist["split"]  # so the list was refused if there were any
    assert datalist["split"] == {
        "method": "images",
        "unit": "image",
        "ratios": [0.7, 0.1, 0.2],
        "seed": 0,
        "leak_checked": True,
    }
    images = [{item["image"] for item in datalist[split]} for split in ("training", "validation", "test")]
    assert all(images)
    assert sum(map(len, images)) == len(set.union(*images)) == 4
    assert {int(name) for ids in _ids(datalist).values() for name in ids} == set(range(1, 11))
    other = prepared("vqa_rad", public, tmp_path / "other", "--seed", "1")
    assert _ids(other) != _ids(datalist)


def test_ours_keeps_test_and_draws_validation_by_image(public: Path, tmp_path: Path) -> None:
    datalist = prepared("vqa_rad", public, tmp_path / "out", "--split", "ours")
    ids = _ids(datalist)
    assert ids["test"] == ["2", "6"]
    assert sorted(ids["training"] + ids["validation"], key=int) == ["1", "4", "5", "8", "9", "10"]
    assert not RESTATED & {*ids["training"], *ids["validation"]}
    training, validation = ({item["image"] for item in datalist[split]} for split in ("training", "validation"))
    assert validation
    assert not training & validation
    assert datalist["filters"] == {"training question that words a test question anew": 2}
    assert "training-validation" not in datalist["split"]["leaks"]
    assert datalist["published"] == {"test": 451}


def test_chest_only(public: Path, tmp_path: Path) -> None:
    datalist = prepared("vqa_rad", public, tmp_path / "out", "--chest-only", "--split", "official")
    assert _ids(datalist) == {"training": ["1", "3", "4"], "validation": [], "test": ["2"]}
    assert datalist["filters"] == {"image not of the chest": 6}
    assert datalist["published"] == {"items": 1262, "images": 107, "training": 1088, "test": 174}


def test_limit_keeps_each_question_in_its_split(public: Path, tmp_path: Path) -> None:
    datalist = prepared("vqa_rad", public, tmp_path / "out", "--split", "official", "--limit", "3")
    assert _ids(datalist) == {"training": ["1", "3"], "validation": [], "test": ["2"]}
    assert datalist["limit"] == 3
    assert "published" not in datalist
    whole, limited = (
        prepared("vqa_rad", public, tmp_path / name, *options)
        for name, options in (("whole", []), ("limited", ["--limit", "9"]))
    )
    assert {split: ids[: len(_ids(limited)[split])] for split, ids in _ids(whole).items()} == _ids(limited)


def test_missing_images_are_skipped_and_listed(
    public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (public / "VQA_RAD Image Folder" / "synpic4.jpg").unlink()
    error = _refused(public, capsys)
    assert error.startswith(f"error: item 10: there is no image file {public / 'VQA_RAD Image Folder/synpic4.jpg'}")
    datalist = prepared("vqa_rad", public, tmp_path / "out", "--on-error", "skip", "--split", "official")
    assert "10" not in _ids(datalist)["training"]
    assert (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1].startswith("item 10,")


def test_without_images(split_files: Path, tmp_path: Path) -> None:
    expected = prepared("vqa_rad", split_files, tmp_path / "with")
    for image in (split_files / "images").iterdir():
        image.unlink()
    (split_files / "images").rmdir()
    assert prepared("vqa_rad", split_files, tmp_path / "without", "--without-images") == expected


def test_a_question_without_an_answer_is_counted(split_files: Path, tmp_path: Path) -> None:
    path = split_files / "trainset.json"
    records = json.loads(path.read_text())
    next(record for record in records if record["qid"] == 5)["answer"] = " "
    path.write_text(json.dumps(records))
    datalist = prepared("vqa_rad", split_files, tmp_path / "out", "--split", "official")
    assert datalist["filters"] == {"question without an answer": 1}
    assert "5" not in _ids(datalist)["training"]


def test_dry_run_writes_nothing(public: Path, tmp_path: Path) -> None:
    assert main(["vqa_rad", "--root", str(public), "--out", str(tmp_path / "dry"), "--dry-run"]) == 0
    assert not (tmp_path / "dry").exists()


def test_errors(public: Path, split_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = _refused(public / "VQA_RAD Image Folder", capsys)
    assert "--root holds neither VQA_RAD Dataset Public.json nor" in error
    assert "but synpic1.jpg, synpic2.jpg" in error
    (split_files / "testset.json").rename(split_files / "test.json")
    assert f"{split_files}: --root holds no testset.json, but images, test.json, trainset.json" in _refused(
        split_files, capsys
    )
    path = public / "VQA_RAD Dataset Public.json"
    whole = path.read_text()
    path.write_text(whole[:400])
    error = _refused(public, capsys)
    assert error.startswith(f"error: {path}: not valid JSON")
    assert "download it again" in error
    path.write_text(whole.replace('"answer_type"', '"a_type"', 1))
    error = _refused(public, capsys)
    assert error.startswith(f"error: {path}: entry 0 has no key 'answer_type'; its keys are qid, phrase_type,")
    path.write_text(whole.replace("CLOSED", "YESNO", 1))
    assert "question 1: its answer_type 'YESNO' is none of CLOSED, OPEN" in _refused(public, capsys)


def test_a_number_that_two_questions_have(split_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = split_files / "testset.json"
    path.write_text(path.read_text().replace('"qid": 6', '"qid": 1'))
    assert f"{path}: qid '1' is no number, or that of two questions" in _refused(split_files, capsys)


@pytest.mark.real
def test_real_counts(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = prepared(
        "vqa_rad", data_root / "vqa_rad", tmp_path / "out", "--split", "official", "--without-images", "--workers", "1"
    )
    assert (datalist["numTraining"], datalist["numTest"]) == (3064, 451)
    kinds = {split: Counter(item["answer_type"] for item in datalist[split]) for split in ("training", "test")}
    assert kinds == {"training": {"OPEN": 1241, "CLOSED": 1823}, "test": {"OPEN": 179, "CLOSED": 272}}
    training, test = ({item["image"] for item in datalist[split]} for split in ("training", "test"))
    assert (len(training), len(test)) == (314, 203)
    assert test < training
    assert datalist["split"]["leaks"] == {"training-test": {"images": 203, "patients": 0}}
    # 284 framed wordings of test questions, and one paraphrase in the words of a test question
    assert datalist["split"]["restated"] == 285
    assert "training and test of this published split share 203 images" in capsys.readouterr().out


@pytest.mark.real
def test_real_chest_images(data_root: Path, tmp_path: Path) -> None:
    root = data_root / "vqa_rad"
    official = prepared("vqa_rad", root, tmp_path / "official", "--split", "official", "--chest-only")
    assert (official["numTraining"], official["numTest"]) == (1088, 174)
    ours = prepared("vqa_rad", root, tmp_path / "ours", "--split", "ours", "--chest-only")
    assert ours["sha256"]["test"] == official["sha256"]["test"]
    assert "training-validation" not in ours["split"]["leaks"]
    apart = prepared("vqa_rad", root, tmp_path / "images", "--chest-only")
    assert apart["numTraining"] + apart["numValidation"] + apart["numTest"] == 1262
    items = load_datalist(tmp_path / "images" / "datalist.json", check_files="all")
    assert len({item["image"] for split in items.values() for item in split}) == 107
