"""The benchmark on networks and images so small that it takes seconds; the figures themselves are for real machines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydicom import dcmread

from bundle.data.radiograph_reader import read_radiograph
from bundle.transforms.geometry import crop_box, fit
from bundle.transforms.pseudo_mask import QuantileArea
from scripts import bench
from scripts.benching import pretrain
from scripts.benching.clock import PARTS
from scripts.benching.data import DataSettings, bench_data
from scripts.benching.figures import describe_machine, ratios, read_figures, write_figures
from scripts.benching.films import write_films
from scripts.benching.inference import InferenceSettings, _write_dicoms, bench_inference, inference_report
from scripts.benching.lengths import report_lengths
from scripts.benching.memory import Peak
from scripts.benching.pairs import SyntheticPairs
from scripts.benching.published import PixelQuantileArea, UpsamplingDecoder, prepare_dicom, prepare_jpeg
from scripts.benching.report import data_report, pretrain_report
from scripts.benching.variants import BASELINE, VARIANTS, Settings, Step, build_step

TEXT = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
TINY = Settings(batch=4, image="resnet18", size=64, text=TEXT, max_length=64)
DATA = DataSettings(size=64, film=(400, 320), films=1, pairs=24, batch=8, rounds=2)


@pytest.fixture(scope="module")
def steps() -> dict[str, Step]:
    return {name: build_step(name, TINY) for name in VARIANTS}


@pytest.fixture(scope="module")
def figures() -> Iterator[dict[str, Any]]:
    """All figures of the tiny step, but with peaks that were not measured: that takes a process each."""
    with pytest.MonkeyPatch.context() as patch:
        peaks = {name: Peak(peak, 100) for name, peak in zip(VARIANTS, (900, 800, 500, 300), strict=True)}
        patch.setattr(pretrain, "measure_peak", lambda name, settings: peaks[name])
        yield pretrain.bench_pretrain(TINY, rounds=2)


# --- synthetic pairs


def test_report_lengths_have_the_assumed_distribution() -> None:
    lengths = report_lengths(100_000, np.random.default_rng(0))
    assert lengths.mean() == pytest.approx(79, abs=0.5)
    assert np.percentile(lengths, [50, 95, 99]) == pytest.approx([70, 159, 223], abs=1.5)
    assert (lengths == 256).mean() == pytest.approx(0.005, abs=0.001)
    assert lengths.max() == 256


def test_a_small_batch_spreads_like_a_large_one() -> None:
    rng = np.random.default_rng(0)
    batches = np.array([report_lengths(8, rng) for _ in range(300)])
    assert (np.diff(batches, axis=1) >= 0).all()
    assert batches.mean() == pytest.approx(79, abs=1)
    assert batches.mean(axis=1).std() < 10  # eight free draws: 15
    assert len(np.unique(batches[:, 0])) > 10


def test_variants_get_the_same_pairs_whatever_their_padding() -> None:
    short = SyntheticPairs(3, 64, 50, 20, seed=1)
    full = SyntheticPairs(3, 64, 50, 20, pad_to=20, lengths_known=False, seed=1)
    for _ in range(2):
        batch, padded = short.__getitems__([0, 1, 2]), full.__getitems__([0, 1, 2])
        width = batch["lengths"][-1]
        assert batch["input_ids"].shape == (3, width)
        assert padded["input_ids"].shape == (3, 20)
        assert torch.equal(batch["input_ids"], padded["input_ids"][:, :width])
        assert torch.equal(batch["image"], padded["image"])
        assert padded["attention_mask"].sum(1).tolist() == batch["lengths"]
        assert padded["lengths"] is None
        assert batch["image"].dtype == torch.uint8
        assert batch["body"].float().mean() == (64 * 7 // 8) * (64 * 6 // 8) / 64**2


# --- variants


def test_the_baseline_runs_as_published(steps: dict[str, Step]) -> None:
    trainer = steps[BASELINE].trainer
    network = trainer.network
    batch = next(iter(trainer.data_loader))
    assert batch["input_ids"].shape == (4, 64)
    assert batch["lengths"] is None
    assert network.text_encoder.model.embeddings.word_embeddings.weight.requires_grad
    assert [layer.output.dense.weight.requires_grad for layer in network.text_encoder.model.encoder.layer] == [
        False,
        False,
        False,
        True,
    ]
    assert network.text_encoder.pooling == "tokens"
    assert not _channels_last(network)
    (group,) = trainer.optimizer.param_groups
    assert len(group["params"]) == len(list(network.parameters()))
    assert not group["fused"]
    area = trainer.loss_function.terms["pseudo_segmentation"].pseudo_mask.area
    assert isinstance(area, PixelQuantileArea)
    assert isinstance(network.decoder, UpsamplingDecoder)
    assert trainer.inferer.dtype is None


def test_default_takes_its_short_cuts(steps: dict[str, Step]) -> None:
    for name, dtype in (("default_fp32", None), ("default_bf16", torch.bfloat16)):
        trainer = steps[name].trainer
        assert trainer.inferer.dtype is dtype
        batch = next(iter(trainer.data_loader))
        assert batch["input_ids"].shape[1] == batch["lengths"][-1]
        assert trainer.network.text_encoder.pooling == "cls"
        assert not trainer.network.text_encoder.model.embeddings.word_embeddings.weight.requires_grad
        assert _channels_last(trainer.network)
        (group,) = trainer.optimizer.param_groups
        assert group["fused"]
        assert all(parameter.requires_grad for parameter in group["params"])


def _channels_last(network: Any) -> bool:
    weight = network.decoder.decoder.blocks[0].convs.conv_0.conv.weight
    return weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_is_one_step_that_trains(steps: dict[str, Step], name: str) -> None:
    step = steps[name]
    head = step.trainer.network.decoder.head.weight
    before = head.detach().clone()
    step.trainer.run()
    first = step.trainer.state.output["loss"]
    assert torch.isfinite(first)
    assert not torch.equal(head, before)
    assert len(step.trainer.network.text_encoder._forward_pre_hooks) == 1
    step.trainer.run()
    assert step.trainer.state.output["loss"] != first
    seconds = step.clock.seconds()
    assert tuple(seconds) == PARTS
    assert min(seconds.values()) >= 0


def _burn(*_: Any) -> None:
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass


@pytest.mark.parametrize("part", PARTS)
def test_the_clock_finds_the_slow_part(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = build_step("default_fp32", TINY)
    trainer, network = step.trainer, step.trainer.network
    step.trainer.run()
    if part == "preparation":
        _slow_down(monkeypatch, trainer, "prepare_batch")
    elif part == "losses":
        _slow_down(monkeypatch, trainer, "loss_function")
    elif part == "optimiser":
        trainer.optimizer.register_step_pre_hook(_burn)
    else:
        encoder = network.image_encoder if part.startswith("image") else network.text_encoder
        if part.endswith("forward"):
            encoder.register_forward_hook(_burn)
        else:
            next(p for p in encoder.parameters() if p.requires_grad).register_hook(_burn)
    trainer.run()
    seconds = step.clock.seconds()
    assert seconds.pop(part) >= 0.3
    assert max(seconds.values()) < 0.3


def _slow_down(monkeypatch: pytest.MonkeyPatch, trainer: Any, name: str) -> None:
    work = getattr(trainer, name)

    def slow(*args: Any, **kwargs: Any) -> Any:
        _burn()
        return work(*args, **kwargs)

    monkeypatch.setattr(trainer, name, slow)


# --- figures


def test_every_figure_of_the_step(figures: dict[str, Any]) -> None:
    for name in ("speedup_bf16", "speedup_fp32", "speedup_released"):
        low, high = figures[f"{name}_range"]
        assert 0 < low <= figures[name] <= high
    assert figures["peak_memory_ratio"] == pytest.approx(300 / 900)
    assert figures["peak_memory_ratio_fp32"] == pytest.approx(500 / 900)
    assert figures["peak_memory_ratio_above_libraries"] == pytest.approx(200 / 800)
    assert figures["variants"].keys() == VARIANTS.keys()
    for variant in figures["variants"].values():
        assert tuple(variant["part_seconds"]) == PARTS
        assert variant["part_seconds"][variant["dominating_part"]] == max(variant["part_seconds"].values())
        assert variant["pairs_per_second"]["median"] > 0
        assert variant["step_seconds"]["lowest"] <= variant["step_seconds"]["highest"]
    assert figures["pretrain"]["device"] == "cpu"
    json.dumps(figures)


def test_the_published_step_does_more_work(figures: dict[str, Any]) -> None:
    gflop = {name: variant["gflop_per_pair"] for name, variant in figures["variants"].items()}
    assert gflop[BASELINE] >= gflop["released_fp32"] > gflop["default_fp32"]
    assert gflop["default_fp32"] == gflop["default_bf16"]


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, 40.0, 6.0], [1.0, 10.0, 2.0]) == {"median": 3.0, "lowest": 2.0, "highest": 4.0}


def test_the_report_names_what_dominates(figures: dict[str, Any]) -> None:
    text = "\n".join(pretrain_report(figures))
    for name, variant in figures["variants"].items():
        assert f"{name}: most time goes into {variant['dominating_part']}" in text
    assert f"{figures['speedup_bf16']:.2f}" in text


def test_figures_of_two_runs_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    assert read_figures(path) == {}
    write_figures(path, {"speedup_bf16": 4.0, "machine": describe_machine()})
    write_figures(path, {**read_figures(path), "pack_speedup": 6.0})
    assert read_figures(path) == {"speedup_bf16": 4.0, "pack_speedup": 6.0, "machine": describe_machine()}
    assert [file.name for file in path.parent.iterdir()] == ["figures.json"]


@pytest.mark.parametrize("content", ["{", "[1]", '{"machine": {"processor": "another"}}', "{}"])
def test_a_file_of_something_else_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = tmp_path / "figures.json"
    path.write_text(content)
    assert bench.main(["pretrain", "--out", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}: ")
    assert path.read_text() == content


# --- the path of the data


def test_films_are_what_a_detector_gives(tmp_path: Path) -> None:
    jpeg, dicom = write_films(tmp_path, 400, 320, seed=1)
    eight, sixteen = read_radiograph(jpeg), read_radiograph(dicom)
    assert eight.pixels.shape == sixteen.pixels.shape == (400, 320)
    assert sixteen.pixels.dtype == np.uint16
    assert len(np.unique(sixteen.pixels)) > 1000
    assert np.abs(eight.pixels - sixteen.pixels / 257.0).mean() < 2
    assert crop_box(sixteen.pixels) == pytest.approx((8, 6, 392, 314), abs=8)


def test_the_published_preparation_crops_and_fills_the_square(tmp_path: Path) -> None:
    jpeg, dicom = write_films(tmp_path, 400, 320, seed=1)
    for row, path in ((prepare_jpeg(str(jpeg), 64), jpeg), (prepare_dicom(str(dicom), 64), dicom)):
        ours, _ = fit(read_radiograph(path).pixels, 64, "stretch")
        assert row.shape == (64, 64)
        assert row.dtype == np.uint8
        assert np.corrcoef(row.ravel(), ours.ravel())[0, 1] > 0.97
        assert (row.astype(int).max(), row.min()) == (pytest.approx(255, abs=10), 0)


@pytest.mark.parametrize(("cells", "kept"), [(8, 9), (7, 7)])
def test_the_pixel_quantile_draws_the_mask_of_the_cells(cells: int, kept: int) -> None:
    score = torch.rand(5, cells, cells, generator=torch.Generator().manual_seed(0))
    body = torch.ones(5, 1, 8 * cells, 8 * cells, dtype=torch.bool)
    mask = PixelQuantileArea()(score, body)
    assert torch.equal(mask, QuantileArea(inclusive=False)(score, body))
    assert mask.sum((1, 2, 3)).tolist() == [kept * 64] * 5


def test_every_figure_of_the_data() -> None:
    figures = bench_data(DATA)
    for name in (
        "store_images_per_second_per_core",
        "pack_speedup",
        "pack_dicom_speedup",
        "published_jpeg_ms_per_image",
        "pack_jpeg_ms_per_image",
        "published_dicom_ms_per_image",
        "pack_dicom_ms_per_image",
        "augment_ms_per_image",
    ):
        spread = figures["data"]["ranges"][name]
        assert 0 < spread["lowest"] <= figures[name] <= spread["highest"]
    assert figures["store_images_per_second_per_core"] > 100
    text = "\n".join(data_report(figures))
    assert f"{figures['pack_speedup']:.2f}" in text
    json.dumps(figures)


# --- inference


def test_every_figure_of_inference() -> None:
    figures = bench_inference(InferenceSettings(side=300, films=2, rounds=2))
    ranges = figures["inference"]["ranges"]
    assert len(ranges) == 6
    for name, values in ranges.items():
        assert 0 < values["lowest"] <= figures[name] <= values["highest"]
    for kind in ("inference", "inference_no_window"):
        whole, outside = figures[f"{kind}_ms_per_image"], figures[f"{kind}_ms_outside"]
        assert 0 < outside < whole
        assert figures[f"{kind}_share_outside"] == pytest.approx(outside / whole, rel=0.5)
    text = "\n".join(inference_report(figures))
    assert f"{figures['inference_share_outside']:.3f}" in text
    json.dumps(figures)


def test_both_kinds_of_dicom_hold_the_same_film(tmp_path: Path) -> None:
    _write_dicoms(tmp_path, InferenceSettings(side=300, films=1))
    with_window, plain = (dcmread(tmp_path / kind / "film0.dcm") for kind in ("window", "plain"))
    assert np.array_equal(with_window.pixel_array, plain.pixel_array)
    assert (plain.BitsStored, plain.pixel_array.max() > 3000) == (12, True)
    assert ("WindowWidth" in with_window, "WindowWidth" in plain) == (True, False)


# --- the command


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["pretrain", "--size", "100"],
        ["pretrain", "--batch", "1"],
        ["pretrain", "--rounds", "0"],
        ["data", "--size", "60"],
        ["data", "--device", "cpu"],
        ["inference", "--side", "100"],
    ],
)
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench.main(arguments)
    assert "usage:" in capsys.readouterr().err


def test_an_unknown_network_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["pretrain", "--image", "resnet51"]) == 2
    assert "error: timm has no network 'resnet51'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_a_missing_gpu_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["pretrain", "--device", "cuda"]) == 2
    assert capsys.readouterr().err == "error: there is no CUDA device here; run with --device cpu\n"


@pytest.mark.slow
def test_the_command_as_typed(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    options = ["--image", "resnet18", "--size", "64", "--batch", "2", "--rounds", "1", "--out", str(out)]
    command = [sys.executable, "-m", "scripts.bench", "pretrain", *options]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(out.read_text())
    published, default = figures["variants"][BASELINE], figures["variants"]["default_bf16"]
    assert published["peak_memory_bytes"] > default["peak_memory_bytes"] > default["library_memory_bytes"] > 1e8
    assert figures["speedup_bf16"] > 1
    assert f"wrote {out}" in run.stdout
