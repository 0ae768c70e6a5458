"""Linear probing from cached features and from images encoded every epoch: equal numbers, a fraction of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import CacheDataset
from monai.engines import SupervisedTrainer
from monai.transforms import Compose, SelectItemsd
from torch import nn
from torch.utils.data import DataLoader, Dataset

from bundle.data.datalist import load_datalist
from bundle.data.feature_cache import FeatureCache
from bundle.engines.encode_images import EncodeImages
from bundle.engines.prepare_features import PrepareFeatureBatch
from bundle.engines.prepare_labelled import PrepareLabelBatch
from bundle.inferers.autocast import AutocastInferer
from bundle.losses.masked_bce import MaskedBCE
from bundle.networks.encoders.image_encoder import TimmEncoder
from bundle.networks.nets.classifier import Classifier
from bundle.networks.weights.fingerprint import fingerprint
from bundle.transforms.radiograph import FitRadiographd, LoadRadiographd

PREPARE = PrepareLabelBatch(0.449, 0.226)
EPOCHS = 3


def preprocessing(size: int) -> Compose:
    kept = SelectItemsd(["image", "label", "index"])
    return Compose([LoadRadiographd("image"), FitRadiographd("image", size), kept])


@pytest.fixture(scope="module")
def items(phantoms: Path) -> list[dict[str, Any]]:
    chosen = load_datalist(phantoms / "datalist.json", "training")
    return [
        {
            "image": item["image"],
            "label": [float(number % 3 == 0), float("nan") if number % 2 else 1.0],
            "index": number,
        }
        for number, item in enumerate(chosen)
    ]


def probe(**options: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(TimmEncoder("resnet18", **options), classes=2).freeze(["image_encoder"])


def epochs(network: nn.Module, dataset: Dataset, prepare: Any, precision: str) -> Iterator[float]:
    """Train and give the seconds of each epoch."""
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=EPOCHS,
        train_data_loader=DataLoader(dataset, 20, shuffle=True, generator=torch.Generator().manual_seed(1)),
        network=network,
        optimizer=torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.01),
        loss_function=MaskedBCE(),
        inferer=AutocastInferer(precision),
        prepare_batch=prepare,
        decollate=False,
    )
    for epoch in range(1, EPOCHS + 1):
        trainer.state.max_epochs = epoch
        start = time.perf_counter()
        trainer.run()
        yield time.perf_counter() - start


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logits_are_those_of_the_whole_network(items: list[dict[str, Any]], precision: str) -> None:
    network = probe(channels=(8, 16, 24, 32)).train()
    inferer, transform = AutocastInferer(precision), preprocessing(64)
    encode = EncodeImages(network, transform, PREPARE, inferer, "cpu", batch_size=7)
    cache = FeatureCache(items, encode, {"weights": fingerprint(network.image_encoder)})
    assert network.head.training  # as it was
    batch, cached = (next(iter(DataLoader(of, len(items)))) for of in (CacheDataset(items, transform), cache))
    image, target = PREPARE(batch, "cpu")
    features, cached_target = PrepareFeatureBatch()(cached, "cpu")
    with torch.no_grad():
        logits, from_features = inferer(image, network), inferer(features, network.head)
    torch.testing.assert_close(from_features, logits, atol=1e-5, rtol=0)
    assert cached_target.keys() == target.keys()
    for name in target:
        torch.testing.assert_close(cached_target[name], target[name], equal_nan=True, rtol=0, atol=0)


def test_the_network_is_left_without_gradient_and_statistics_without_drift(items: list[dict[str, Any]]) -> None:
    network = Classifier(TimmEncoder("resnet18", channels=(8, 16, 24, 32)), classes=2).train()
    before = fingerprint(network)
    features = EncodeImages(network, preprocessing(64), PREPARE, AutocastInferer("fp32"), "cpu")(items[:4])
    assert not features.requires_grad
    assert features.shape == (4, 32)
    assert network.image_encoder.training
    assert fingerprint(network) == before


@pytest.mark.slow
def test_a_probe_learns_the_same_twenty_times_faster(items: list[dict[str, Any]], tmp_path: Path) -> None:
    transform, network, whole = preprocessing(128), probe(), probe()
    encode = EncodeImages(network, transform, PREPARE, AutocastInferer("fp32"), "cpu")
    start = time.perf_counter()
    cache = FeatureCache(items, encode, {"weights": fingerprint(network.image_encoder)}, tmp_path)
    once = time.perf_counter() - start
    every = list(epochs(whole, CacheDataset(items, transform, progress=False), PREPARE, "fp32"))
    cached = list(epochs(network.head, cache, PrepareFeatureBatch(), "fp32"))
    print(f"{len(items)} images: {once:.2f} s once; an epoch {min(every):.3f} s against {min(cached):.4f} s")
    for name, tensor in whole.head.state_dict().items():
        torch.testing.assert_close(network.head.state_dict()[name], tensor, atol=1e-5, rtol=0)
    assert not torch.equal(whole.head.weight, probe().head.weight)
    assert min(every) > 20 * min(cached)
