"""The data list of SLAKE, from small files in the official layout with invented questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from bundle.data.datalist import load_datalist
from scripts.prepare import main

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

# qid, image, question, answer, language, region, modality, answer type, content type
TRAIN = [
    (0, 1, "What modality is used?", "MRI", "en", "Abdomen", "MRI", "OPEN", "Modality"),
    (1, 1, "Does the picture contain liver?", "Yes", "en", "Abdomen", "MRI", "CLOSED", "Organ"),
    (1622, 1, "Where is the kidney?", "", "en", "Abdomen", "MRI", "OPEN", "Position"),  # the release has one such
    (3, 2, "What is the scanning plane?", "Transverse  Plane", "en", "Lung", "CT", "OPEN", "Plane"),
    (4, 2, "What diseases are included?", "None", "en", "Lung", "CT", "OPEN", "Abnormality"),
    (9000, 2, "图像中有肺吗？", "有", "zh", "Lung", "CT", "CLOSED", "Organ"),
]
VALIDATE = [(5, 3, "Is the lung healthy?", "No", "en", "Lung", "X-Ray", "CLOSED", "Abnormality")]
TEST = [
    (6, 4, "Which is bigger, lung or heart?", "Lung", "en", "Lung", "X-Ray", "CLOSED", "Size"),
    (9001, 4, "这是什么模态？", "X光", "zh", "Lung", "X-Ray", "OPEN", "Modality"),
]


def _records(rows: list[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for qid, image, question, answer, language, location, modality, kind, content in rows:
        yield {
            "img_id": image,
            "img_name": f"xmlab{image}/source.jpg",
            "question": question,
            "answer": answer,
            "q_lang": language,
            "location": location,
            "modality": modality,
            "answer_type": kind,
            "base_type": "vqa",
            "triple": ["vhead", "_", "_"],
            "qid": qid,
            "content_type": content,
        }


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folders and files of SLAKE 1.0; images are empty files, since the list only names them."""
    root = tmp_path / "Slake1.0"
    for number in range(1, 5):
        (root / "imgs" / f"xmlab{number}").mkdir(parents=True)
        (root / "imgs" / f"xmlab{number}" / "source.jpg").touch()
    for name, rows in (("train", TRAIN), ("validate", VALIDATE), ("test", TEST)):
        text = json.dumps(list(_records(rows)), ensure_ascii=False)
        (root / f"{name}.json").write_text(text, encoding="utf-8")
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["slake", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _ids(datalist: dict[str, Any]) -> dict[str, list[str]]:
    names = ("training", "validation", "test")
    return {split: [item["id"] for item in datalist.get(split, [])] for split in names}


def test_every_field_in_english(release: Path, tmp_path: Path) -> None:
    datalist = prepared("slake", release, tmp_path / "out")
    assert _ids(datalist) == {"training": ["0", "1", "3", "4"], "validation": ["5"], "test": ["6"]}
    assert datalist["test"] == [
        {
            "id": "6",
            "qid": "6",
            "image": "imgs/xmlab4/source.jpg",
            "question": "Which is bigger, lung or heart?",
            "answer": "Lung",
            "answer_type": "CLOSED",  # as given, though it is neither yes nor no
            "language": "en",
            "organ": "Lung",
            "modality": "X-Ray",
            "category": "Size",
        }
    ]
    assert [item["answer"] for item in datalist["training"]] == ["MRI", "Yes", "Transverse Plane", "None"]
    header = {key: datalist[key] for key in ("name", "task", "licence", "image_root", "published", "split", "filters")}
    assert header == {
        "name": "slake",
        "task": "vqa",
        "licence": "CC BY 4.0",
        "image_root": str(release),
        "published": {"training": 4919, "validation": 1053, "test": 1061},
        "split": {"method": "official", "unit": "image", "leak_checked": True, "leaks": {}},
        "filters": {"question without an answer": 1, "question in another language": 2},
    }
    assert len(load_datalist(tmp_path / "out" / "datalist.json", "training", check_files="all")) == 4


def test_languages(release: Path, tmp_path: Path) -> None:
    chinese = prepared("slake", release, tmp_path / "zh", "--language", "zh")
    assert _ids(chinese) == {"training": ["9000"], "validation": [], "test": ["9001"]}
    assert chinese["training"][0]["answer"] == "有"
    assert chinese["filters"] == {"question in another language": 7}
    both = prepared("slake", release, tmp_path / "all", "--language", "all")
    assert _ids(both) == {"training": ["0", "1", "3", "4", "9000"], "validation": ["5"], "test": ["6", "9001"]}
    assert both["filters"] == {"question without an answer": 1}


def test_validation_under_its_other_name(release: Path, tmp_path: Path) -> None:
    expected = prepared("slake", release, tmp_path / "first")
    (release / "validate.json").rename(release / "validation.json")
    assert prepared("slake", release, tmp_path / "second") == expected


def test_an_image_in_two_splits_is_declared(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = release / "test.json"
    path.write_text(path.read_text(encoding="utf-8").replace("xmlab4", "xmlab3"), encoding="utf-8")
    datalist = prepared("slake", release, tmp_path / "out")
    assert datalist["split"]["leaks"] == {"validation-test": {"images": 1, "patients": 0}}
    assert "validation and test of this published split share 1 images" in capsys.readouterr().out


def test_limit_and_dry_run(release: Path, tmp_path: Path) -> None:
    datalist = prepared("slake", release, tmp_path / "out", "--limit", "5")
    assert _ids(datalist) == {"training": ["0", "1", "3", "4"], "validation": ["5"], "test": []}
    assert datalist["limit"] == 5
    assert main(["slake", "--root", str(release), "--out", str(tmp_path / "dry"), "--dry-run"]) == 0
    assert not (tmp_path / "dry").exists()


def test_missing_images_are_skipped_and_listed(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = release / "imgs" / "xmlab2" / "source.jpg"
    missing.unlink()
    assert _refused(release, capsys).startswith(f"error: item 3: there is no image file {missing}")
    datalist = prepared("slake", release, tmp_path / "out", "--on-error", "skip")
    assert _ids(datalist)["training"] == ["0", "1"]
    skipped = (tmp_path / "out" / "skipped.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in skipped] == ["item", "item 3", "item 4"]
    assert _ids(prepared("slake", release, tmp_path / "all", "--without-images"))["training"] == ["0", "1", "3", "4"]


def test_errors(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--root holds no train.json, but Slake1.0" in _refused(release.parent, capsys)
    path = release / "train.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[: len(whole) // 2], encoding="utf-8")
    error = _refused(release, capsys)
    assert error.startswith(f"error: {path}: not valid JSON")
    assert "if it was cut off, download it again" in error
    path.write_text(whole.replace('"q_lang"', '"lang"'), encoding="utf-8")
    assert f"{path}: entry 0 has no key 'q_lang'; its keys are img_id, img_name, question" in _refused(release, capsys)
    path.write_text('{"train": []}')
    assert f"{path}: must be a JSON list with at least one object" in _refused(release, capsys)
    path.write_text('["a"]')
    assert f'{path}: entry 0 is no object with keys but "a"' in _refused(release, capsys)
    path.write_bytes(whole.encode("utf-16"))
    assert f"{path}: isn't UTF-8 text" in _refused(release, capsys)
    (release / "test.json").unlink()
    path.write_text(whole, encoding="utf-8")
    assert "--root holds no test.json, but imgs, train.json, validate.json" in _refused(release, capsys)


def test_a_question_that_asks_nothing(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = release / "validate.json"
    path.write_text(path.read_text(encoding="utf-8").replace("Is the lung healthy?", " "), encoding="utf-8")
    assert f"{path} question 5: it asks nothing" in _refused(release, capsys)
