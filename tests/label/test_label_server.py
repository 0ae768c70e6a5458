"""A MONAI Label server with this bundle: what it answers is direct inference, and it learns from what is annotated.

Needs the environment of `make label-setup`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from label_servers import MODEL, PYTHON, ROOT, Server, killed, served
from labelled_films import dice, direct, film, undecided_weights
from PIL import Image
from pretrained import pretrained_run
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from dicom_files import write_dicom

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PYTHON.is_file(), reason="needs MONAI Label's environment: run `make label-setup`"),
]

WHITE = 4095


def write_films(folder: Path) -> dict[str, Path]:
    """One film in every kind of file that the server knows, by the image's name."""
    pixels, _ = film(0)
    folder.mkdir()
    codes = pixels.astype(np.uint16) * 16
    paths = {}
    for name, kind in (("CR", ComputedRadiographyImageStorage), ("DX", DigitalXRayImageStorageForPresentation)):
        tags: dict[str, Any] = {"SOPClassUID": kind, "Modality": name, "PixelSpacing": [0.2, 0.3]}
        paths[f"{name}2"] = write_dicom(folder / f"{name}2.dcm", codes, **tags)
        tags["PhotometricInterpretation"] = "MONOCHROME1"
        paths[f"{name}1"] = write_dicom(folder / f"{name}1.dcm", WHITE - codes, **tags)
    for name in ("png.png", "jpg.jpg", "jpeg.jpeg"):
        paths[name.split(".")[0]] = folder / name
        Image.fromarray(pixels).save(folder / name)
    affine = np.diag([-0.3, -0.2, 1.0, 1.0])
    paths["flat"], paths["slice"] = folder / "flat.nii.gz", folder / "slice.nii.gz"
    nibabel.Nifti1Image(pixels.T, affine).to_filename(paths["flat"])
    nibabel.Nifti1Image(pixels.T[..., None], affine).to_filename(paths["slice"])
    return paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("label")


@pytest.fixture(scope="module")
def films(folder: Path) -> dict[str, Path]:
    return write_films(folder / "films")


@pytest.fixture(scope="module")
def weights(folder: Path, films: dict[str, Path]) -> Path:
    return undecided_weights(folder / "model.pt", films["png"])


@pytest.fixture(scope="module")
def server(folder: Path, films: dict[str, Path], weights: Path) -> Iterator[Server]:
    with served(folder / "films", folder / "workspace", ["--weights", weights]) as started:
        yield started


def test_info_names_the_model_its_labels_and_its_trainer(server: Server) -> None:
    info = server.get("/info/").json
    ports = json.loads((ROOT / "configs" / "metadata.json").read_text(encoding="utf-8"))["network_data_format"]
    channels = next(iter(ports["outputs"].values()))["channel_def"]
    labels = {name: int(number) for number, name in channels.items() if name != "background"}
    assert info["models"][MODEL]["labels"] == labels
    assert info["models"][MODEL]["dimension"] == 2
    assert list(info["trainers"]) == [MODEL]


def test_each_kind_of_file_gets_the_label_map_of_direct_inference(
    server: Server, films: dict[str, Path], weights: Path
) -> None:
    wanted = direct(films, weights)
    answers = {name: server.infer(name) for name in films}
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(films, 200)
    for name, answer in answers.items():
        assert 0.1 < wanted[name].mean() < 0.9, "an answer of one value could lie in any orientation"
        np.testing.assert_array_equal(answer.picture, wanted[name], err_msg=name)
    np.testing.assert_array_equal(wanted["CR1"], wanted["CR2"])


def test_map_of_a_slice_lies_where_the_slice_does(server: Server, films: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "map.nii.gz"
    path.write_bytes(server.infer("slice", suffix=".nii.gz").body)
    found, image = nibabel.Nifti1Image.from_filename(path), nibabel.Nifti1Image.from_filename(films["slice"])
    assert found.shape == image.shape
    np.testing.assert_allclose(found.affine, image.affine, atol=1e-6)


def short_dicom(path: Path) -> None:
    whole = write_dicom(path, film(0)[0].astype(np.uint16)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def volume(path: Path) -> None:
    nibabel.Nifti1Image(np.arange(32 * 32 * 9, dtype=np.int16).reshape(32, 32, 9), np.eye(4)).to_filename(path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "short.dcm": (short_dicom, "damaged or unsupported DICOM"),
    "text.png": (lambda path: path.write_text("no picture"), "not a DICOM, PNG, JPEG or NIfTI"),
    "volume.nii.gz": (volume, "one 2-D radiograph is needed"),
    "huge.png": (lambda path: Image.new("L", (20_000, 10_000)).save(path), "pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(server: Server, tmp_path: Path, name: str) -> None:
    write, reason = BAD[name]
    write(tmp_path / name)
    answer = server.infer(file=tmp_path / name)
    assert answer.status == 422
    assert reason in answer.json["detail"]
    assert server.infer("png").status == 200


def test_an_unknown_image_is_not_found(server: Server) -> None:
    answer = server.infer("nobody")
    assert (answer.status, "no image 'nobody'" in answer.json["detail"]) == (404, True)


def test_parallel_requests_get_the_same_answer(server: Server) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: server.infer("png"), range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1


def test_training_without_labels_says_what_is_missing(server: Server) -> None:
    assert server.start_training(1).status == 200
    state = server.trained()
    assert state["status"] == "ERROR"
    assert "save some labels" in "\n".join(state["details"])


def test_it_learns_from_labels_and_keeps_them_when_it_is_killed(folder: Path, weights: Path) -> None:
    studies, workspace = write_studies(folder / "annotated"), folder / "workspace_of_training"
    with served(studies, workspace, ["--weights", weights]) as server:
        before = mean_dice(server)
        after = learn(server, epochs=15)
        assert after > before + 0.1
        server.start_training(50)
        await_epoch(workspace, runs=2)
        killed(server)
    with served(studies, workspace, ["--weights", weights]) as server:
        assert server.get("/info/").json["datastore"]["completed"] == 10
        assert mean_dice(server) == after


def test_it_begins_with_a_pretraining_run(folder: Path, phantom_store: Path) -> None:
    run = pretrained_run(phantom_store, folder / "runs")[0]
    studies, workspace = write_studies(folder / "begun"), folder / "begun_workspace"
    with served(studies, workspace, ["--start", run, "--classes", "rectangle"]) as server:
        assert server.get("/info/").json["models"][MODEL]["labels"] == {"rectangle": 1}
        trained = load_file(run / "models" / "encoder_decoder.safetensors")
        used = torch.load(workspace / "model" / MODEL / "models" / "model.pt", weights_only=True)
        assert all(torch.equal(used[name], trained[name]) for name in trained)
        before = mean_dice(server)
        assert learn(server, epochs=60) > before + 0.1


def write_studies(folder: Path) -> Path:
    folder.mkdir()
    for seed in range(1, 15):
        Image.fromarray(film(seed)[0]).save(folder / f"film{seed}.png")
    return folder


def learn(server: Server, epochs: int) -> float:
    """Annotate the first ten films and train; returns the mean Dice on the others."""
    for seed in range(1, 11):
        assert server.label(f"film{seed}", film(seed)[1]).status == 200
    assert server.start_training(epochs).status == 200
    assert server.trained()["status"] == "DONE", server.log.read_text(encoding="utf-8")[-2000:]
    return mean_dice(server)


def await_epoch(workspace: Path, runs: int) -> None:
    """Wait until the last of some trainings has finished an epoch."""
    end = time.monotonic() + 120
    while len(list(workspace.glob(f"model/{MODEL}/trained/segmentation/*/models/best.safetensors"))) < runs:
        assert time.monotonic() < end
        time.sleep(0.2)


def mean_dice(server: Server) -> float:
    """On the four films that are not annotated."""
    return float(np.mean([dice(server.infer(f"film{n}").picture > 0, film(n)[1]) for n in range(11, 15)]))
