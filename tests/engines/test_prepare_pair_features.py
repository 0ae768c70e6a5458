from __future__ import annotations

import torch

from bundle.engines.prepare_pair_features import PreparePairFeatures


def test_halves_become_floats_and_numbers_stay() -> None:
    batch = {
        "image_features": torch.tensor([[[0.5, 2.0]]], dtype=torch.float16),
        "text_features": torch.tensor([[[1.5], [0.0]]], dtype=torch.float16),
        "text_mask": torch.tensor([[1, 0]]),
        "text_id": torch.tensor([7]),
        "study_id": torch.tensor([8]),
        "index": torch.tensor([9]),
        "id": ["a"],
        "lengths": [1],
    }
    images, target, positional, texts = PreparePairFeatures()(batch, "cpu", non_blocking=True)
    assert images.dtype == texts["text_features"].dtype == torch.float32
    assert images.tolist() == [[[0.5, 2.0]]]
    assert texts["text_features"].tolist() == [[[1.5], [0.0]]]
    assert {name: value.tolist() for name, value in target.items()} == {"index": [9], "text_id": [7], "study_id": [8]}
    assert positional == ()
    assert (texts["text_mask"].tolist(), texts["text_id"].tolist()) == ([[1, 0]], [7])
