"""Whole runs of the bundle, killed for real and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.dist]

EPOCHS, EVERY = 3, 2


def command(store: Path, output: Path, processes: int) -> list[str]:
    files = ["pretrain", "demo"] + ["multi_gpu"] * (processes > 1)
    run = [
        *("monai.bundle", "run", "training", "--config_file", str([f"configs/{name}.yaml" for name in files])),
        *("--dataset_dir", str(store), "--output_root", str(output), "--crop_size", "64", "--max_epochs", str(EPOCHS)),
        *("--batch_size", str(16 // processes), "--checkpoint_every", str(EVERY), "--log_every", "1"),
        *("--pa_start_step", "4", "--val_interval", "1", "--num_workers", "1", "--logging_file", "False"),
    ]
    if processes == 1:
        return [sys.executable, "-m", *run]
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    return [sys.executable, "-m", *launcher, *run]


def start(store: Path, output: Path, processes: int) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(store, output, processes),
        env=environment,
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(run: subprocess.Popen) -> str:
    output, _ = run.communicate(timeout=240)
    assert run.returncode == 0, output
    return output


def losses(output: Path, rank: int = 0) -> dict[int, dict]:
    path = output / "pretrain" / "demo" / f"losses{rank or ''}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {line["iteration"]: line for line in map(json.loads, lines)}


def stop_after(run: subprocess.Popen, output: Path, iteration: int, how: signal.Signals) -> None:
    """Send a signal to all processes of a run as soon as it has gone through an iteration."""
    deadline = time.monotonic() + 200
    while not any(number >= iteration for number in losses(output)):
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline, "the run did not get there in time"
        time.sleep(0.02)
    os.killpg(run.pid, how)


@pytest.fixture(scope="module", params=[1, 2])
def whole(request, phantom_store, tmp_path_factory) -> tuple[int, Path]:
    """Number of processes, and an uninterrupted run with so many."""
    output = tmp_path_factory.mktemp(f"whole{request.param}")
    finish(start(phantom_store, output, request.param))
    return request.param, output


def test_killed_run_continues_bit_for_bit(phantom_store, whole, tmp_path):
    processes, reference = whole
    for iteration in (3, 7):
        run = start(phantom_store, tmp_path, processes)
        stop_after(run, tmp_path, iteration, signal.SIGKILL)
        run.communicate()
    assert "resumed from" in finish(start(phantom_store, tmp_path, processes))
    for rank in range(processes):
        assert losses(tmp_path, rank) == losses(reference, rank)
    assert max(losses(reference)) >= 3 * EPOCHS
    for name in ("encoder", "encoder_decoder", "model"):
        file = Path("pretrain/demo/models") / f"{name}.safetensors"
        assert (tmp_path / file).read_bytes() == (reference / file).read_bytes()


def test_sigterm_saves_and_exits_with_0(phantom_store, whole, tmp_path):
    processes, reference = whole
    run = start(phantom_store, tmp_path, processes)
    stop_after(run, tmp_path, 4, signal.SIGTERM)
    output, _ = run.communicate(timeout=200)
    if processes == 1:  # torchrun itself answers SIGTERM with an error status, whatever its processes do
        assert run.returncode == 0, output
    assert "SIGTERM: saved at iteration" in output
    finish(start(phantom_store, tmp_path, processes))
    assert losses(tmp_path) == losses(reference)


def test_run_leaves_what_it_promises(whole):
    _, output = whole
    folder = output / "pretrain" / "demo"
    names = ["config.yaml", "versions.json", "log.txt", "metrics.jsonl", "training.jsonl", "results.json", "curves.png"]
    assert [name for name in names if not (folder / name).exists()] == []
    assert len(list((folder / "pictures").glob("*.png"))) == EPOCHS
    results = json.loads((folder / "results.json").read_text())
    assert results["stage"] == "pretraining"
    recall = results["metrics"]["retrieval_r5_image_to_text"]
    assert recall["low"] <= recall["value"] <= recall["high"]
