"""The data list of MedICaT, from a small release in the official layout with invented content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from scripts.prepare import main

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

ANNOTATIONS = "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl"


def _figure(paper: str, number: int, radiology: bool = True, **fields: Any) -> dict[str, Any]:
    return {
        "pdf_hash": paper,
        "fig_key": f"Figure{number}",
        "fig_uri": f"{number}-Figure{number}-1.png",
        "s2_caption": f"Figure {number}. CT of the\n  abdomen of {paper}.",
        "s2orc_caption": "Not read.",
        "s2orc_references": None,
        "radiology": radiology,
        "scope": "http",
        "predicted_type": "Medical images",
        "oa_info": {"doi": "10.1/x"},
        **fields,
    }


FIGURES = [
    _figure("aa01", 1, s2orc_references=["See the scan (Fig. 1).", "Fig. 1", "See  the scan (Fig. 1)."]),
    _figure("aa01", 2, radiology=False),
    _figure("aa01", 3, s2_caption="Fig. 3", s2orc_references=["A mass is shown."]),
    _figure("bb02", 1, s2_caption=None),  # no text
    _figure("bb02", 2, s2orc_references=[]),
    *(_figure(f"cc{paper:02d}", number) for paper in range(20) for number in (1, 2)),
]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The unpacked archive; figures are empty files, since the list only names them."""
    root = tmp_path / "medicat"
    (root / "release/figures").mkdir(parents=True)
    (root / "release" / ANNOTATIONS).write_text("".join(f"{json.dumps(figure)}\n" for figure in FIGURES))
    for figure in FIGURES:
        (root / f"release/figures/{figure['pdf_hash']}_{figure['fig_uri']}").touch()
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["medicat", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _items(datalist: dict[str, Any]) -> dict[str, dict[str, Any]]:
    splits = (datalist.get(split, []) for split in ("training", "validation", "test"))
    return {item["id"]: {key: item[key] for key in ("image", "text")} for split in splits for item in split}


def test_every_field(release: Path, tmp_path: Path) -> None:
    datalist = prepared("medicat", release, tmp_path / "out")
    items = _items(datalist)
    assert len(items) == 43
    assert items["aa01_1-Figure1-1"] == {
        "image": "release/figures/aa01_1-Figure1-1.png",
        "text": ["Figure 1. CT of the abdomen of aa01.", "See the scan (Fig. 1)."],
    }
    assert items["aa01_3-Figure3-1"]["text"] == ["A mass is shown."]
    assert items["bb02_2-Figure2-1"]["text"] == ["Figure 2. CT of the abdomen of bb02."]
    assert datalist["image_root"] == str(release)
    assert datalist["filters"] == {"figure isn't radiology": 1, "no caption or mention of 3 words": 1}
    assert all(item.keys() == {"id", "image", "text", "subset"} for item in datalist["training"])


def test_figures_of_a_paper_stay_together(release: Path, tmp_path: Path) -> None:
    datalist = prepared("medicat", release, tmp_path / "out")
    papers = {
        split: {item["id"].split("_")[0] for item in datalist[split]} for split in ("training", "validation", "test")
    }
    assert sum(len(names) for names in papers.values()) == len(set.union(*papers.values())) == 22
    assert {split: len(datalist[split]) for split in papers} == {"training": 34, "validation": 4, "test": 5}
    assert datalist["split"] == {
        **{"method": "share", "unit": "paper", "ratios": [0.8, 0.1, 0.1], "seed": 0, "leak_checked": False}
    }


def test_words_and_a_root_within_the_release(release: Path, tmp_path: Path) -> None:
    datalist = prepared("medicat", release / "release", tmp_path / "out", "--min-words", "2")
    items = _items(datalist)
    assert items["aa01_3-Figure3-1"] == {
        "image": "figures/aa01_3-Figure3-1.png",
        "text": ["Fig. 3", "A mass is shown."],
    }


def test_missing_figures_are_skipped_and_listed(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (release / "release/figures/aa01_1-Figure1-1.png").unlink()
    assert "item aa01_1-Figure1-1: there is no image file" in _refused(release, capsys)
    assert len(_items(prepared("medicat", release, tmp_path / "out", "--on-error", "skip"))) == 42
    assert "aa01_1-Figure1-1" in (tmp_path / "out/skipped.csv").read_text()
    assert len(_items(prepared("medicat", release, tmp_path / "whole", "--without-images"))) == 43


def test_limit_reads_no_further(release: Path, tmp_path: Path) -> None:
    path = release / "release" / ANNOTATIONS
    path.write_text("\n".join(path.read_text().split("\n")[:12]) + "\nnot JSON\n")
    datalist = prepared("medicat", release, tmp_path / "out", "--limit", "7")
    assert len(_items(datalist)) == datalist["limit"] == 7


def test_damaged_annotations(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = release / "release" / ANNOTATIONS
    text = path.read_text()
    path.write_text(text[:-20])
    error = _refused(release, capsys)
    assert f"{ANNOTATIONS}: line 45 isn't JSON" in error
    assert "the file was cut off or damaged, unpack it again" in error
    path.write_text(text.replace("s2orc_references", "references"))
    error = _refused(release, capsys)
    assert "line 1: there is no field 's2orc_references'; the fields are pdf_hash, fig_key, fig_uri" in error
    path.write_text("[]\n")
    assert "line 1 isn't a JSON object" in _refused(release, capsys)
    path.write_bytes(b"\xff\xfe")
    assert "it can't be read" in _refused(release, capsys)


def test_wrong_root(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"--root holds neither release/{ANNOTATIONS} nor {ANNOTATIONS}, but medicat" in _refused(
        release.parent, capsys
    )
