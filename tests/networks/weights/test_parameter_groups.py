"""Groups of parameters: each parameter once, with the rate of its part, decayed only where it is a map."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.networks.weights.parameter_groups import parameter_groups


def network() -> nn.ModuleDict:
    fusion = nn.ModuleDict({"layer": nn.Linear(3, 2), "modality": nn.Embedding(2, 3)})
    return nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), "fusion": fusion})


def test_every_parameter_has_the_rate_of_the_longest_key_and_maps_alone_decay() -> None:
    given = network()
    found = parameter_groups(given, 1e-3, 0.1, {"fusion": 5.0, "fusion.modality": 1.0})
    names = {id(p): name for name, p in given.named_parameters()}
    settings = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in found for p in group["params"]}
    assert settings == {
        "encoder.0.weight": (1e-3, 0.1),
        "encoder.0.bias": (1e-3, 0.0),
        "encoder.1.weight": (1e-3, 0.0),
        "encoder.1.bias": (1e-3, 0.0),
        "fusion.layer.weight": (5e-3, 0.1),
        "fusion.layer.bias": (5e-3, 0.0),
        "fusion.modality.weight": (1e-3, 0.1),
    }
    assert sum(len(group["params"]) for group in found) == len(settings)


def test_optimiser_and_scheduler_keep_the_ratios() -> None:
    optimizer = torch.optim.AdamW(parameter_groups(network(), 1e-3, 0.1, {"fusion": 5.0}), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert sorted(set(scheduler.get_last_lr())) == pytest.approx([5e-4, 25e-4])


def test_frozen_parameters_are_left_out() -> None:
    given = network()
    given["encoder"].requires_grad_(False)
    found = parameter_groups(given, 1e-3, 0.1)
    assert {id(p) for group in found for p in group["params"]} == {id(p) for p in given["fusion"].parameters()}


def test_a_key_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no part 'fus' to give a rate to; its parts are encoder, fusion"):
        parameter_groups(network(), 1e-3, 0.1, {"fus": 5.0})


def test_a_part_that_was_left_out_may_have_a_rate() -> None:
    given = nn.Module()
    given.encoder, given.decoder = nn.Linear(2, 2), None
    assert len(parameter_groups(given, 1e-3, 0.0, {"encoder": 2.0, "decoder": 5.0})) == 1
    with pytest.raises(ValueError, match="no part 'other'"):
        parameter_groups(given, 1e-3, 0.0, {"other": 5.0})
