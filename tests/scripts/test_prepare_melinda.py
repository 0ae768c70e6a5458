"""The data list of MELINDA, from small tables in the official layout with invented figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prepared import prepared

from bundle.data.datalist import load_datalist
from scripts.prepare import main

pytestmark = pytest.mark.filterwarnings("ignore:.*name no patient")

HEADER = "figure_file,caption,i_meth,p_meth,i_meth_label,p_meth_label\n"
TABLES = {
    "train": (
        'a_1.jpg,"Western blot,\n lanes 1 to 3.",anti tag coip,western blot,coimmunoprecipitation,western\n'
        "a_1.jpg,The same figure again.,pull down,autoradiography,pull down,autorad\n"
        "b_1.jpg,,pull down,western blot,pull down,western\n"  # no caption
        "c_1.jpg,Autoradiogram.,pull down,autoradiography,pull down,autorad\n"
    ),
    "dev": "d_1.jpg,Colours.,two hybrid,fluorescence,two hybrid,fluorescence\n",
    "test": "e_1.jpg,A blot.,anti tag coip,western blot,coimmunoprecipitation,western\n",
}
FIGURES = ("a_1", "b_1", "c_1", "d_1", "e_1")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Tables and figures; the figures are empty files, since the list only names them."""
    root = tmp_path / "melinda"
    (root / "melinda_images").mkdir(parents=True)
    for name in FIGURES:
        (root / "melinda_images" / f"{name}.jpg").touch()
    for name, rows in TABLES.items():
        (root / f"{name}.csv").write_text(HEADER + rows)
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["melinda", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _labels(datalist: dict[str, Any]) -> dict[str, int]:
    return {item["id"]: item["label"] for split in ("training", "validation", "test") for item in datalist[split]}


def test_every_field(release: Path, tmp_path: Path) -> None:
    datalist = prepared("melinda", release, tmp_path / "out")
    assert [{**item, "subset": None} for item in datalist["training"]] == [
        {
            "id": "a_1.jpg",
            "image": "melinda_images/a_1.jpg",
            "caption": "Western blot, lanes 1 to 3.",
            "label": 2,
            "subset": None,
        },
        {
            "id": "a_1.jpg#2",
            "image": "melinda_images/a_1.jpg",
            "caption": "The same figure again.",
            "label": 0,
            "subset": None,
        },
        {"id": "c_1.jpg", "image": "melinda_images/c_1.jpg", "caption": "Autoradiogram.", "label": 0, "subset": None},
    ]
    keys = ("name", "task", "target", "classes", "multilabel", "image_root", "split", "filters")
    assert {key: datalist[key] for key in keys} == {
        "name": "melinda",
        "task": "classification",
        "target": "p_meth_label",
        "classes": ["autorad", "fluorescence", "western"],
        "multilabel": False,
        "image_root": str(release),
        "split": {"method": "official", "unit": "image", "leak_checked": True, "leaks": {}},
        "filters": {"figure without a caption": 1},
    }
    assert [len(datalist[split]) for split in ("validation", "test")] == [1, 1]
    assert len(load_datalist(tmp_path / "out" / "datalist.json", "training", check_files="all")) == 3


@pytest.mark.parametrize(
    ("target", "classes", "labels"),
    [
        ("i_meth_label", ["coimmunoprecipitation", "pull down", "two hybrid"], [0, 1, 1, 2, 0]),
        ("p_meth", ["autoradiography", "fluorescence", "western blot"], [2, 0, 0, 1, 2]),
        ("i_meth", ["anti tag coip", "pull down", "two hybrid"], [0, 1, 1, 2, 0]),
    ],
)
def test_targets(release: Path, tmp_path: Path, target: str, classes: list[str], labels: list[int]) -> None:
    datalist = prepared("melinda", release, tmp_path / "out", "--target", target)
    assert datalist["classes"] == classes
    names = ["a_1.jpg", "a_1.jpg#2", "c_1.jpg", "d_1.jpg", "e_1.jpg"]
    assert _labels(datalist) == dict(zip(names, labels, strict=True))


def test_limit_keeps_the_classes(release: Path, tmp_path: Path) -> None:
    datalist = prepared("melinda", release, tmp_path / "out", "--limit", "2")
    assert [item["id"] for item in datalist["training"]] == ["a_1.jpg", "a_1.jpg#2"]
    assert datalist["classes"] == ["autorad", "fluorescence", "western"]
    assert datalist["limit"] == 2


def test_a_figure_in_two_splits_is_declared(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = release / "test.csv"
    path.write_text(path.read_text().replace("e_1.jpg", "c_1.jpg"))
    datalist = prepared("melinda", release, tmp_path / "out")
    assert datalist["test"][0]["id"] == "c_1.jpg#2"
    assert datalist["split"]["leaks"] == {"training-test": {"images": 1, "patients": 0}}
    assert "training and test of this published split share 1 images" in capsys.readouterr().out


def test_missing_figures_are_skipped_and_listed(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = release / "melinda_images" / "c_1.jpg"
    missing.unlink()
    assert f"item c_1.jpg: there is no image file {missing}" in _refused(release, capsys)
    datalist = prepared("melinda", release, tmp_path / "out", "--on-error", "skip")
    assert "c_1.jpg" not in _labels(datalist)
    assert (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1].startswith("item c_1.jpg,")
    assert "c_1.jpg" in _labels(prepared("melinda", release, tmp_path / "all", "--without-images"))


def test_errors(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--root holds no train.csv, but a_1.jpg, b_1.jpg" in _refused(release / "melinda_images", capsys)
    path = release / "dev.csv"
    whole = path.read_text()
    path.write_text(whole.replace("p_meth_label", "p_label"))
    assert f"{path}: there is no column 'p_meth_label'; the columns are figure_file" in _refused(release, capsys)
    path.write_text(whole[: whole.index(",two hybrid,fluorescence")])
    assert f"{path}: its last row has 2 of 6 cells; the file was cut off, download it again" in _refused(
        release, capsys
    )
    path.write_text(whole.replace("fluorescence\n", "\n"))
    assert f"{path} row 2: its p_meth_label is empty" in _refused(release, capsys)
    path.rename(release / "validation.csv")
    assert "--root holds no dev.csv, but melinda_images, test.csv, train.csv, validation.csv" in _refused(
        release, capsys
    )
