"""A MONAI Label server over a DICOMweb server, end to end: list, infer, annotate, train, infer better.

Needs the environment of `make label-setup`, and Orthanc.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orthancs
import pytest
from label_servers import PYTHON, Server, served
from labelled_films import dice, direct, film, undecided_weights
from orthancs import Orthanc
from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from dicom_files import write_dicom

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PYTHON.is_file(), reason="needs MONAI Label's environment: run `make label-setup`"),
    pytest.mark.skipif(orthancs.program() is None, reason="needs Orthanc: apt-get install orthanc orthanc-dicomweb"),
]

WHITE = 4095
ANNOTATED, HELD_OUT = range(1, 11), range(11, 15)


def write_series(folder: Path) -> dict[int, Path]:
    """Fourteen films of as many patients, CR and DX, of both polarities; one has a window."""
    folder.mkdir()
    paths = {}
    for number in (*ANNOTATED, *HELD_OUT):
        tags: dict[str, Any] = {
            "SOPClassUID": (ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation)[number % 2],
            "Modality": ("CR", "DX")[number % 2],
            "PatientID": f"MRN-{number}",
            "StudyInstanceUID": f"1.2.{number}",
            "SeriesInstanceUID": uid(number),
            "SOPInstanceUID": f"1.2.{number}.1.1",
            "PixelSpacing": [0.2, 0.3],
        }
        codes = film(number)[0].astype(np.uint16) * 16
        codes[codes == 255 * 16] = WHITE
        if number % 4 < 2:
            tags["PhotometricInterpretation"] = "MONOCHROME1"
            codes = WHITE - codes
        if number == HELD_OUT[0]:
            tags |= {"WindowCenter": 2000, "WindowWidth": 2800}
        paths[number] = write_dicom(folder / f"film{number}.dcm", codes, **tags)
    return paths


def uid(number: int) -> str:
    return f"1.2.{number}.1"


def test_annotations_live_on_the_server_and_are_learnt_from(tmp_path: Path) -> None:
    films = write_series(tmp_path / "films")
    weights = undecided_weights(tmp_path / "model.pt", films[1])
    with orthancs.running(tmp_path / "orthanc") as orthanc:
        for path in films.values():
            orthanc.store(path)
        with served(orthanc.dicom_web, tmp_path / "first", ["--weights", weights]) as server:
            check_answers(server, films, weights)
            annotate(server, orthanc)
        # A workspace that has seen nothing yet: all that it learns from comes from the DICOMweb server.
        with served(orthanc.dicom_web, tmp_path / "second", ["--weights", weights]) as server:
            before = mean_dice(server)
            assert server.start_training(15).status == 200
            assert server.trained()["status"] == "DONE", server.log.read_text(encoding="utf-8")[-2000:]
            assert mean_dice(server) > before + 0.1
            assert server.label("1.2.99", film(1)[1]).status == 404
            orthanc.stop()
            answer = server.get("/datastore/", output="train")
            assert (answer.status, "DICOMweb server does not answer" in answer.json["detail"]) == (502, True)
    logs = "".join(path.read_text(encoding="utf-8") for path in (*tmp_path.glob("*.log"), *tmp_path.glob("*/logs/*")))
    assert "retrieve series" in logs
    assert "MRN-" not in logs
    assert "Secret" not in logs


def check_answers(server: Server, films: Mapping[int, Path], weights: Path) -> None:
    """They are those of direct inference on the files, as PNG and as DICOM SEG."""
    listed = server.get("/datastore/", output="all").json
    assert listed is not None
    wanted = direct({str(number): path for number, path in films.items()}, weights)
    for number in films:
        answer = server.infer(uid(number))
        assert answer.status == 200, answer.body
        np.testing.assert_array_equal(answer.picture, wanted[str(number)], err_msg=str(number))
    assert server.get("/info/").json["datastore"]["total"] == len(films)
    segmentation = dcmread(io.BytesIO(server.infer(uid(1), suffix=".nii.gz", output="dicom_seg").body))
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == uid(1)
    np.testing.assert_array_equal(segmentation.pixel_array.reshape(wanted["1"].shape), wanted["1"])


def annotate(server: Server, orthanc: Orthanc) -> None:
    assert orthanc.series("SEG") == []
    refused = server.label(uid(1), film(1)[1].T)
    assert (refused.status, "200 x 150 pixels" in refused.json["detail"]) == (422, True)
    for number in ANNOTATED:
        answer = server.label(uid(number), film(number)[1])
        assert answer.status == 200, answer.body
    stored = orthanc.series("SEG")
    assert len(stored) == len(ANNOTATED)
    whole = dcmread(io.BytesIO(orthanc.instance(stored[0]["Instances"][0])))
    number = int(whole.PatientID.removeprefix("MRN-"))
    assert whole.StudyInstanceUID == f"1.2.{number}"
    np.testing.assert_array_equal(whole.pixel_array.reshape(150, 200), film(number)[1])


def mean_dice(server: Server) -> float:
    return float(np.mean([dice(server.infer(uid(n)).picture > 0, film(n)[1]) for n in HELD_OUT]))
