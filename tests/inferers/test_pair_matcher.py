"""Every image with every text: encoded once, in blocks, and equal to one pair at a time through the whole network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bundle.data.packed import PackedDataset
from bundle.inferers.matching_model import MatchingModel
from bundle.inferers.pair_matcher import PairMatcher
from bundle.networks.blocks.co_attention import CoAttention
from bundle.networks.blocks.matching_pairs import RandomPairs
from bundle.networks.blocks.patch_masking import PatchMasking
from bundle.networks.encoders.text_encoder import TextEncoder
from bundle.networks.encoders.vision_transformer import VisionTransformer
from bundle.networks.nets.m3ae import M3AE

BERT = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 256,
}


class OwnPairs(nn.Module):
    """Every text is judged with its own image."""

    def forward(self, images: Tensor, texts: Tensor, text_id: Tensor) -> tuple[Tensor, Tensor]:
        return torch.arange(len(texts)), torch.ones(len(texts))


class Counted(M3AE):
    """Counts what it encodes, and what it pairs at a time."""

    def encode_image(self, image: Tensor) -> Tensor:
        self.images.append(len(image))
        return super().encode_image(image)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        self.texts.append(tuple(input_ids.shape))
        return super().encode_text(input_ids, attention_mask)

    def match(self, images: Tensor, texts: Tensor, padding: Tensor | None = None) -> Tensor:
        self.judged.append((len(images), padding is None))
        return super().match(images, texts, padding)


def network(kind: type[M3AE] = M3AE) -> Any:
    """For images of 64 px and the store's words, with large weights, so that pairs differ."""
    torch.manual_seed(0)
    image = VisionTransformer(image_size=64, patch_size=16, width=12, depth=1, heads=2, mlp=24)
    text = TextEncoder(BERT, freeze_layers=0, freeze_embeddings=False, pooling="tokens")
    fusion = CoAttention(16, 12, width=20, steps=2, heads=2, mlp=24)
    made = kind(image, text, fusion, OwnPairs(), PatchMasking(), image_step=0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim > 1:  # larger ones would make of rounding what can be seen
                parameter.mul_(1.6 if name.startswith(("fusion.", "matching_head.")) else 10)
    made.eval()
    return made


@pytest.fixture(scope="module")
def dataset(phantom_store: Path) -> PackedDataset:
    """Sixty phantoms, three of them with one report."""
    opened = PackedDataset(phantom_store, "training")
    opened.items["text_id"][[7, 40]] = opened.items["text_id"][2]
    return opened


@pytest.fixture(scope="module")
def images(dataset: PackedDataset) -> Tensor:
    """All images, normalised, in the order of the data set."""
    batch = dataset.__getitems__(range(len(dataset)))
    return (batch["image"][batch["index"].argsort()].float() / 255 - 0.449) / 0.226


def matcher(net: M3AE, dataset: PackedDataset, texts_at_once: int = 16, **options: Any) -> PairMatcher:
    kept_on = options.pop("kept_on", None)
    return PairMatcher(MatchingModel(net, 64, device="cpu", **options), dataset, texts_at_once, kept_on)


def test_scores_equal_one_pair_at_a_time_through_the_whole_network(dataset: PackedDataset, images: Tensor) -> None:
    judge, whole = matcher(network(), dataset), network()
    scores = torch.cat([judge(block)["scores"] for block in images[:20].split(8)])
    rows, expected = judge.rows[:20], torch.zeros(20, 20)
    assert len(rows) == 20
    with torch.no_grad():
        for i in range(20):
            for j, row in enumerate(rows):
                text = dataset.reports([row])
                found = whole(images[i : i + 1], text["input_ids"], text["attention_mask"])
                expected[i, j] = found["matching_logits"][0]
    assert expected.std() > 0.01, "pairs hardly differ"
    torch.testing.assert_close(scores[:, :20], expected, rtol=0, atol=1e-5)


def test_every_image_and_text_is_encoded_once(dataset: PackedDataset, images: Tensor) -> None:
    net = network(Counted)
    net.images, net.texts, net.judged = [], [], []
    judge = matcher(net, dataset)
    texts = len(judge.text_id)
    assert texts == 58
    for block in images.split(8):
        assert judge(block)["scores"].shape == (len(block), texts)
    assert sum(net.images) == len(dataset)
    assert sum(count for count, _ in net.texts) == texts
    assert sum(count for count, *_ in net.judged) == len(dataset) * texts
    assert max(count for count, *_ in net.judged) == 8 * 16
    lengths = dataset.reports(judge.rows)["lengths"]
    blocks = [sorted(lengths)[start : start + 16] for start in range(0, texts, 16)]
    assert net.texts == [(len(block), max(block)) for block in blocks]
    assert len({width for _, width in net.texts}) > 1
    assert [bare for *_, bare in net.judged[: len(blocks)]] == [min(block) == max(block) for block in blocks]


def test_columns_are_texts_as_they_first_occur(dataset: PackedDataset, images: Tensor) -> None:
    judge = matcher(network(), dataset)
    assert judge.text_id.tolist() == list(dict.fromkeys(dataset.items["text_id"].tolist()))
    assert dataset.items["text_id"][judge.rows].tolist() == judge.text_id.tolist()


@pytest.mark.parametrize(("rows", "texts"), [(1, 1), (3, 7), (60, 1000)])
def test_blocks_do_not_matter(dataset: PackedDataset, images: Tensor, rows: int, texts: int) -> None:
    expected = matcher(network(), dataset)(images[:12])["scores"]
    judge = matcher(network(), dataset, texts)
    scores = torch.cat([judge(block)["scores"] for block in images[:12].split(rows)])
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "kind"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_streams_are_kept_in_the_precision_of_the_network(
    dataset: PackedDataset, images: Tensor, precision: str, kind: torch.dtype
) -> None:
    exact = matcher(network(), dataset)(images[:6])["scores"]
    judge = matcher(network(), dataset, precision=precision, kept_on="cpu")
    scores = judge(images[:6])["scores"]
    assert scores.dtype == torch.float32
    assert {texts.streams.dtype for texts in judge._texts} == {kind}
    assert (scores - exact).abs().max() < (0.2 if precision == "bf16" else 1e-6) * exact.std()


def test_blank_image_is_black(dataset: PackedDataset) -> None:
    judge = matcher(network(), dataset)
    black = judge(torch.full((2, 1, 64, 64), -0.449 / 0.226))["scores"]
    torch.testing.assert_close(judge.blank_image(), black[1], rtol=0, atol=1e-6)


def test_the_network_stays_as_it_is(dataset: PackedDataset, images: Tensor) -> None:
    judge = matcher(network(), dataset).train()
    assert not any(module.training for module in judge.model.modules())
    assert not judge(images[:1])["scores"].requires_grad
    assert not any(parameter.requires_grad for parameter in judge.parameters())


# Runs alone in a process, whose peak memory is that of this work.
MEASURED = """
import json, sys, time
import numpy as np, torch
from bundle.inferers.matching_model import MatchingModel
from bundle.inferers.pair_matcher import PairMatcher
from bundle.metrics.matching_retrieval import MatchingRetrieval
from test_pair_matcher import small

count = int(sys.argv[1])

class Texts:
    items = {"text_id": np.arange(count)}
    lengths = np.random.default_rng(0).integers(3, 9, count)

    def reports(self, rows):
        lengths = self.lengths[rows]
        mask = torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))
        ids = torch.from_numpy(np.random.default_rng(1).integers(5, 300, (count, 9)))[rows][:, : mask.shape[1]]
        return {"input_ids": ids * mask, "attention_mask": mask, "lengths": lengths.tolist()}

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) * 1024

judge = PairMatcher(MatchingModel(small(), 16, device="cpu"), Texts(), texts_at_once=64)
images, metric = torch.randn(count, 1, 16, 16), MatchingRetrieval(judge.text_id)
judge(images[:32])
before, started = memory("VmHWM"), time.monotonic()
for rows in torch.arange(count).split(32):
    metric(judge(images[rows]), {"text_id": rows, "index": rows})
seconds = time.monotonic() - started
scored = memory("VmHWM")
result = metric.aggregate()
print(json.dumps({"growth": scored - before, "whole": memory("VmHWM") - before, "pairs_per_s": count ** 2 / seconds,
                  "seconds": seconds, "pool": result["retrieval_pool_image_to_text"]}))
"""


def small() -> M3AE:
    """One patch size, one step: what is left is the work around the network."""
    torch.manual_seed(0)
    image = VisionTransformer(image_size=16, patch_size=8, width=8, depth=1, heads=1, mlp=8)
    text = TextEncoder(BERT | {"hidden_size": 8, "num_attention_heads": 1}, 0, False, pooling="tokens")
    return M3AE(
        image, text, CoAttention(8, 8, width=8, steps=1, heads=1, mlp=8), RandomPairs(), PatchMasking(), image_step=0
    )


@pytest.mark.slow
def test_memory_of_four_million_pairs_is_that_of_their_scores(repository: Path) -> None:
    """The streams of all pairs together would take two gigabytes, even at this size."""
    path = os.pathsep.join(str(folder) for folder in (repository, repository / "tests", repository / "tests/inferers"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", MEASURED, "2000"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    print(measured)
    assert measured["pool"] == 2000
    assert measured["growth"] < 3 * 2000 * 2000 * 4
    assert measured["whole"] < 12 * 2000 * 2000 * 4
