"""Inference as users run it: how long a radiograph takes, and how much of that outside of the network."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from monai.bundle import ConfigParser
from pydicom import dcmread

from scripts.benching.figures import describe_machine, spread
from scripts.benching.films import write_films
from scripts.benching.variants import CONFIGS

__all__ = ["InferenceSettings", "bench_inference", "inference_report"]

_BITS = 12
_WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


@dataclass(frozen=True)
class InferenceSettings:
    """How much is measured.

    Attributes:
        side: of the radiographs in pixels.
        films: number of them.
        rounds: how often all of them are segmented.
    """

    side: int = 2000
    films: int = 8
    rounds: int = 5


def bench_inference(settings: InferenceSettings) -> dict[str, Any]:
    """Measures `configs/inference.json` with `models/model.pt` on one core, in CPU seconds.

    The radiographs are uncompressed DICOM files of 12 bits, once with a window in the header and once without, where
    the range of the pixels has to be found; label maps are written as PNG. What loads once, the program and the
    weights, is left out.

    Args:
        settings: how much is measured.

    Returns:
        Figures by name: `inference_ms_per_image`, `inference_ms_outside`, `inference_share_outside` (of the network),
        and the same three of files without a window, which begin with `inference_no_window`; `inference` with the
        ranges and the settings; `machine`.
    """
    with TemporaryDirectory() as folder, _one_core():
        _write_dicoms(Path(folder), settings)
        runs = {
            "inference": _Inference(Path(folder) / "window", settings.films),
            "inference_no_window": _Inference(Path(folder) / "plain", settings.films),
        }
        taken = [{name: run.seconds() for name, run in runs.items()} for _ in range(settings.rounds + 1)][1:]
    details = {
        figure: values for name in runs for figure, values in _figures(name, [turn[name] for turn in taken]).items()
    }
    measured = {"side": settings.side, "films": settings.films, "rounds": settings.rounds}
    medians = {name: values["median"] for name, values in details.items()}
    return {**medians, "inference": {**measured, "ranges": details}, "machine": describe_machine()}


def inference_report(figures: Mapping[str, Any]) -> Iterable[str]:
    """Lines about `bench_inference`."""
    setting = figures["inference"]
    side = setting["side"]
    yield (
        f"Inference on one core, CPU seconds: DICOM of {side} x {side} px to PNG; {setting['films']} films, median of "
        f"{setting['rounds']} rounds"
    )
    yield ""
    for name, values in setting["ranges"].items():
        yield f"  {name:36}{values['median']:11.3f}   [{values['lowest']:.3f} .. {values['highest']:.3f}]"


class _Inference:
    """The evaluator of inference over a folder, with a clock at its network."""

    def __init__(self, films: Path, count: int) -> None:
        parser = ConfigParser()
        parser.read_meta(str(CONFIGS / "metadata.json"))
        parser.read_config(str(CONFIGS / "inference.json"))
        parser.update(
            {
                "bundle_root": str(CONFIGS.parent),
                "dataset_dir": str(films),
                "output_dir": str(films.with_name(f"{films.name}_maps")),
                "device": "$torch.device('cpu')",
            }
        )
        self.evaluator = parser.get_parsed_content("evaluator")
        self.count = count
        self.inside = 0.0
        network = parser.get_parsed_content("network")
        network.register_forward_pre_hook(self._enter)
        network.register_forward_hook(self._leave)

    def seconds(self) -> tuple[float, float]:
        """CPU seconds of an image, all of it and in the network, of one run over the folder."""
        self.inside = 0.0
        start = time.process_time()
        self.evaluator.run()
        return (time.process_time() - start) / self.count, self.inside / self.count

    def _enter(self, *_: Any) -> None:
        self.inside -= time.process_time()

    def _leave(self, *_: Any) -> None:
        self.inside += time.process_time()


def _figures(name: str, turns: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    return {
        f"{name}_ms_per_image": spread([1000 * whole for whole, _ in turns]),
        f"{name}_ms_outside": spread([1000 * (whole - inside) for whole, inside in turns]),
        f"{name}_share_outside": spread([1 - inside / whole for whole, inside in turns]),
    }


def _write_dicoms(folder: Path, settings: InferenceSettings) -> None:
    """Radiographs of 12 bits in `folder/window` and, the same without a window, in `folder/plain`."""
    for name in ("window", "plain"):
        (folder / name).mkdir()
    for seed in range(settings.films):
        _, dicom = write_films(folder, settings.side, settings.side, seed)
        header = dcmread(dicom)
        header.PixelData = (header.pixel_array >> (16 - _BITS)).astype(np.uint16).tobytes()
        header.BitsStored, header.HighBit = _BITS, _BITS - 1
        for tag in _WINDOW:
            header.pop(tag, None)
        header.save_as(folder / "plain" / dicom.name)
        for tag, value in _WINDOW.items():
            setattr(header, tag, value)
        header.save_as(folder / "window" / dicom.name)


@contextmanager
def _one_core() -> Iterator[None]:
    """One thread for PyTorch and for OpenCV, as on a machine of one core."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
