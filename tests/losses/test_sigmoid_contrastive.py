"""Values by hand, two processes against one, and groups within one against processes that keep to themselves."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F

from bundle.losses.contrastive import ContrastiveLoss
from bundle.losses.in_groups import InGroups
from bundle.losses.sigmoid_contrastive import SigmoidContrastiveLoss
from bundle.networks.blocks.pair_scale import PairScale


class Pairs(torch.nn.Module):
    def __init__(self, loss: str):
        super().__init__()
        torch.manual_seed(3)
        self.image, self.text = torch.nn.Linear(6, 4), torch.nn.Linear(5, 4)
        self.scale = PairScale(scale=10.0, bias=-2.0) if "sigmoid" in loss else dict

    def forward(self, image, text):
        embeddings = {"image_embedding": self.image(image), "text_embedding": self.text(text)}
        return {name: F.normalize(x, dim=-1) for name, x in embeddings.items()} | self.scale()


LOSSES = {
    "sigmoid": (SigmoidContrastiveLoss(exclude_same="study_id"), SigmoidContrastiveLoss(exclude_same="study_id")),
    "local sigmoid": (SigmoidContrastiveLoss(gather=False), InGroups(SigmoidContrastiveLoss(), 2)),
    "local": (
        ContrastiveLoss(gather=False, exclude_same="study_id"),
        InGroups(ContrastiveLoss(exclude_same="study_id"), 2),
    ),
}
"""By name: the loss of each of two processes, and that of one process which has all pairs."""


def inputs():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(8, 6, generator=generator), torch.randn(8, 5, generator=generator), torch.arange(8) // 3


def backward(network, loss, rows: slice):
    image, text, study = (x[rows] for x in inputs())
    value = loss(network(image, text), {"study_id": study})
    value.backward()
    return value.detach()


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {}
    for name, (loss, _) in LOSSES.items():
        network = torch.nn.parallel.DistributedDataParallel(Pairs(name))
        mean = backward(network, loss, slice(rank, None, 2)) / 2
        dist.all_reduce(mean)
        found[name] = mean, {k: p.grad for k, p in network.module.named_parameters()}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_one(tmp_path):
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        for name, (mean, grads) in torch.load(tmp_path / f"{rank}.pt", weights_only=True).items():
            network = Pairs(name)
            value = backward(network, LOSSES[name][1], slice(None))
            assert mean.item() == pytest.approx(value.item(), abs=1e-5), name
            for key, parameter in network.named_parameters():
                torch.testing.assert_close(grads[key], parameter.grad, rtol=1e-5, atol=1e-6)


def test_value_by_hand():
    # cosines: image 0 with reports (1, 0), image 1 with reports (0.6, 0.8); logits are 10 times that, less 5
    prediction = {
        "image_embedding": torch.tensor([[1.0, 0.0], [0.6, 0.8]]),
        "text_embedding": torch.eye(2),
        "logit_scale": torch.tensor(10.0),
        "logit_bias": torch.tensor(-5.0),
    }
    softplus = [math.log1p(math.exp(x)) for x in (-5, -5, 1, -3)]  # positive 0, negative 0 1, negative 1 0, positive 1
    assert SigmoidContrastiveLoss()(prediction).item() == pytest.approx(sum(softplus) / 2, rel=1e-6)


def test_logits_of_zero_give_ln_2_for_each_pair():
    prediction = {
        "image_embedding": torch.zeros(3, 2),
        "text_embedding": torch.zeros(3, 2),
        "logit_scale": torch.tensor(1.0),
        "logit_bias": torch.tensor(0.0),
    }
    assert SigmoidContrastiveLoss()(prediction).item() == pytest.approx(3 * math.log(2))
    # two of one study: of nine pairs two are left out
    target = {"study_id": torch.tensor([4, 4, 9])}
    assert SigmoidContrastiveLoss(exclude_same="study_id")(prediction, target).item() == pytest.approx(
        7 / 3 * math.log(2)
    )


def test_a_network_without_offset_is_told_what_it_lacks():
    embeddings = {"image_embedding": torch.eye(2), "text_embedding": torch.eye(2), **PairScale()()}
    with pytest.raises(KeyError, match=r"logit_bias.*PairScale"):
        SigmoidContrastiveLoss()(embeddings)


def test_groups_are_strided_and_uneven_ones_are_borne():
    seen = []

    def loss(prediction, target):
        seen.append((prediction["image_embedding"].flatten().tolist(), target["n"].item()))
        return torch.tensor(float(len(seen)))

    prediction = {"image_embedding": torch.arange(5.0)[:, None]}
    assert InGroups(loss, 2)(prediction, {"n": torch.tensor(7)}).item() == 1.5
    assert seen == [([0, 2, 4], 7), ([1, 3], 7)]
    assert InGroups(loss, 8)({"image_embedding": torch.ones(1, 1)}, {"n": torch.tensor(0)}).item() == 3


def test_scale_begins_as_told_and_is_held_below_its_bound():
    scale = PairScale(scale=10.0, bias=-10.0)
    assert {name: round(x.item(), 4) for name, x in scale().items()} == {"logit_scale": 10.0, "logit_bias": -10.0}
    assert PairScale()().keys() == {"logit_scale"}
    with torch.no_grad():
        scale.logit_scale.fill_(9.0)
    value = scale()["logit_scale"]
    value.backward()
    assert value.item() == pytest.approx(100.0, rel=1e-5)
    assert scale.logit_scale.grad.item() == pytest.approx(100.0, rel=1e-5)  # the way down is open
