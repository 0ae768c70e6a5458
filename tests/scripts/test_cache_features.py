from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_encoders import CONFIG_FILES, TINY_ENCODERS

from bundle.data.datalist import read_datalist, write_datalist
from bundle.data.errors import DataError
from bundle.data.packed import PackedDataset
from bundle.data.pair_feature_writer import PairFeatureWriter
from bundle.data.pair_features import PairFeatures, verify_cache
from bundle.data.row_file import RowFile
from scripts import pack
from scripts.cache_features import main
from scripts.caching.encoders import load_encoders


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("configs") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY_ENCODERS, sort_keys=False), encoding="utf-8")
    return str([*CONFIG_FILES, str(path)])


@pytest.fixture(scope="module")
def cache(phantom_store: Path, configs: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pooled features of the phantoms, in batches of 7. Not to be changed."""
    out = tmp_path_factory.mktemp("caches") / "pooled"
    assert run(phantom_store, out, configs) == 0
    return out


def options(store: Path, out: Path, configs: str, *others: object) -> list[str]:
    return [str(store), "--out", str(out), "--config_file", configs, "--batch-size=7", *map(str, others)]


def run(store: Path, out: Path, configs: str, *others: object) -> int:
    return main(options(store, out, configs, *others))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def encoders_of(store: Path, configs: str, tokens: bool = False) -> Any:
    return load_encoders(
        yaml.safe_load(configs), {}, PackedDataset(store, "training"), torch.device("cpu"), tokens=tokens
    )


def test_features_are_those_of_each_item_alone(phantom_store: Path, configs: str, cache: Path) -> None:
    encoders, store = encoders_of(phantom_store, configs), PackedDataset(phantom_store, "validation")
    features = PairFeatures(cache, "validation")
    assert features.items["id"] == store.items["id"]
    assert features.items["patient"].tolist() == store.items["patient"].tolist()
    for row in range(len(store)):
        alone, cached = store.__getitems__([row]), features[row]
        image = (alone["image"].float() / 255 - 0.5) / 0.5
        assert cached["image_features"].shape == (1, 16)
        torch.testing.assert_close(cached["image_features"], encoders.image(image)[0, :1].half(), rtol=2e-3, atol=1e-4)
        report = encoders.text(alone["input_ids"], alone["attention_mask"], alone["lengths"])[0, :1]
        torch.testing.assert_close(cached["text_features"], report.half(), rtol=2e-3, atol=1e-4)


def test_the_manifest_tells_what_features_follow_from(phantom_store: Path, configs: str, cache: Path) -> None:
    manifest, store = verify_cache(cache), PackedDataset(phantom_store, "training").manifest
    assert {name: manifest[name] for name in ("list", "parameters", "tokenizer")} == {
        name: store[name] for name in ("list", "parameters", "tokenizer")
    }
    assert manifest["preprocessing"] == {"size": 64, "crop": "centre", "mean": 0.5, "std": 0.5, "max_length": 256}
    assert (manifest["dtype"], manifest["precision"], manifest["content"]) == ("float16", "fp32", "pooled")
    encoders = manifest["encoders"]
    assert encoders["image"]["name"] == "PyramidTokens(TimmEncoder)"
    assert (encoders["image"]["width"], encoders["text"]["width"]) == (16, 32)
    assert all(re.fullmatch("[0-9a-f]{64}", one["weights"]) for one in encoders.values())
    assert manifest["splits"]["validation"]["ids_sha256"] == store["splits"]["validation"]["ids_sha256"]
    assert manifest["splits"]["training"]["shapes"] == {"images": [1, 16], "texts": [32]}


def test_even_a_toy_encoder_hardly_waits_for_data(
    phantom_store: Path, configs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(phantom_store, tmp_path / "cache", configs) == 0
    share = re.search(r"; ([\d.]+)% of [\d.]+ s waiting for data", capsys.readouterr().out)
    assert share is not None
    assert float(share[1]) < 10


def test_tokens_come_with_the_pooled_vector_in_front(
    phantom_store: Path, configs: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(phantom_store, tmp_path / "tokens", configs, "--tokens") == 0
    assert re.search(
        r"60 training \(\d+ reports\), .*; tokens, .* of [\d.]+ s waiting for data", capsys.readouterr().out
    )
    store, encoders = PackedDataset(phantom_store, "training"), encoders_of(phantom_store, configs, tokens=True)
    tokens, pooled = PairFeatures(tmp_path / "tokens", "training"), PairFeatures(cache, "training")
    batch = tokens.__getitems__([3, 40])
    assert batch["image_features"].shape == (2, 1 + 2 * 2, 16)
    reports = store.reports([3, 40])
    assert batch["lengths"] == [1 + length for length in reports["lengths"]]
    for place, row in enumerate((3, 40)):
        length, report = batch["lengths"][place], store.reports([row])
        expected = encoders.text(report["input_ids"], report["attention_mask"], report["lengths"])[0].half()
        torch.testing.assert_close(batch["text_features"][place, :length], expected, rtol=2e-3, atol=1e-3)
        assert not batch["text_features"][place, length:].any()
        assert batch["text_mask"][place].tolist() == [1] * length + [0] * (max(batch["lengths"]) - length)
    first = pooled.__getitems__(range(60))
    for place in range(60):
        torch.testing.assert_close(tokens[place]["image_features"][:1], first["image_features"][place])


def test_a_report_of_several_images_is_encoded_once(phantoms: Path, tmp_path: Path, configs: str) -> None:
    """Ten images, of which the first four have one report between them."""
    datalist = read_datalist(phantoms / "datalist.json")
    kept = ("id", "image", "patient", "findings", "impression", "text")
    training = [{key: item[key] for key in kept if key in item} for item in datalist["training"][:10]]
    words = {key: value for key, value in training[0].items() if key not in ("id", "image", "patient")}
    training[1:4] = [{key: item[key] for key in ("id", "image", "patient")} | words for item in training[1:4]]
    root = phantoms / datalist.get("image_root", ".")
    write_datalist(tmp_path / "list.json", {"name": "shared", "image_root": str(root), "training": training})
    packing = [str(tmp_path / "list.json"), "--out", str(tmp_path / "store"), "--size=64", "--workers=1"]
    assert pack.main([*packing, "--vocab-size=300"]) == 0
    assert run(tmp_path / "store", tmp_path / "cache", configs) == 0
    features = PairFeatures(tmp_path / "cache", "training")
    assert features.manifest["splits"]["training"]["texts"] == 7
    assert features.items["text_id"][:4].tolist() == [0, 0, 0, 0]
    batch = features.__getitems__(range(10))
    assert (batch["text_features"][:4] == batch["text_features"][0]).all()
    assert len(batch["image_features"].unique(dim=0)) == 10
    assert len(batch["text_features"].unique(dim=0)) == 7


@pytest.mark.parametrize(
    ("others", "differs"),
    [
        (["--image_mean", "0.449"], "preprocessing.mean: store has 0.5, expected 0.449"),
        (["--tokens"], 'content: store has "pooled", expected "tokens"'),
        (["--frozen_text#pooled", "cls"], None),
        (["--seed", "1"], "encoders.image.weights: store has "),
    ],
)
def test_a_cache_begun_with_other_settings_is_not_taken_up(
    phantom_store: Path,
    configs: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    others: list[str],
    differs: str | None,
) -> None:
    monkeypatch.setattr(PairFeatureWriter, "publish", _interrupted)
    assert run(phantom_store, tmp_path / "cache", configs) == 130
    monkeypatch.undo()
    assert run(phantom_store, tmp_path / "cache", configs, *others) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "was begun with other parameters: " in error
    assert (differs or "encoders.text") in error
    assert run(phantom_store, tmp_path / "cache", configs, *others, "--overwrite") == 0


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_finished_cache_is_not_replaced_unasked(
    phantom_store: Path, configs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(phantom_store, tmp_path / "cache", configs) == 0
    before = contents(tmp_path / "cache")
    assert run(phantom_store, tmp_path / "cache", configs) == 2
    assert "is a finished pair feature cache already" in capsys.readouterr().err
    assert contents(tmp_path / "cache") == before
    assert main(["--verify", str(tmp_path / "cache")]) == 0
    assert "contents agree with the manifest" in capsys.readouterr().out


def test_a_full_disk_is_explained_and_nothing_is_published(
    phantom_store: Path,
    configs: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RowFile, "write", full)
    assert run(phantom_store, tmp_path / "cache", configs) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"^error: .*cache.partial: No space left on device: free some space and start again", error)
    assert not (tmp_path / "cache").exists()
    monkeypatch.undo()
    assert run(phantom_store, tmp_path / "cache", configs) == 0


def test_features_that_are_no_numbers_stop_with_their_item(
    phantom_store: Path, configs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(phantom_store, tmp_path / "cache", configs, "--image_std", "1.0e-30") == 2
    first = next(iter(PackedDataset(phantom_store, "test").manifest["splits"]))
    ids = PackedDataset(phantom_store, first).items["id"]
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(rf"^error: item ({'|'.join(ids)}): its features are infinite or no numbers", error)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["--crop_size", "96"], "its images have 64 px, fewer than the 96 of crop_size"),
        (["--crop_sise", "32"], "--crop_sise: neither an option of this command nor an id of the config"),
        (["--tokenizer", "nowhere/at all"], "tokenizer nowhere/at all"),
        (["--frozen_image#weights", "none.pth"], "none.pth: there is no such weights file"),
    ],
)
def test_unusable_settings_are_one_sentence(
    phantom_store: Path,
    configs: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    others: list[str],
    message: str,
) -> None:
    assert run(phantom_store, tmp_path / "cache", configs, *others) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "cache.partial").exists()


def test_a_config_without_frozen_encoders_is_told(
    phantom_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(phantom_store, tmp_path / "cache", CONFIG_FILES[0]) == 2
    assert "the config has no frozen_image, frozen_text; add configs/method_adaptor.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["store"], ["store", "--out", "c", "--config_file", "f", "--precision"]])
def test_incomplete_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert re.search("give a packed store|--ID VALUE", capsys.readouterr().err)


SLOWLY = """
import sys, time
import scripts.caching.encode as encode
from scripts.caching.encoders import EncoderPair
from scripts.cache_features import main

encode._SETTLE_SECONDS = 0.0
for name in ("encode_images", "encode_reports"):
    def slow(self, batch, quick=getattr(EncoderPair, name)):
        time.sleep(0.15)
        return quick(self, batch)
    setattr(EncoderPair, name, slow)
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["training.images", "training.texts"])
def test_a_killed_run_goes_on_to_the_same_bytes(
    phantom_store: Path, configs: str, cache: Path, tmp_path: Path, repository: Path, kind: str
) -> None:
    out = tmp_path / "cache"
    caching = subprocess.Popen([sys.executable, "-c", SLOWLY, *options(phantom_store, out, configs)], cwd=repository)
    marks = tmp_path / "cache.partial" / ".progress" / kind / "00000.npy"
    _wait_until(lambda: caching.poll() is not None or (marks.exists() and _marked(marks) >= 2))
    os.kill(caching.pid, signal.SIGKILL)
    assert caching.wait() == -signal.SIGKILL
    done = _marked(marks)
    assert 2 <= done < len(np.load(marks))
    assert not out.exists()

    again = "import scripts.caching.encode as e; w = e._Writing.add; n = []\n"
    again += "def add(self, *a):\n    n.append(a[0])\n    w(self, *a)\n"
    again += "e._Writing.add = add\nfrom scripts.cache_features import main\nc = main()\nprint('batches', len(n))\n"
    resumed = subprocess.run(
        [sys.executable, "-c", again, *options(phantom_store, out, configs)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert contents(out) == contents(cache)
    batches = sum(-(-record[kind] // 7) for record in _counts(cache) for kind in ("count", "texts"))
    assert int(resumed.stdout.split()[-1]) <= batches - done, "what was marked is not encoded again"


def _counts(cache: Path) -> list[dict[str, int]]:
    return list(verify_cache(cache)["splits"].values())


def _marked(marks: Path) -> int:
    return int(np.load(marks).sum()) if marks.stat().st_size > 128 else 0


def _wait_until(holds: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def _torchrun(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [*command, "-m", "scripts.cache_features", *arguments], cwd=repository, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_make_the_cache_of_one(
    phantom_store: Path, configs: str, cache: Path, tmp_path: Path, repository: Path
) -> None:
    made = _torchrun(repository, *options(phantom_store, tmp_path / "cache", configs))
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("cached: ") == 1
    assert contents(tmp_path / "cache") == contents(cache)


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_say_once_what_is_wrong(
    phantom_store: Path, configs: str, tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    made = _torchrun(repository, *options(phantom_store, tmp_path / "cache", configs))
    assert made.returncode != 0
    assert made.stderr.count("error: ") == 1
    assert "cache exists and is no pair feature cache: choose another folder" in made.stderr
    assert DataError.__name__ not in made.stderr
