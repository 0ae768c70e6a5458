"""The data list of ChestX-ray14, from a small release in the official layout; and from the real tables."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from bundle.data.datalist import load_datalist
from bundle.data.grounded import GroundedList
from bundle.data.grounding_truth import BoxTruth
from scripts.prepare import main

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
# image, findings, patient, view, folder, official list
IMAGES = [
    ("00000001_000.png", "Cardiomegaly", "1", "PA", "images_001", "train_val"),
    ("00000001_001.png", "Cardiomegaly|Emphysema", "1", "AP", "images_001", "train_val"),
    ("00000002_000.png", "No Finding", "2", "PA", "images_001", "train_val"),
    ("00000003_000.png", "Infiltration", "3", "PA", "images_002", "train_val"),
    ("00000003_001.png", "Pleural_Thickening|Hernia|Effusion", "3", "AP", "images_002", "train_val"),
    ("00000004_000.png", "Atelectasis|Effusion", "4", "PA", "images_012", "test"),
    ("00000005_000.png", "No Finding", "5", "PA", "images_012", "test"),
]
BOXES = [
    "00000004_000.png,Effusion,900,10.5,124.4,20",  # leaves the image by rounding
    "00000004_000.png,Atelectasis,225.084745762712,547.019216763771,86.7796610169491,79.1864406779661",
    "00000003_000.png,Infiltrate,0,0,10,20",
    "00000003_000.png,Infiltrate,30,40,10,20.25",
]
CLASSES = [
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
]


def _multi_hot(*findings: str) -> list[int]:
    return [int(name in findings) for name in CLASSES]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The files of a release; images are empty files, since the list only names them."""
    root = tmp_path / "nih"
    lines = [HEADER]
    for name, findings, patient, view, folder, _ in IMAGES:
        (root / folder / "images").mkdir(parents=True, exist_ok=True)
        (root / folder / "images" / name).touch()
        lines.append(f"{name},{findings},0,{patient},57,M,{view},2682,2749,0.14300000000000002,0.14300000000000002")
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(lines) + "\n")
    # The header of the real file has three cells more than its rows.
    (root / "BBox_List_2017.csv").write_text("\n".join(["Image Index,Finding Label,Bbox [x,y,w,h],,,", *BOXES]) + "\n")
    for part in ("train_val", "test"):
        named = [name for name, *_, official in IMAGES if official == part]
        (root / f"{part}_list.txt").write_text("\n".join(named))  # the real ones don't end in a line break
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["chestxray14", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _ids(datalist: dict[str, Any]) -> dict[str, list[str]]:
    splits = ("training", "validation", "test")
    return {split: [item["id"] for item in datalist[split]] for split in splits if split in datalist}


def test_every_field(release: Path, tmp_path: Path) -> None:
    datalist = prepared("chestxray14", release, tmp_path / "out", "--split", "official", "--boxes")
    subsets = [item.pop("subset") for item in datalist["training"]]
    assert sorted(subsets) == [[1, 10, 100], [100], [100], [100], [100]]
    assert datalist["training"][:2] == [
        {
            "id": "00000001_000",
            "image": "images_001/images/00000001_000.png",
            "patient": "1",
            "view": "PA",
            "label": [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        },
        {
            "id": "00000001_001",
            "image": "images_001/images/00000001_001.png",
            "patient": "1",
            "view": "AP",
            "label": [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        },
    ]
    assert [item["label"] for item in datalist["training"][2:]] == [
        [0] * 14,
        _multi_hot("Infiltration"),
        _multi_hot("Pleural_Thickening", "Hernia", "Effusion"),
    ]
    assert datalist["training"][3]["boxes"] == [[0, 0, 10, 20], [30, 40, 40, 60.25]]
    assert datalist["training"][3]["box_label"] == [3, 3]
    assert datalist["test"][0] == {
        "id": "00000004_000",
        "image": "images_012/images/00000004_000.png",
        "patient": "4",
        "view": "PA",
        "label": _multi_hot("Atelectasis", "Effusion"),
        "boxes": [[900, 10.5, 1024, 30.5], [225.085, 547.019, 311.864, 626.206]],
        "box_label": [2, 0],
        "size": [1024, 1024],
    }
    assert "boxes" not in datalist["test"][1]  # not annotated, which is not the same as no finding
    del datalist["training"], datalist["test"], datalist["sha256"], datalist["subsets"]
    assert datalist == {
        "name": "chestxray14",
        "modality": {"0": "CR"},
        "licence": "open (cite Wang et al., CVPR 2017)",
        "source": "ChestX-ray14, NIH Clinical Center (Data_Entry_2017_v2020.csv)",
        "image_root": release.as_posix(),
        "task": "classification",
        "classes": CLASSES,
        "multilabel": True,
        "box_classes": CLASSES[:8],
        "split": {"method": "official", "unit": "patient", "leak_checked": True, "leaks": {}},
        "published": {"items": 112120, "patients": 30805, "training": 86524, "test": 25596, "boxes": 984},
        "schema_version": 1,
        "numTraining": 5,
        "numValidation": 0,
        "numTest": 2,
    }
    assert len(load_datalist(tmp_path / "out" / "datalist.json", "training", check_files="all")) == 5


def test_our_split_keeps_the_official_test(release: Path, tmp_path: Path) -> None:
    datalist = prepared("chestxray14", release, tmp_path / "out", "--seed", "3")
    ids = _ids(datalist)
    assert ids["test"] == ["00000004_000", "00000005_000"]
    assert sorted(ids["training"] + ids["validation"]) == [name[:-4] for name, *_ in IMAGES[:5]]
    patients = {split: {name[:8] for name in names} for split, names in ids.items()}
    assert not patients["training"] & patients["validation"]
    assert datalist["split"] == {
        "method": "official test, the rest by share",
        "unit": "patient",
        "ratios": [0.9, 0.1],
        "seed": 3,
        "leak_checked": True,
    }
    assert "boxes" not in datalist["test"][0]
    assert "box_classes" not in datalist


def test_a_split_by_patient_needs_no_official_lists(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / "test_list.txt").unlink()
    error = _refused(release, capsys)
    assert "--root holds no test_list.txt, but BBox_List_2017.csv" in error
    assert "without the official lists only --split patient can be made" in error
    datalist = prepared("chestxray14", release, tmp_path / "out", "--split", "patient")
    ids = _ids(datalist)
    assert sorted(name for names in ids.values() for name in names) == [name[:-4] for name, *_ in IMAGES]
    assert all(len({name[:8] for name in names}) for names in ids.values())
    assert datalist["split"]["ratios"] == [0.7, 0.1, 0.2]


def test_grounding(release: Path, tmp_path: Path) -> None:
    datalist = prepared("chestxray14", release, tmp_path / "out", "--grounding")
    assert datalist["test"] == [
        {
            "id": "00000003_000-3",
            "image": "images_002/images/00000003_000.png",
            "patient": "3",
            "view": "PA",
            "phrase": "infiltration",
            "phrase_class": 3,
            "boxes": [[0, 0, 10, 20], [30, 40, 40, 60.25]],
            "size": [1024, 1024],
        },
        {
            "id": "00000004_000-0",
            "image": "images_012/images/00000004_000.png",
            "patient": "4",
            "view": "PA",
            "phrase": "atelectasis",
            "phrase_class": 0,
            "boxes": [[225.085, 547.019, 311.864, 626.206]],
            "size": [1024, 1024],
        },
        {
            "id": "00000004_000-2",
            "image": "images_012/images/00000004_000.png",
            "patient": "4",
            "view": "PA",
            "phrase": "pleural effusion",
            "phrase_class": 2,
            "boxes": [[900, 10.5, 1024, 30.5]],
            "size": [1024, 1024],
        },
    ]
    assert (datalist["task"], datalist["classes"]) == ("grounding", CLASSES[:8])
    assert datalist["published"] == {"boxes": 984, "images": 880}
    pairs = GroundedList(tmp_path / "out" / "datalist.json", BoxTruth()).pairs("test")
    assert [(pair["phrase"].texts, pair["phrase_class"]) for pair in pairs] == [
        (("infiltration",), 3),
        (("atelectasis",), 0),
        (("pleural effusion",), 2),
    ]


def test_the_older_table_with_a_last_comma(release: Path, tmp_path: Path) -> None:
    expected = prepared("chestxray14", release, tmp_path / "out")
    table = release / "Data_Entry_2017_v2020.csv"
    lines = [f"{line},".replace(",57,", ",057Y,") for line in table.read_text().splitlines()]
    table.unlink()
    (release / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    boxes = release / "BBox_List_2017.csv"
    header, *rows = boxes.read_text().splitlines()
    boxes.write_text("\n".join([header, *(f"{row},,," for row in rows)]) + "\n")
    older = prepared("chestxray14", release, tmp_path / "out", "--boxes")
    assert older.pop("source") == "ChestX-ray14, NIH Clinical Center (Data_Entry_2017.csv)"
    assert _ids(older) == _ids(expected)
    assert sum(len(item.get("boxes", [])) for split in _ids(older) for item in older[split]) == 4


def test_images_are_found_where_they_are(release: Path, tmp_path: Path) -> None:
    (release / "images").mkdir()
    (release / "images_001/images/00000002_000.png").rename(release / "images/00000002_000.png")
    (release / "images_012/images/00000005_000.png").rename(release / "images_012/00000005_000.png")
    datalist = prepared("chestxray14", release, tmp_path / "out", "--split", "official")
    paths = {item["id"]: item["image"] for split in _ids(datalist) for item in datalist[split]}
    assert paths["00000002_000"] == "images/00000002_000.png"
    assert paths["00000005_000"] == "images_012/00000005_000.png"
    assert paths["00000003_001"] == "images_002/images/00000003_001.png"


def test_missing_images(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "images_001/images/00000002_000.png").unlink()
    error = _refused(release, capsys)
    assert "Data_Entry_2017_v2020.csv line 4 (00000002_000.png): there is no such image in the folders images*" in error
    datalist = prepared("chestxray14", release, tmp_path / "out", "--split", "official", "--on-error", "skip")
    assert datalist["numTraining"] == 4
    assert "line 4 (00000002_000.png),there is no such image" in (tmp_path / "out" / "skipped.csv").read_text()
    for path in release.glob("images_*/images/*.png"):
        path.unlink()
    assert "--root holds no images in images_001/images" in _refused(release, capsys)


def test_without_images_the_official_folders_are_named(release: Path, tmp_path: Path) -> None:
    names = [f"{number:08d}_000.png" for number in range(1, 15_002)]
    rows = [f"{name},No Finding,0,{int(name[:8])},57,M,PA,2682,2749,0.1,0.1" for name in names]
    table = release / "Data_Entry_2017_v2020.csv"
    table.write_text("\n".join([HEADER, *reversed(rows)]) + "\n")  # the order of the names counts, not the file's
    datalist = prepared("chestxray14", release, tmp_path / "out", "--split", "patient", "--without-images")
    paths = {item["id"]: item["image"] for split in _ids(datalist) for item in datalist[split]}
    assert paths["00004999_000"] == "images_001/images/00004999_000.png"
    assert paths["00005000_000"] == "images_002/images/00005000_000.png"
    assert Counter(path[:10] for path in paths.values()) == {"images_001": 4999, "images_002": 10000, "images_003": 2}


def test_limit_counts_each_split(release: Path, tmp_path: Path) -> None:
    datalist = prepared("chestxray14", release, tmp_path / "out", "--split", "official", "--limit", "1")
    assert _ids(datalist) == {"training": ["00000001_000"], "test": ["00000004_000"]}
    assert datalist["limit"] == 1
    assert "published" not in datalist
    grounding = prepared("chestxray14", release, tmp_path / "out", "--grounding", "--limit", "2")
    assert _ids(grounding) == {"test": ["00000003_000-3", "00000004_000-0"]}


def test_an_image_in_neither_list(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "test_list.txt").write_text("00000004_000.png\n")
    assert "image 00000005_000.png: neither train_val_list.txt nor test_list.txt names it" in _refused(release, capsys)
    datalist = prepared("chestxray14", release, tmp_path / "out", "--split", "official", "--on-error", "skip")
    assert _ids(datalist)["test"] == ["00000004_000"]


def test_an_unknown_finding(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = release / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("Cardiomegaly|Emphysema", "Cardiomegaly|Gout"))
    error = _refused(release, capsys)
    assert "Data_Entry_2017_v2020.csv line 3 (00000001_001.png): it needs an image, a patient and finding" in error
    assert "not 'Cardiomegaly|Gout'" in error


def test_damaged_tables(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, boxes = release / "Data_Entry_2017_v2020.csv", release / "BBox_List_2017.csv"
    whole, all_boxes = table.read_text(), boxes.read_text()
    table.write_text(whole[:-30])
    assert "its last row has 10 of 11 cells; the file was cut off" in _refused(release, capsys)
    table.write_text(whole.replace("Patient ID", "Patient"))
    assert "there is no column 'Patient ID'; the columns are Image Index, Finding Labels" in _refused(release, capsys)
    table.write_text(whole)
    boxes.write_text(all_boxes[:-8])
    error = _refused(release, capsys, "--boxes")
    assert "BBox_List_2017.csv line 5: 00000003_000.png,Infiltrate,30,40,1 is no image with one of Atelectasis" in error
    assert "the file was cut off" in error
    boxes.write_text(all_boxes.replace("Bbox [x,y,w,h]", "x,y,w,h"))
    assert "its columns must be Image Index, Finding Label, Bbox [x, y, w, h], not" in _refused(
        release, capsys, "--boxes"
    )
    for wrong in ("900,10.5,126,20", "900,10.5,0,20", "900,10.5,-3,20", "900,10.5,x,20"):
        boxes.write_text(all_boxes.replace("900,10.5,124.4,20", wrong))
        assert "BBox_List_2017.csv line 2" in _refused(release, capsys, "--grounding")


def test_wrong_root(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = _refused(release / "images_001", capsys)
    assert "--root holds neither Data_Entry_2017_v2020.csv nor Data_Entry_2017.csv, but images" in error
    assert "there is no such folder; --root must hold Data_Entry_2017_v2020.csv" in _refused(tmp_path / "none", capsys)
    (release / "BBox_List_2017.csv").unlink()
    assert "--root holds no BBox_List_2017.csv" in _refused(release, capsys, "--boxes")


@pytest.fixture(scope="module")
def real_tables(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real tables, unpacked."""
    root = tmp_path_factory.mktemp("nih")
    for name in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"):
        (root / name).write_bytes(gzip.decompress((data_root / "labels" / f"{name}.gz").read_bytes()))
    return root


@pytest.mark.real
def test_the_real_table(real_tables: Path, tmp_path: Path) -> None:
    options = ("--without-images", "--split", "patient", "--boxes")
    datalist = prepared("chestxray14", real_tables, tmp_path / "out", *options)
    items = [item for split in ("training", "validation", "test") for item in datalist[split]]
    assert len(items) == 112_120
    assert len({item["patient"] for item in items}) == 30_805
    assert sum(len(item.get("boxes", [])) for item in items) == 984
    assert sum("boxes" in item for item in items) == 880
    assert Counter(item["view"] for item in items) == {"PA": 67_310, "AP": 44_810}
    positives = dict(zip(CLASSES, map(sum, zip(*(item["label"] for item in items), strict=True)), strict=True))
    assert (positives["Infiltration"], positives["Hernia"]) == (19_894, 227)
    assert sum(not any(item["label"]) for item in items) == 60_361
    folders = Counter(item["image"].partition("/")[0] for item in items)
    assert folders == {"images_001": 4_999, **{f"images_{k:03d}": 10_000 for k in range(2, 12)}, "images_012": 7_121}
    first = {min(item["id"] for item in items if item["image"].startswith(folder)) for folder in folders}
    assert {"00001336_000", "00003923_014", "00028173_003"} <= first


@pytest.mark.real
def test_the_real_boxes(real_tables: Path, tmp_path: Path) -> None:
    datalist = prepared("chestxray14", real_tables, tmp_path / "out", "--without-images", "--grounding")
    test = datalist["test"]
    assert sum(len(item["boxes"]) for item in test) == 984
    assert len({item["image"] for item in test}) == 880
    assert Counter(item["phrase"] for item in test) == {
        "atelectasis": 180,
        "pleural effusion": 153,
        "cardiomegaly": 146,
        "infiltration": 123,
        "pneumonia": 120,
        "pneumothorax": 98,
        "lung mass": 85,
        "lung nodule": 79,
    }
    found = next(item for item in test if item["id"] == "00013118_008-0")
    assert found["boxes"] == [[225.085, 547.019, 311.864, 626.206]]
