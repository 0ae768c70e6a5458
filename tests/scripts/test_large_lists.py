"""Data lists of true size: made, written, read and checked within a minute and 2 GiB, on one thread."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.releases.chexpert_files import CLASSES

COUNT = 100_000
SECONDS = 60.0  # of processor time, which a busy machine doesn't stretch
MEMORY = 2 * 2**30
# Runs alone in a process, whose peak memory is that of this work.
MEASURED = """
import json, sys, time
from bundle.data.datalist import check_datalist, read_datalist
from scripts.prepare import main

started = time.process_time()
assert main(sys.argv[1:]) == 0
made = time.process_time()
path = sys.argv[sys.argv.index("--out") + 1] + "/datalist.json"
datalist = read_datalist(path)
check_datalist(datalist, path)
read = time.process_time()
items = sum(len(datalist.get(split, ())) for split in ("training", "validation", "test"))
with open("/proc/self/status") as status:  # ru_maxrss would begin with the memory of the process that started this one
    memory = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
print(json.dumps({"items": items, "made": made - started, "read": read - made, "memory": memory}))
"""

pytestmark = pytest.mark.slow


def _measure(repository: Path, *arguments: str | Path) -> dict[str, float]:
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(measured)
    return measured


def _within_limits(measured: dict[str, float]) -> None:
    assert measured["made"] < SECONDS
    assert measured["read"] < SECONDS
    assert measured["memory"] < MEMORY


def test_labels_of_chexpert(repository: Path, tmp_path: Path) -> None:
    root, draw = tmp_path / "CheXpert-v1.0-small", random.Random(0)
    root.mkdir()
    header = ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CLASSES])
    for part, count in (("train", COUNT), ("valid", 200)):
        folders = (
            f"CheXpert-v1.0-small/{part}/patient{part == 'valid':d}{k // 3:05d}/study{k % 3}" for k in range(count)
        )
        lines = (f"{folder}/view1_frontal.jpg,Male,60,Frontal,AP," for folder in folders)
        labels = [",".join(draw.choices(["1.0", "0.0", "-1.0", ""], k=14)) for _ in range(500)]
        rows = (line + labels[number % 500] for number, line in enumerate(lines))
        (root / f"{part}.csv").write_text("\n".join([header, *rows]) + "\n")
    measured = _measure(repository, "chexpert", "--root", root, "--out", tmp_path / "out", "--without-images")
    assert measured["items"] == COUNT + 200
    _within_limits(measured)


def test_boxes_of_chestxray14(repository: Path, tmp_path: Path) -> None:
    names = [f"{number // 4:08d}_{number % 4:03d}.png" for number in range(112_120)]
    rows = [f"{name},Mass|Nodule,0,{int(name[:8])},57,M,PA,2682,2749,0.143,0.143" for name in names]
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    header += "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    boxes = [f"{name},{finding},100.5,200.25,300,400" for name in names for finding in ("Mass", "Nodule")]
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "BBox_List_2017.csv").write_text("\n".join(["Image Index,Finding Label,Bbox [x,y,w,h],,,", *boxes]))
    options = ("--without-images", "--split", "patient", "--boxes")
    measured = _measure(repository, "chestxray14", "--root", tmp_path, "--out", tmp_path / "out", *options)
    assert measured["items"] == 112_120
    _within_limits(measured)
