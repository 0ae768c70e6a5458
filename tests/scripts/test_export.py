from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.bundle.utils import load_bundle_config
from PIL import Image
from safetensors.torch import save_file

from scripts.export import main


@pytest.fixture(scope="module")
def root(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundle with weights of the right names and random values."""
    copy = tmp_path_factory.mktemp("root") / "cxr"
    copy.mkdir()
    for name in ("bundle", "configs", "docs", "scripts"):
        shutil.copytree(repository / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CHANGELOG.md", "LICENSE", "README.md", "constraints.txt", "metadata.json", "requirements.txt"):
        shutil.copy(repository / name, copy / name)
    parser = ConfigParser()
    parser.read_config(str(repository / "configs" / "inference.json"))
    save_file(parser.get_parsed_content("network_def").state_dict(), copy.parent / "best.safetensors")
    assert main(["model", str(copy.parent / "best.safetensors"), "--out", str(copy / "models" / "model.pt")]) == 0
    return copy


def test_model_holds_the_weights_of_the_run(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run" / "models"
    run.mkdir(parents=True)
    shutil.copy(root.parent / "best.safetensors", run)
    assert main(["model", str(tmp_path / "run"), "--out", str(tmp_path / "model.pt")]) == 0
    written = torch.load(tmp_path / "model.pt", weights_only=True)
    expected = torch.load(root / "models" / "model.pt", weights_only=True)
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)


def test_archive_is_stamped_and_always_the_same(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "cxr_bundle.zip"
    assert main(["bundle", "--root", str(root), "--out", str(out)]) == 0
    first = out.read_bytes()
    assert main(["bundle", "--root", str(root), "--out", str(out)]) == 0
    assert out.read_bytes() == first
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        stamp = json.loads(archive.read("cxr_bundle/versions.json"))
    assert {name.split("/")[0] for name in names} == {"cxr_bundle"}
    assert {"cxr_bundle/configs/inference.json", "cxr_bundle/bundle/networks/nets/segmenter.py"} <= set(names)
    assert [name for name in names if "/tests/" in name or "__pycache__" in name] == []
    assert stamp["model_sha256"] == hashlib.sha256((root / "models" / "model.pt").read_bytes()).hexdigest()
    assert stamp["packages"]["monai"] == "1.6.1"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("models/epoch3.pt", "no part of a bundle"),
        ("bundle/chest.dcm", "no part of a bundle"),
        ("scripts/patients.csv", "no part of a bundle"),
        ("configs/datalist.json", "1.5 MB are too many"),
    ],
)
def test_stray_files_are_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str
) -> None:
    stray = root / name
    stray.write_bytes(b" " * 1_500_000)
    try:
        assert main(["bundle", "--root", str(root), "--out", str(tmp_path / "cxr.zip")]) == 2
    finally:
        stray.unlink()
    error = capsys.readouterr().err
    assert f"{stray}: " in error
    assert reason in error
    assert list(tmp_path.iterdir()) == []


def test_other_versions_are_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "configs" / "metadata.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"monai_version": "1.6.1"', '"monai_version": "1.5.0"'), encoding="utf-8")
    try:
        assert main(["bundle", "--root", str(root), "--out", str(tmp_path / "cxr.zip")]) == 2
    finally:
        path.write_text(text, encoding="utf-8")
    assert "it names monai 1.5.0, but 1.6.1 is installed here" in capsys.readouterr().err


def test_monai_reads_the_archive(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "cxr_bundle.zip"
    assert main(["bundle", "--root", str(root), "--out", str(out)]) == 0
    parser = load_bundle_config(str(out), "inference.json")
    assert parser["_meta_"]["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "lung"}
    assert parser["classes"] == ["lung"]


@pytest.mark.slow
def test_unpacked_elsewhere_it_segments(root: Path, tmp_path: Path) -> None:
    """As a user runs it; a file that is no image costs a sentence and the exit code."""
    out = tmp_path / "cxr_bundle.zip"
    assert main(["bundle", "--root", str(root), "--out", str(out)]) == 0
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path)
    films = tmp_path / "films"
    films.mkdir()
    pixels = np.random.default_rng(0).integers(1, 256, (90, 70), np.uint8)
    Image.fromarray(pixels).save(films / "film.png")
    (films / "text.png").write_text("no image")
    command = [sys.executable, "-m", "monai.bundle", "run", "inference", "--config_file", "configs/inference.json"]
    done = subprocess.run(
        [*command, "--dataset_dir", str(films), "--output_dir", str(tmp_path / "masks")],
        cwd=tmp_path / "cxr_bundle",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().endswith("error: 1 file could not be segmented; its reason is in the log above")
    assert f"{films / 'text.png'}: not a DICOM" in done.stdout + done.stderr
    with Image.open(tmp_path / "masks" / "film.png.seg.png") as mask:
        assert mask.size == (70, 90)
