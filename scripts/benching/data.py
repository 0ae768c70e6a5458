"""The path of the data: packing, the packed store and augmentation, on one core."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from monai.bundle import ConfigParser

from bundle.data.batch_sampler import ShardedBatchSampler
from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from scripts import pack
from scripts.benching.figures import describe_machine, ratios, spread
from scripts.benching.films import write_films, write_list
from scripts.benching.published import prepare_dicom, prepare_jpeg
from scripts.benching.variants import CONFIGS
from scripts.packing.render import RenderRadiograph

__all__ = ["DataSettings", "bench_data"]


@dataclass(frozen=True)
class DataSettings:
    """How much is measured.

    Attributes:
        size: side of the store's images in pixels.
        film: height and width of the radiographs that are packed one by one, in pixels.
        films: number of them.
        pairs: rows of the store that is read.
        batch: rows read at once.
        rounds: how often everything is repeated.
    """

    size: int = 256
    film: tuple[int, int] = (3056, 2544)
    films: int = 3
    pairs: int = 1024
    batch: int = 64
    rounds: int = 5


def bench_data(settings: DataSettings) -> dict[str, Any]:
    """Measures the path of the data on one core, in CPU seconds.

    Args:
        settings: how much is measured.

    Returns:
        Figures by name: `store_images_per_second_per_core`; `pack_speedup` (JPEG) and `pack_dicom_speedup`, how many
        times the published preparation takes as long as a whole row of the store; milliseconds of both;
        `augment_ms_per_image`; `data` with the ranges and the settings; `machine`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as folder:
            details = {
                "store_images_per_second_per_core": _read_store(Path(folder), settings),
                **_pack_films(Path(folder), settings),
                "augment_ms_per_image": _augment(settings),
            }
    finally:
        torch.set_num_threads(threads)
    figures = {name: values["median"] for name, values in details.items()}
    measured = {"size": settings.size, "film": list(settings.film), "batch": settings.batch, "rounds": settings.rounds}
    return {**figures, "data": {**measured, "ranges": details}, "machine": describe_machine()}


def _read_store(folder: Path, settings: DataSettings) -> dict[str, float]:
    """Images a second from a store in the page cache into collated batches, rows in random order."""
    store = folder / "store"
    source = write_list(folder, settings.size, settings.pairs)
    options = ["--size", str(settings.size), "--workers", "1", "--vocab-size", "1024"]
    if pack.main([str(source), "--out", str(store), *options]):
        raise DataError(f"{store}: the store to be measured could not be packed; see above")
    dataset = PackedDataset(store, "training")
    sampler = ShardedBatchSampler(dataset, settings.batch, drop_last=False)

    def read() -> None:
        for rows in sampler:
            dataset.__getitems__(rows)

    read()  # opens the arrays
    return spread([len(dataset) / _cpu_seconds(read) for _ in range(settings.rounds)])


def _pack_films(folder: Path, settings: DataSettings) -> dict[str, dict[str, float]]:
    """Published preparation against a whole row of the store, the four of them in turn in each round."""
    films = [write_films(folder, *settings.film, seed) for seed in range(settings.films)]
    render = RenderRadiograph(settings.size, "pad")
    ways: dict[str, Callable[[], object]] = {
        "published_jpeg": lambda: [prepare_jpeg(str(jpeg), settings.size) for jpeg, _ in films],
        "pack_jpeg": lambda: [render(str(jpeg)) for jpeg, _ in films],
        "published_dicom": lambda: [prepare_dicom(str(dicom), settings.size) for _, dicom in films],
        "pack_dicom": lambda: [render(str(dicom)) for _, dicom in films],
    }
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(settings.rounds):
        for name, way in ways.items():
            taken[name].append(_cpu_seconds(way))
    milliseconds = {
        f"{name}_ms_per_image": spread([1000 * seconds / len(films) for seconds in values])
        for name, values in taken.items()
    }
    return {
        "pack_speedup": ratios(taken["published_jpeg"], taken["pack_jpeg"]),
        "pack_dicom_speedup": ratios(taken["published_dicom"], taken["pack_dicom"]),
        **milliseconds,
    }


def _augment(settings: DataSettings) -> dict[str, float]:
    """Milliseconds an image of the augmentation of `pretrain.yaml`, a batch at a time, cut to seven eighths."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "pretrain.yaml"))
    parser["crop_size"] = settings.size * 7 // 8
    augment = parser.get_parsed_content("augment")
    image = torch.rand(settings.batch, 1, settings.size, settings.size)
    run = partial(augment, image, torch.ones_like(image, dtype=torch.bool))
    run()
    return spread([1000 * _cpu_seconds(run) / settings.batch for _ in range(settings.rounds)])


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
