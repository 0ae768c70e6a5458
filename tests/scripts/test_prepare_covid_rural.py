"""The data list of COVID-Rural, from a small copy of its folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.transforms import Compose
from PIL import Image
from prepared import prepared

from bundle.data.labelled import labelled_items
from bundle.transforms.annotation import LoadMaskd
from bundle.transforms.radiograph import LoadRadiographd
from scripts.prepare import main

PATIENTS = [f"COVID-19-AR-1642412{number}" for number in range(5)]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Two days of each of five patients, and a radiograph without a mask."""
    root = tmp_path / "covid_rural_annot"
    for folder in ("jpgs", "pngs_masks"):
        (root / folder).mkdir(parents=True)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:10, 20:30] = 1
    for patient in PATIENTS:
        for day in ("02-11-2012", "02-13-2012"):
            name = f"{patient}_{day}-XR"
            Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(root / "jpgs" / f"{name}.jpg")
            (root / "jpgs" / f"{name}.json").write_text("{}")
            Image.fromarray(mask).save(root / "pngs_masks" / f"{name}.png")
    Image.new("RGB", (40, 30)).save(root / "jpgs" / f"{PATIENTS[0]}_02-15-2012-XR.jpg")
    return root


def _refused(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    out = root.parent / "refused"
    assert main(["covid_rural", "--root", str(root), "--out", str(out), *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def _ids(datalist: dict) -> list[str]:
    return [item["id"] for split in ("training", "validation", "test") for item in datalist.get(split, [])]


def test_every_field(release: Path) -> None:
    out = release.parent / "out"
    datalist = prepared("covid_rural", release, out)
    assert [len(datalist[split]) for split in ("training", "validation", "test")] == [6, 2, 2]
    assert datalist["test"][0]["patient"] == datalist["test"][1]["patient"]
    item = datalist["test"][0]
    name = f"{item['patient']}_02-11-2012-XR"
    assert item == {
        "id": name,
        "image": f"jpgs/{name}.jpg",
        "mask": f"pngs_masks/{name}.png",
        "patient": item["patient"],
    }
    assert {name.rpartition("_")[0] for name in _ids(datalist)} == set(PATIENTS)
    assert {key: datalist[key] for key in ("name", "task", "classes", "image_root", "filters", "published")} == {
        "name": "covid_rural",
        "task": "segmentation",
        "classes": ["opacity"],
        "image_root": release.as_posix(),
        "filters": {"radiograph without a mask": 1},
        "published": {"items": 221, "images": 221},
    }
    load = Compose([LoadRadiographd("image"), LoadMaskd("label", ["opacity"])])
    mask = load(labelled_items(out / "datalist.json", "test", "segmentation")[0])["label"]
    assert mask.shape == (1, 30, 40)
    assert mask.sum() == 50


def test_lists_of_medklip_leak_patients(release: Path) -> None:
    lists = release.parent / "lists"
    lists.mkdir()
    names = [f"{patient}_{day}-XR" for day in ("02-11-2012", "02-13-2012") for patient in PATIENTS]
    for name, chosen in (("train", names[:6]), ("valid", names[6:8]), ("test", names[8:])):
        (lists / f"{name}.csv").write_text("filepath\n" + "".join(f"{one}.jpg\n" for one in chosen))
    datalist = prepared("covid_rural", release, release.parent / "out", "--split", "lists", "--lists", str(lists))
    assert [len(datalist[split]) for split in ("training", "validation", "test")] == [6, 2, 2]
    assert datalist["split"]["leaks"] == {
        "training-validation": {"images": 0, "patients": 2},
        "training-test": {"images": 0, "patients": 2},
    }
    assert "published" not in datalist


def test_missing_files_and_limit(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (release / "jpgs" / f"{PATIENTS[1]}_02-11-2012-XR.jpg").unlink()
    assert "there is no image file" in _refused(release, capsys)
    datalist = prepared("covid_rural", release, release.parent / "out", "--on-error", "skip")
    assert len(_ids(datalist)) == 9
    assert PATIENTS[1] in (release.parent / "out" / "skipped.csv").read_text()
    first = prepared("covid_rural", release, release.parent / "first", "--limit", "2")
    assert sorted(_ids(first)) == [f"{PATIENTS[0]}_{day}-XR" for day in ("02-11-2012", "02-13-2012")]
    (release / "pngs_masks" / "scan.png").touch()
    assert "pngs_masks/scan.png: its name does not have the form PATIENT_DAY-XR" in _refused(release, capsys)


def test_another_folder(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no table, only the files" in _refused(release, capsys, "--without-images")
    assert "--root holds no jpgs, but" in _refused(release / "jpgs", capsys)
    (release / "pngs_masks").rename(release / "masks")
    assert "--root holds no pngs_masks, but jpgs, masks" in _refused(release, capsys)
    (release / "pngs_masks").mkdir()
    assert "there is no mask" in _refused(release, capsys)
