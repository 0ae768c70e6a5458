"""The data list of Open-i, from a small archive in the official layout with invented content, and from the real one."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from bundle.data.datalist import load_datalist
from bundle.data.errors import DataError
from scripts.prepare import main
from scripts.preparing.record import Record
from scripts.releases.mesh_findings import FINDINGS, find_findings
from scripts.releases.openi_reports import read_openi_reports

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

_REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><meta type="rr"/><uId id="CXR{number}"/>
<MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">Cough, XXXX.</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION">{impression}</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH>{terms}</MeSH>{images}
</eCitation>
"""


def _report(number: int, images: int, findings: str, impression: str, terms: str) -> str:
    nodes = "".join(
        f'<parentImage id="CXR{number}_IM-{number:04d}-{image}001"><caption>PA</caption></parentImage>'
        for image in range(1, images + 1)
    )
    return _REPORT.format(number=number, findings=findings, impression=impression, terms=terms, images=nodes)


REPORTS = {
    "1": _report(1, 2, "Lungs are\n   clear. XXXX normal.", "Normal chest.", "<major>normal</major>"),
    "10": _report(10, 1, "", "Left &amp; right effusion.", "<automatic>Pleural Effusions</automatic><major>a</major>"),
    "2": _report(2, 1, "Rib fracture.", "", "<major>No Indexing</major>"),
    "3": _report(3, 2, "", "", "<major>normal</major>"),  # no text
    "4": _report(4, 0, "Clear.", "Normal.", "<major>normal</major>"),  # no image
    **{str(n): _report(n, 1, f"Report {n}.", "", "<major>normal</major>") for n in range(20, 28)},
}


def _archive(path: Path, reports: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("ecgen-radiology")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, text in reports.items():
            member = tarfile.TarInfo(f"ecgen-radiology/{name}.xml")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The reports' archive and the unpacked images, which are empty files, since the list only names them."""
    root = tmp_path / "openi"
    (root / "NLMCXR_png").mkdir(parents=True)
    _archive(root / "NLMCXR_reports.tgz", REPORTS)
    for report in read_openi_reports(root / "NLMCXR_reports.tgz", Record()):
        for image in report.images:
            (root / "NLMCXR_png" / f"{image}.png").touch()
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["openi", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _items(datalist: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for split in ("training", "validation", "test") for item in datalist.get(split, [])}


def test_every_field(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = prepared("openi", release, tmp_path / "out", "--labels", "--split", "zero_shot")
    nothing = [0] * len(FINDINGS)
    effusion = [int(name == "Effusion") for name in FINDINGS]
    normal = {"findings": "Lungs are clear. XXXX normal.", "impression": "Normal chest.", "label": nothing}
    assert datalist["test"][:4] == [
        {"id": "CXR1_IM-0001-1001", "image": "CXR1_IM-0001-1001.png", "study": "CXR1", **normal},
        {"id": "CXR1_IM-0001-2001", "image": "CXR1_IM-0001-2001.png", "study": "CXR1", **normal},
        # nobody looked for findings: no label
        {"id": "CXR2_IM-0002-1001", "image": "CXR2_IM-0002-1001.png", "study": "CXR2", "findings": "Rib fracture."},
        {
            "id": "CXR10_IM-0010-1001",
            "image": "CXR10_IM-0010-1001.png",
            "study": "CXR10",
            "impression": "Left & right effusion.",
            "label": effusion,
        },
    ]
    assert {key: datalist[key] for key in ("name", "classes", "multilabel", "image_root", "split", "filters")} == {
        "name": "openi",
        "classes": list(FINDINGS),
        "multilabel": True,
        "image_root": str(release / "NLMCXR_png"),
        "split": {"method": "zero_shot", "unit": "study", "leak_checked": True},
        "filters": {"image whose report has neither findings nor impression": 2, "report without an image": 1},
    }
    assert "training" not in datalist
    assert datalist["published"] == {"items": 7470, "images": 7470}
    printed = capsys.readouterr().out
    assert "reports: 13, with findings: 11, with impression: 3, images named: 14\n" in printed
    assert len(load_datalist(tmp_path / "out/datalist.json", "test", check_files="all")) == 12


def test_our_split_keeps_a_report_in_one_part(release: Path, tmp_path: Path) -> None:
    datalist = prepared("openi", release, tmp_path / "out")
    studies = {split: {item["study"] for item in datalist[split]} for split in ("training", "validation", "test")}
    assert {split: len(names) for split, names in studies.items()} == {"training": 8, "validation": 1, "test": 2}
    assert len(set.union(*studies.values())) == 11
    assert datalist["split"]["unit"] == "study"
    assert not any("label" in item for item in _items(datalist).values())
    assert "classes" not in datalist
    assert _items(prepared("openi", release, tmp_path / "seed", "--seed", "1")).keys() == _items(datalist).keys()


def test_unpacked_reports_give_the_same_list(release: Path, tmp_path: Path) -> None:
    expected = prepared("openi", release, tmp_path / "out", "--labels")
    with tarfile.open(release / "NLMCXR_reports.tgz") as archive:
        archive.extractall(release, filter="data")
    (release / "NLMCXR_reports.tgz").unlink()
    assert prepared("openi", release, tmp_path / "again", "--labels") == expected


def test_where_the_images_are(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "NLMCXR_png").rename(tmp_path / "elsewhere")
    assert "there are no PNG files; unpack NLMCXR_png.tgz there, name their folder with --images" in _refused(
        release, capsys
    )
    without = prepared("openi", release, tmp_path / "without", "--without-images")
    assert without["image_root"] == str(release)
    named = prepared("openi", release, tmp_path / "named", "--images", str(tmp_path / "elsewhere"))
    assert named["image_root"] == str(tmp_path / "elsewhere")
    for image in (tmp_path / "elsewhere").iterdir():
        image.rename(release / image.name)
    beside = prepared("openi", release, tmp_path / "beside")
    assert beside["image_root"] == str(release)
    assert beside["training"] == named["training"] == without["training"]


def test_missing_images_are_skipped_and_listed(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / "NLMCXR_png/CXR1_IM-0001-2001.png").unlink()
    error = _refused(release, capsys)
    assert "item CXR1_IM-0001-2001: there is no image file" in error
    datalist = prepared("openi", release, tmp_path / "out", "--on-error", "skip", "--split", "zero_shot")
    assert len(datalist["test"]) == 11
    assert "CXR1_IM-0001-2001" in (tmp_path / "out/skipped.csv").read_text()


def test_limit(release: Path, tmp_path: Path) -> None:
    datalist = prepared("openi", release, tmp_path / "out", "--limit", "3", "--split", "zero_shot")
    assert [item["study"] for item in datalist["test"]] == ["CXR1", "CXR1", "CXR2"]
    assert datalist["limit"] == 3
    assert "published" not in datalist


def test_files_that_are_no_reports(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = {"5": "<eCitation><uId", "6": "<eCitation/>", "7": '<eCitation><uId id="CXR7"/></eCitation>'}
    _archive(release / "NLMCXR_reports.tgz", REPORTS | broken)
    assert "NLMCXR_reports.tgz: ecgen-radiology/5.xml: it isn't XML" in _refused(release, capsys)
    prepared("openi", release, tmp_path / "out", "--on-error", "skip")
    skipped = (tmp_path / "out/skipped.csv").read_text()
    assert "6.xml,it is no report of Open-i: it has no <uId id=...>" in skipped
    assert "7.xml,it is no report of Open-i: no <AbstractText Label=...> is FINDINGS or IMPRESSION" in skipped


def test_a_cut_off_archive(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = release / "NLMCXR_reports.tgz"
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert "NLMCXR_reports.tgz: the archive can't be read" in _refused(release, capsys)
    for size in range(0, len(content), 7):  # never fewer reports without a word
        archive.write_bytes(content[:size])
        assert _count(archive) in (None, len(REPORTS))
    _archive(archive, {})
    assert "there is no report in it; expected were files such as ecgen-radiology/1.xml" in _refused(release, capsys)


def _count(archive: Path) -> int | None:
    try:
        return len(read_openi_reports(archive, Record()))
    except DataError:
        return None


def test_wrong_root(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = _refused(release / "NLMCXR_png", capsys)
    assert "--root holds neither NLMCXR_reports.tgz nor ecgen-radiology, but CXR10_IM-0010-1001.png" in error
    assert "there is no such folder; --root must hold NLMCXR_reports.tgz" in _refused(release / "nowhere", capsys)


@pytest.mark.parametrize(
    ("term", "findings"),
    [
        ("bilateral pleural effusion", {"Effusion"}),
        ("Pulmonary Atelectasis", {"Atelectasis"}),
        ("atelectases", {"Atelectasis"}),
        ("infiltrates", {"Infiltration"}),
        ("Rib Fractures", {"Fracture"}),
        ("calcified granuloma", {"Calcified Granuloma", "Granuloma"}),
        ("Pleural Thickening", {"Pleural Thickening"}),
        ("opacity", {"Lung Opacity"}),
        ("Thoracic Aorta", set()),
    ],
)
def test_findings_in_terms(term: str, findings: set[str]) -> None:
    assert {name for name, there in zip(FINDINGS, find_findings([term]), strict=True) if there} == findings


@pytest.mark.real
def test_the_real_archive(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datalist = prepared("openi", data_root / "reports", tmp_path / "out", "--without-images", "--labels")
    printed = capsys.readouterr().out
    assert "reports: 3955, with findings: 3425, with impression: 3921, images named: 7470\n" in printed
    items = _items(datalist)
    assert len(items) == 7430
    assert datalist["filters"] == {
        "image whose report has neither findings nor impression": 40,
        "report without an image": 104,
    }
    assert len({item["study"] for item in items.values()}) == 3826
    assert items["CXR1_1_IM-0001-3001"]["impression"] == "Normal chest x-XXXX."
    labels = [item["label"] for item in items.values() if "label" in item]
    assert len(labels) == 7279
    assert dict(zip(datalist["classes"], map(sum, zip(*labels, strict=True)), strict=True)) == {
        **{"Atelectasis": 711, "Calcified Granuloma": 416, "Cardiomegaly": 493, "Edema": 144, "Effusion": 346},
        **{"Emphysema": 193, "Fibrosis": 39, "Fracture": 189, "Granuloma": 781, "Hernia": 97, "Infiltration": 174},
        **{"Lung Lesion": 7, "Mass": 13, "Nodule": 157, "Lung Opacity": 819, "Pleural Thickening": 68},
        **{"Pneumonia": 158, "Pneumothorax": 44},
    }
