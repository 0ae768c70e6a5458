"""Data lists from tables of pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from bundle.data.datalist import load_datalist, read_datalist
from scripts.prepare import main


def _picture(path: Path, seed: int, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 10), dtype=np.uint8)
    picture = cv2.resize(coarse, (100, 120), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _table(folder: Path, rows: list[dict[str, Any]], name: str = "pairs.csv") -> Path:
    path = folder / name
    frame = pd.DataFrame(rows)
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


def _rows(folder: Path, count: int = 20, **columns: Any) -> list[dict[str, Any]]:
    """Rows with pictures of their own; two rows a patient; what is given replaces or, as None, removes a column."""
    rows = []
    for number in range(count):
        _picture(folder / f"images/{number}.jpg", seed=number)
        row = {
            "image": f"images/{number}.jpg",
            "report": f"Report number {number} is here.",
            "patient_id": f"{number // 2:03d}",
            "view": "PA",
        }
        row.update({name: value(number) if callable(value) else value for name, value in columns.items()})
        rows.append({name: value for name, value in row.items() if value is not None})
    return rows


def _prepare(table: Path, out: Path, *options: str) -> dict[str, Any]:
    assert main(["pairs", "--table", str(table), "--out", str(out), "--workers", "1", *options]) == 0
    return read_datalist(out / "datalist.json")


def _items(datalist: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for split in ("training", "validation", "test") for item in datalist.get(split, [])]


def _refused(table: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["pairs", "--table", str(table), "--out", str(out), "--workers", "1", *options]) == 2
    assert not out.exists()
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_items_and_header(tmp_path: Path) -> None:
    datalist = _prepare(_table(tmp_path, _rows(tmp_path, study=lambda n: f"s{n}")), tmp_path / "out", "--seed", "5")
    assert datalist["name"] == "pairs"
    assert datalist["image_root"] == str(tmp_path)
    assert datalist["split"] == {
        "method": "share", "unit": "patient", "ratios": [0.8, 0.1, 0.1], "seed": 5, "leak_checked": True,
    }  # fmt: skip
    assert (datalist["numTraining"], datalist["numValidation"], datalist["numTest"]) == (16, 2, 2)
    assert datalist["subsets"]["10"] == {"seed": 5, "n": 1}
    items = {item["id"]: item for item in _items(datalist)}
    assert len(items) == 20
    subset = items["images/3"].pop("subset", None)
    assert subset is None or 100 in subset
    assert items["images/3"] == {
        "id": "images/3",
        "image": "images/3.jpg",
        "patient": "001",
        "study": "s3",
        "view": "PA",
        "text": "Report number 3 is here.",
    }
    assert len(load_datalist(tmp_path / "out" / "datalist.json", "training", check_files="all")) == 16


def test_same_bytes_every_time(tmp_path: Path) -> None:
    table = _table(tmp_path, _rows(tmp_path))
    _prepare(table, tmp_path / "one")
    _prepare(table, tmp_path / "two", "--workers", "3")
    assert (tmp_path / "one/datalist.json").read_bytes() == (tmp_path / "two/datalist.json").read_bytes()


def test_named_columns_sections_and_another_root(tmp_path: Path) -> None:
    rows = [
        {
            "file": f"{number}.jpg",
            "words": f"TECHNIQUE: PA.\n\nFINDINGS: Clear  lungs.\r\nIMPRESSION: Case {number}.",
            "person": number // 2,
            "split": "training",
        }
        for number in range(6)
    ]
    for number in range(6):
        _picture(tmp_path / f"pictures/{number}.jpg", seed=number)
    (tmp_path / "lists").mkdir()
    datalist = _prepare(
        _table(tmp_path / "lists", rows, "t.parquet"),
        tmp_path / "out",
        *("--root", str(tmp_path / "pictures"), "--image-column", "file", "--text-column", "words", "--sections"),
        *("--patient-column", "person"),
    )
    assert datalist["image_root"] == str(tmp_path / "pictures")
    assert datalist["split"] == {"method": "column", "unit": "patient", "leak_checked": True}
    assert {key: datalist["training"][4][key] for key in ("id", "patient", "findings", "impression")} == {
        "id": "4",
        "patient": "2",
        "findings": "Clear lungs.",
        "impression": "Case 4.",
    }
    assert "text" not in datalist["training"][4]


def test_findings_and_impression_columns(tmp_path: Path) -> None:
    columns = {"report": None, "findings": lambda n: "" if n == 0 else "Both lungs are clear.", "impression": "Normal."}
    datalist = _prepare(_table(tmp_path, _rows(tmp_path, 6, **columns)), tmp_path / "out", "--min-words", "1")
    items = {item["id"]: item for item in _items(datalist)}
    assert "findings" not in items["images/0"]
    assert items["images/0"]["impression"] == "Normal."
    assert items["images/1"]["findings"] == "Both lungs are clear."


def test_absolute_windows_and_untidy_paths(tmp_path: Path) -> None:
    def path(number: int) -> str:
        return (f"{tmp_path}/images/{number}.jpg", rf"images\{number}.jpg", f"./images//{number}.jpg")[number % 3]

    datalist = _prepare(_table(tmp_path, _rows(tmp_path, 6, image=path)), tmp_path / "out")
    assert sorted(item["image"] for item in _items(datalist)) == [f"images/{number}.jpg" for number in range(6)]


VIEWS = ["PA", "AP", "AP Supine", "ap erect", "LATERAL", "LL", "L", "Frontal", "antero-posterior", ""]


def test_views(tmp_path: Path) -> None:
    table = _table(tmp_path, _rows(tmp_path, len(VIEWS), view=lambda n: VIEWS[n]))
    items = {item["id"]: item.get("view") for item in _items(_prepare(table, tmp_path / "all"))}
    found = [items[f"images/{number}"] for number in range(len(VIEWS))]
    assert found == ["PA", "AP", "AP", "AP", "L", "L", "L", None, "AP", None]
    frontal = _prepare(table, tmp_path / "frontal", "--views", "PA", "AP")
    assert {item["view"] for item in _items(frontal)} == {"PA", "AP"}
    assert frontal["filters"] == {"view not PA or AP": 5}
    assert len(_items(_prepare(table, tmp_path / "unknown", "--views", "PA", "AP", "unknown"))) == 7


def test_short_reports_are_counted(tmp_path: Path) -> None:
    table = _table(tmp_path, _rows(tmp_path, report=lambda n: "No change." if n < 5 else "Still no change."))
    datalist = _prepare(table, tmp_path / "out")
    assert len(_items(datalist)) == 15
    assert datalist["filters"] == {"report of fewer than 3 words": 5}


def test_no_patients_split_by_study_or_image(tmp_path: Path) -> None:
    by_study = _table(tmp_path, _rows(tmp_path, patient_id=None, study=lambda n: n // 5))
    with pytest.warns(UserWarning, match="20 items name no patient"):
        datalist = _prepare(by_study, tmp_path / "study", "--validation", "0.25", "--test", "0.25")
    assert datalist["split"]["unit"] == "study"
    assert datalist["split"]["leak_checked"] is False
    assert sorted(item["study"] for item in datalist["test"]) == [datalist["test"][0]["study"]] * 5
    by_image = _table(tmp_path, _rows(tmp_path, patient_id=None))
    with pytest.warns(UserWarning, match="20 items name no patient"):
        assert _prepare(by_image, tmp_path / "image")["split"]["unit"] == "image"


def test_same_image_under_two_patients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = _rows(tmp_path, 40)
    for number, other in ((0, 38), (38, 20)):  # patients 000, 019 and 010, in other qualities
        _picture(tmp_path / f"images/{other}.jpg", seed=0, quality=60 + number)
    table = _table(tmp_path, rows)
    for seed in range(6):
        datalist = _prepare(table, tmp_path / str(seed), "--validation", "0.3", "--test", "0.3", "--seed", str(seed))
        assert datalist["split"]["joined"] == [["000", "010", "019"]]
        patients = [{item["patient"] for item in datalist[split]} for split in ("training", "validation", "test")]
        assert sum(bool(held & {"000", "010", "019"}) for held in patients) == 1
    assert (
        "warning: 3 patients share an image; they are taken for one person and kept in one split"
        in capsys.readouterr().out
    )
    assert "joined" not in _prepare(table, tmp_path / "trusting", "--trust-patients")["split"]


BAD_TABLES = [
    (
        {"image": None},
        (),
        "no column with the image was recognised; name it with --image-column; the columns are report",
    ),
    ({"report": None}, (), "no column with the text was recognised; name it with --text-column, --findings-column or"),
    ({"report": ""}, (), "no column with the text was recognised"),
    ({"report": ""}, ("--text-column", "report"), "the column 'report' is empty"),
    ({}, ("--patient-column", "mrn"), "there is no column 'mrn'; the columns are image, report, patient_id, view"),
    ({"report": lambda n: "" if n == 3 else "Clear lungs today."}, (), r"row 5 (images/3.jpg): its report is empty"),
    ({"patient_id": lambda n: "" if n == 3 else "1"}, (), "row 5 (images/3.jpg): its patient is empty"),
    ({"image": lambda n: "" if n == 3 else f"images/{n}.jpg"}, (), "row 5 (no image): its image is empty"),
    ({"image": lambda n: f"images/{min(n, 18)}.jpg"}, (), "row 21 (images/18.jpg): its id 'images/18' is also that of"),
    (
        {"id": lambda n: n, "image": lambda n: f"images/{min(n, 18)}.jpg"},
        (),
        "its image 'images/18.jpg' is also that of",
    ),
    ({"image": lambda n: f"images/{n}.png"}, (), "row 2 (images/0.png): there is no image file"),
    ({"image": "../x.jpg"}, (), "row 2 (../x.jpg): its image lies outside"),
    ({}, ("--sections",), "its report has no text under a header for findings or impression"),
    (
        {"split": lambda n: "train" if n % 2 else "test"},
        (),
        "it is in training, but an earlier row of its patient 000 is in",
    ),
    ({"split": "holdout"}, (), "row 2 (images/0.jpg): its split 'holdout' is none of train, training, val"),
    ({"patient_id": "one"}, (), "There are only 1 patients or groups"),
    ({}, ("--validation", "0.5", "--test", "0.5"), "must leave something for training"),
    ({}, ("--views", "L"), "no item is left for the data list; left out: 20 (view not L)"),
]


@pytest.mark.parametrize(("columns", "options", "reason"), BAD_TABLES)
def test_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], columns: dict[str, Any], options: tuple[str, ...], reason: str
) -> None:
    table = _table(tmp_path, _rows(tmp_path, **columns))
    assert reason in _refused(table, tmp_path / "out", capsys, *options)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", b"", "not a readable table (No columns"),
        ("t.csv", b"image,report\n", "has no rows"),
        ("t.csv", b"image, image\na,b\n", "two columns of one name"),
        ("t.csv", b'image,report\n"a,b\n', "the file was cut off"),
        ("t.csv", b"image,report\na,b\nc\n", "its last row has 1 of 2 cells"),
        ("t.parquet", b"PAR1", "not a readable table"),
        ("t.csv", b"image,report\n\xff\xfe,x\n", "isn't UTF-8"),
        ("t.csv.gz", b"no gzip", "can't be read"),
        ("t.parquet", b"no parquet", "not a readable table"),
        ("t.xlsx", b"", "must be a .csv, .tsv or .parquet file"),
    ],
)
def test_unreadable_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    error = _refused(tmp_path / name, tmp_path / "out", capsys)
    assert reason in error
    assert name in error


def test_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none.csv: the table can't be read (No such file" in _refused(
        tmp_path / "none.csv", tmp_path / "out", capsys
    )


def test_byte_order_mark_and_tabs(tmp_path: Path) -> None:
    rows = _rows(tmp_path, 6)
    (tmp_path / "t.tsv").write_text(pd.DataFrame(rows).to_csv(index=False, sep="\t"), encoding="utf-8-sig")
    assert len(_items(_prepare(tmp_path / "t.tsv", tmp_path / "out"))) == 6


def test_unusable_rows_are_skipped_counted_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = _rows(tmp_path, split=lambda n: "test" if n >= 16 else "train")
    rows[2]["report"] = ""
    rows[4]["image"] = "images/none.jpg"
    rows[6]["image"] = "images/7.jpg"  # the next row's
    rows[9]["split"] = "test"
    (tmp_path / "images/11.jpg").write_bytes(b"no picture")
    datalist = _prepare(_table(tmp_path, rows), tmp_path / "out", "--on-error", "skip")
    assert len(datalist["training"]) == 11
    assert len(datalist["test"]) == 4
    skipped = pd.read_csv(tmp_path / "out" / "skipped.csv")
    assert len(skipped) == 5
    reasons = dict(
        zip(skipped["item"].str.extract(r"row (\d+)", expand=False).astype(int), skipped["reason"], strict=True)
    )
    assert reasons[4] == "its report is empty"
    assert reasons[6].startswith("there is no image file")
    assert reasons[9].startswith("its id 'images/7' is also that of")
    assert reasons[11] == "it is in test, but an earlier row of its patient 004 is in training"
    assert "11.jpg" in reasons[13]
    assert "unusable and skipped: 5" in capsys.readouterr().out


def test_limit_reads_the_first_rows(tmp_path: Path) -> None:
    datalist = _prepare(_table(tmp_path, _rows(tmp_path)), tmp_path / "out", "--limit", "8")
    assert sorted(item["id"] for item in _items(datalist)) == [f"images/{number}" for number in range(8)]


@pytest.mark.real
def test_real_pairs(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = _prepare(data_root / "cxr_pairs" / "pairs.csv", tmp_path / "out")
    items = _items(datalist)
    assert len(items) == 156
    assert len({item["patient"] for item in items}) == 91
    assert datalist["split"]["joined"] == [["178", "97"]]
    assert {item["view"] for item in items} == {"PA", "AP"}
    assert sum(item["view"] == "AP" for item in items) == 59  # 33 "AP" and 26 "AP Supine"
    patients = [{item["patient"] for item in datalist[split]} for split in ("training", "validation", "test")]
    assert sum(map(len, patients)) == 91
    assert sum(bool(held & {"97", "178"}) for held in patients) == 1
    assert {"97", "178"} <= next(held for held in patients if "97" in held)
    table = pd.read_csv(data_root / "cxr_pairs" / "pairs.csv", dtype=str).set_index("image")
    assert all(item["text"] == " ".join(table.loc[item["image"], "report"].split()) for item in items)
    assert "2 patients share an image" in capsys.readouterr().out
    json.dumps(load_datalist(tmp_path / "out" / "datalist.json", check_files="all"))
