import math

import torch

from bundle.engines.prepare_features import PrepareFeatureBatch


def test_features_and_labels_pass_as_they_are():
    batch = {
        "image": torch.randn(2, 5),
        "label": torch.tensor([[1.0, math.nan], [0.0, 1.0]]),
        "index": torch.tensor([7, 3]),
    }
    image, target = PrepareFeatureBatch()(batch, "cpu", non_blocking=True)
    assert torch.equal(image, batch["image"])
    assert target.keys() == {"label", "index"}
    assert all(torch.equal(target[name].nan_to_num(9), batch[name].nan_to_num(9)) for name in target)


def test_they_go_to_the_device():
    batch = {"image": torch.randn(2, 5), "label": torch.tensor([1, 0]), "index": torch.tensor([7, 3])}
    image, target = PrepareFeatureBatch()(batch, torch.device("meta"))
    assert image.is_meta
    assert all(value.is_meta for value in target.values())
    assert target["label"].dtype == torch.int64
