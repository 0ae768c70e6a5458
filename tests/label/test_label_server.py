"""A MONAI Label server with this bundle: what it answers is direct inference, and it learns from what is annotated.

Needs the environment of `make label-setup`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from label_servers import MODEL, PYTHON, ROOT, Server, killed, served
from monai.bundle import ConfigParser
from PIL import Image
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from dicom_files import write_dicom

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.is_file(), reason="needs MONAI Label's environment: run `make label-setup`"),
]

DARK, BRIGHT = 60, 220
WHITE = 4095


def film(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy film [150, 200] with a bright rectangle, and where that is."""
    random = np.random.default_rng(seed)
    top, left = random.integers(10, 60), random.integers(10, 90)
    inside = np.zeros((150, 200), dtype=bool)
    inside[top : top + 70, left : left + 80] = True
    grey = np.where(inside, BRIGHT, DARK) + random.integers(-15, 16, inside.shape)
    return grey.astype(np.uint8), inside


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


def direct(paths: dict[str, Path], weights: Path) -> dict[str, np.ndarray]:
    """Label maps [H, W] by the transforms and the network of `inference.json`, without a server."""
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    before, after = parser.get_parsed_content("preprocessing"), parser.get_parsed_content("postprocessing")
    maps = {}
    for name, path in paths.items():
        item = before({"image": str(path)})
        with torch.no_grad():
            item["pred"] = network(item["image"][None])[0]
        maps[name] = after.transforms[0](item)["pred"]
    return maps


def undecided_weights(path: Path, image: Path) -> Path:
    """Weights that nothing was taught, whose answer on an image is about half of its pixels."""
    torch.manual_seed(0)
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    item = parser.get_parsed_content("preprocessing")({"image": str(image)})
    with torch.no_grad():
        median = network(item["image"][None])[0, 1].median()
        network.decoder.head.bias -= median
    torch.save(network.state_dict(), path)
    return path


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
    with served(folder / "films", folder / "workspace", weights) as started:
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
    studies, workspace = folder / "annotated", folder / "workspace_of_training"
    studies.mkdir()
    for seed in range(1, 15):
        Image.fromarray(film(seed)[0]).save(studies / f"film{seed}.png")
    with served(studies, workspace, weights) as server:
        before = mean_dice(server)
        for seed in range(1, 11):
            assert server.label(f"film{seed}", film(seed)[1]).status == 200
        assert server.start_training(15).status == 200
        assert server.trained()["status"] == "DONE", server.log.read_text(encoding="utf-8")[-2000:]
        after = mean_dice(server)
        assert after > before + 0.1
        server.start_training(50)
        killed(server)
    with served(studies, workspace, weights) as server:
        assert server.get("/info/").json["datastore"]["completed"] == 10
        assert mean_dice(server) == after


def mean_dice(server: Server) -> float:
    """On the four films that are not annotated."""
    scores = []
    for seed in range(11, 15):
        found, true = server.infer(f"film{seed}").picture > 0, film(seed)[1]
        scores.append(2 * (found & true).sum() / (found.sum() + true.sum()))
    return float(np.mean(scores))
