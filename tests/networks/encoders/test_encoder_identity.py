from __future__ import annotations

import torch
from torch import nn

from bundle.networks.encoders.encoder_identity import encoder_identity
from bundle.networks.encoders.frozen_encoder import FrozenEncoder
from bundle.networks.weights.fingerprint import fingerprint


def encoder() -> FrozenEncoder:
    torch.manual_seed(0)
    return FrozenEncoder(nn.Linear(3, 4), width=4)


def test_identity_names_the_network_inside_and_its_weights() -> None:
    assert encoder_identity(encoder()) == {
        "name": "FrozenEncoder(Linear)",
        "width": 4,
        "weights": fingerprint(encoder()),
    }


def test_one_changed_number_is_another_encoder() -> None:
    changed = encoder()
    with torch.no_grad():
        changed.encoder.bias[2] += 1e-3
    assert encoder_identity(changed)["weights"] != encoder_identity(encoder())["weights"]
