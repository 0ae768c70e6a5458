"""The data list of VQA-Med 2019, from small files in the official layout with invented questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from bundle.data.datalist import load_datalist
from scripts.prepare import main

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

TRAINING, VALIDATION, TEST = "ImageClef-2019-VQA-Med-Training", "ImageClef-2019-VQA-Med-Validation", "VQAMed2019Test"
QUESTIONS = f"{TEST}/VQAMed2019_Test_Questions_w_Ref_Answers.txt"
FILES = {
    f"{TRAINING}/QAPairsByCategory/C1_Modality_train.txt": (
        b"synpic1|is \tthis a t1 weighted image?|no\r\n"
        b"synpic2|what modality is shown?|ct w/contrast (iv)\r\n"
        b"synpic2|is this a ct scan?|yes\r\n\r\n"  # a second one of the category, and an empty line at the end
    ),
    f"{TRAINING}/QAPairsByCategory/C2_Plane_train.txt": b"synpic1|which plane?|axial\nsynpic2|which plane?|pa\n",
    f"{TRAINING}/QAPairsByCategory/C3_Organ_train.txt": (
        b"synpic1|what organ system?|lung, mediastinum, pleura#spine and contents\nsynpic2|what organ?|\n"
    ),
    f"{TRAINING}/QAPairsByCategory/C4_Abnormality_train.txt": b"synpic1|what is abnormal?|crohn\x92s disease\n",
    f"{VALIDATION}/QAPairsByCategory/C1_Modality_val.txt": b"synpic3|what modality is shown?|xr - plain film\n",
    f"{VALIDATION}/QAPairsByCategory/C2_Plane_val.txt": b"synpic3|in what plane?|ap\n",
    f"{VALIDATION}/QAPairsByCategory/C3_Organ_val.txt": b"synpic3|what organ?|breast\n",
    f"{VALIDATION}/QAPairsByCategory/C4_Abnormality_val.txt": b"synpic3|is this normal?|yes\n",
    QUESTIONS: (
        b"synpic4|modality|is this a contrast or noncontrast mri?|noncontrast (mri)\n"
        b"synpic5|plane|what plane?|lateral\n"
        b"synpic6|organ|what part?|gastrointestinal#genitourinary# spine and contents\n"
        b"synpic7|abnormality|what is the primary abnormality?|(iatrogenic) pneumoperitoneum\n"
    ),
}
IMAGES = {
    f"{TRAINING}/Train_images": ("synpic1", "synpic2"),
    f"{VALIDATION}/Val_images": ("synpic3",),
    f"{TEST}/VQAMed2019_Test_Images": ("synpic4", "synpic5", "synpic6", "synpic7"),
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The unpacked folders; images are empty files, since the list only names them."""
    root = tmp_path / "vqa-med-2019"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    for folder, names in IMAGES.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / f"{name}.jpg").touch()
    (root / TEST / "VQAMed2019_Test_Questions.txt").touch()  # without answers, and not read
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["vqa_med_2019", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _answers(datalist: dict[str, Any], split: str) -> dict[str, tuple[str, str]]:
    return {item["id"]: (item["answer"], item["answer_type"]) for item in datalist.get(split, [])}


def test_every_field_of_the_default_categories(release: Path, tmp_path: Path) -> None:
    datalist = prepared("vqa_med_2019", release, tmp_path / "out")
    assert _answers(datalist, "training") == {
        "training-synpic1-modality": ("no", "CLOSED"),
        "training-synpic2-modality": ("ct w/contrast (iv)", "OPEN"),
        "training-synpic2-modality-2": ("yes", "CLOSED"),
        "training-synpic1-plane": ("axial", "OPEN"),
        "training-synpic2-plane": ("pa", "OPEN"),
        "training-synpic1-organ": ("lung, mediastinum, pleura", "OPEN"),
    }
    assert datalist["training"][0]["question"] == "is this a t1 weighted image?"
    assert datalist["training"][5]["answers"] == ["lung, mediastinum, pleura", "spine and contents"]
    assert set(_answers(datalist, "validation")) == {f"validation-synpic3-{name}" for name in datalist["categories"]}
    assert datalist["test"][0]["answer"] == "noncontrast (mri)"
    assert datalist["test"][2] == {
        "id": "test-synpic6-organ",
        "qid": "test-synpic6-organ",
        "image": "VQAMed2019Test/VQAMed2019_Test_Images/synpic6.jpg",
        "question": "what part?",
        "answer": "gastrointestinal",
        "answers": ["gastrointestinal", "genitourinary", "spine and contents"],
        "answer_type": "OPEN",
        "category": "organ",
    }
    assert not any("answers" in item for item in datalist["test"][:2])
    keys = ("name", "task", "licence", "image_root", "categories", "published", "split", "filters")
    assert {key: datalist[key] for key in keys} == {
        "name": "vqa_med_2019",
        "task": "vqa",
        "licence": "CC BY 4.0",
        "image_root": str(release),
        "categories": ["modality", "plane", "organ"],
        "published": {"test": 375},
        "split": {"method": "official", "unit": "image", "leak_checked": True, "leaks": {}},
        "filters": {"question without an answer": 1, "test question of another category": 1},
    }
    items = load_datalist(tmp_path / "out" / "datalist.json", check_files="all")
    assert {split: len(found) for split, found in items.items()} == {"training": 6, "validation": 3, "test": 3}


def test_categories(release: Path, tmp_path: Path) -> None:
    every = ("abnormality", "organ", "plane", "modality")
    datalist = prepared("vqa_med_2019", release, tmp_path / "all", "--categories", *every)
    assert datalist["categories"] == ["modality", "plane", "organ", "abnormality"]
    assert datalist["published"] == {
        "items": 15292,
        "images": 4200,
        "training": 12792,
        "validation": 2000,
        "test": 500,
    }
    assert _answers(datalist, "test")["test-synpic7-abnormality"] == ("(iatrogenic) pneumoperitoneum", "OPEN")
    assert _answers(datalist, "training")["training-synpic1-abnormality"][0] == "crohn\ufffds disease"
    assert "test question of another category" not in datalist["filters"]
    planes = prepared("vqa_med_2019", release, tmp_path / "planes", "--categories", "plane")
    assert [len(planes[split]) for split in ("training", "validation", "test")] == [2, 1, 1]
    assert planes["filters"] == {"test question of another category": 3}


def test_limit_and_dry_run(release: Path, tmp_path: Path) -> None:
    datalist = prepared("vqa_med_2019", release, tmp_path / "out", "--limit", "7")
    assert [datalist[key] for key in ("numTraining", "numValidation", "numTest", "limit")] == [6, 1, 0, 7]
    assert "published" not in datalist
    out = tmp_path / "dry"
    assert main(["vqa_med_2019", "--root", str(release), "--out", str(out), "--dry-run"]) == 0
    assert not out.exists()


def test_an_image_in_two_splits_is_found_by_its_name(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = release / QUESTIONS
    path.write_bytes(path.read_bytes().replace(b"synpic4", b"synpic2"))
    (release / TEST / "VQAMed2019_Test_Images" / "synpic2.jpg").touch()
    datalist = prepared("vqa_med_2019", release, tmp_path / "out")
    assert datalist["split"]["same_names"] == {"training-test": 1}
    assert "training and test of this published split share 1 names of images" in capsys.readouterr().out


def test_missing_images_are_skipped_and_listed(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = release / TEST / "VQAMed2019_Test_Images" / "synpic5.jpg"
    missing.unlink()
    assert f"item test-synpic5-plane: there is no image file {missing}" in _refused(release, capsys)
    datalist = prepared("vqa_med_2019", release, tmp_path / "out", "--on-error", "skip")
    assert set(_answers(datalist, "test")) == {"test-synpic4-modality", "test-synpic6-organ"}
    assert (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1].startswith("item test-synpic5-plane,")
    assert prepared("vqa_med_2019", release, tmp_path / "all", "--without-images")["numTest"] == 3


def test_errors(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = _refused(release / TRAINING, capsys)
    assert f"--root holds no {TRAINING}/QAPairsByCategory/C1_Modality_train.txt" in error
    assert "but QAPairsByCategory, Train_images" in error
    path = release / QUESTIONS
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"|lateral")])  # cut off
    assert f"{path} line 2: it has 3 fields with | between them, not 4" in _refused(release, capsys)
    path.write_bytes(whole.replace(b"|plane|", b"|projection|"))
    error = _refused(release, capsys)
    assert f"{path} line 2: its category 'projection' is none of modality, plane, organ, abnormality" in error
    path.unlink()
    assert f"--root holds no {QUESTIONS}" in _refused(release, capsys)
