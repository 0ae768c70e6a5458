"""Values by hand, and two processes against one."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F

from bundle.losses.contrastive import ContrastiveLoss
from bundle.losses.gathered_pairs import all_gather


def embeddings(count: int, width: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image, text = torch.randn(2, count, width, generator=generator)
    return {"image_embedding": F.normalize(image, dim=-1), "text_embedding": F.normalize(text, dim=-1)}


@pytest.mark.parametrize(("image_to_text", "text_to_image"), [(0.5, 0.5), (1, 0), (1, 1)])
@pytest.mark.parametrize("batch", [2, 7])
def test_equal_embeddings_give_ln_batch_in_each_direction(batch, image_to_text, text_to_image):
    same = F.normalize(torch.ones(batch, 4), dim=-1)
    loss = ContrastiveLoss(image_to_text=image_to_text, text_to_image=text_to_image)
    value = loss({"image_embedding": same, "text_embedding": same})
    assert value.item() == pytest.approx((image_to_text + text_to_image) * math.log(batch), abs=1e-5)


def test_value_by_hand():
    # cosines: image 0 with reports (1, 0), image 1 with reports (0.6, 0.8)
    image = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    text = torch.eye(2)
    rows = -math.log(math.exp(2) / (math.exp(2) + 1)), -math.log(math.exp(1.6) / (math.exp(1.6) + math.exp(1.2)))
    columns = (
        -math.log(math.exp(2) / (math.exp(2) + math.exp(1.2))),
        -math.log(math.exp(1.6) / (math.exp(1.6) + 1)),
    )
    loss = ContrastiveLoss(temperature=0.5)({"image_embedding": image, "text_embedding": text})
    assert loss.item() == pytest.approx(0.5 * (sum(rows) / 2 + sum(columns) / 2), rel=1e-6)


def test_paper_direction_reads_images_only():
    pairs = embeddings(5)
    rows = F.cross_entropy(pairs["image_embedding"] @ pairs["text_embedding"].T / 0.07, torch.arange(5))
    assert ContrastiveLoss(image_to_text=1, text_to_image=0)(pairs).item() == pytest.approx(rows.item(), rel=1e-6)


def test_pairs_of_one_study_are_no_negatives():
    pairs = embeddings(3)
    loss = ContrastiveLoss(exclude_same="study_id")
    shared = loss(pairs, {"study_id": torch.tensor([4, 4, 9])})
    logits = pairs["image_embedding"] @ pairs["text_embedding"].T / 0.07
    logits[0, 1] = logits[1, 0] = -math.inf
    target = torch.arange(3)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    assert shared.item() == pytest.approx(expected.item(), rel=1e-6)
    assert shared < ContrastiveLoss()(pairs)


def test_missing_study_numbers_are_named():
    with pytest.raises(KeyError, match="study_id"):
        ContrastiveLoss(exclude_same="study_id")(embeddings(2), {})


def test_gather_of_one_process_is_the_tensor_itself():
    rows = torch.ones(2, 3)
    assert all_gather(rows) is rows


class TwoLayers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.image, self.text = torch.nn.Linear(6, 4), torch.nn.Linear(5, 4)

    def forward(self, image, text):
        return {
            "image_embedding": F.normalize(self.image(image), dim=-1),
            "text_embedding": F.normalize(self.text(text), dim=-1),
        }


def inputs():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(8, 6, generator=generator), torch.randn(8, 5, generator=generator), torch.arange(8) // 3


def process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    network = torch.nn.parallel.DistributedDataParallel(TwoLayers())
    image, text, study = (x[rank::2] for x in inputs())
    loss = ContrastiveLoss(exclude_same="study_id")(network(image, text), {"study_id": study})
    loss.backward()
    mean = loss.detach() / 2
    dist.all_reduce(mean)
    torch.save((mean, {k: p.grad for k, p in network.module.named_parameters()}), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_equal_one_on_the_joined_batch(tmp_path):
    mp.spawn(process, args=(str(tmp_path),), nprocs=2)
    network = TwoLayers()
    image, text, study = inputs()
    loss = ContrastiveLoss(exclude_same="study_id")(network(image, text), {"study_id": study})
    loss.backward()
    for rank in range(2):
        mean, grads = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert mean.item() == pytest.approx(loss.item(), abs=1e-6)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(grads[name], parameter.grad, rtol=1e-5, atol=1e-6)


def logits_of_code(pairs: dict[str, torch.Tensor], scale: float) -> torch.Tensor:
    """Rows are texts, columns are images."""
    return scale * pairs["text_embedding"] @ pairs["image_embedding"].T


def test_adaptors_weights_by_direction():
    """0.75 of its code belongs to rows: each text picks its image."""
    pairs, own = embeddings(6), torch.arange(6)
    logits = logits_of_code(pairs, 14.28)
    expected = 0.75 * F.cross_entropy(logits, own) + 0.25 * F.cross_entropy(logits.T, own)
    loss = ContrastiveLoss(None, image_to_text=0.25, text_to_image=0.75)
    assert loss(pairs | {"logit_scale": torch.tensor(14.28)}).item() == pytest.approx(expected.item(), rel=1e-6)
    reverse = ContrastiveLoss(None, image_to_text=0.75, text_to_image=0.25)
    assert reverse(pairs | {"logit_scale": torch.tensor(14.28)}).item() != pytest.approx(expected.item(), rel=1e-4)


def test_half_and_half_is_clips_symmetric_loss():
    pairs, own = embeddings(6), torch.arange(6)
    logits = logits_of_code(pairs, 1 / 0.07)
    symmetric = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    assert ContrastiveLoss(image_to_text=0.5, text_to_image=0.5)(pairs).item() == pytest.approx(symmetric.item())
    learned = ContrastiveLoss(None)(pairs | {"logit_scale": torch.tensor(1 / 0.07)})
    assert learned.item() == pytest.approx(symmetric.item())


def test_a_learned_scale_gets_its_gradient():
    pairs = embeddings(4)
    scale = torch.tensor(10.0, requires_grad=True)
    loss = ContrastiveLoss(None)
    loss(pairs | {"logit_scale": scale}).backward()
    high, low = (loss(pairs | {"logit_scale": torch.tensor(value)}).item() for value in (10.01, 9.99))
    assert scale.grad.item() == pytest.approx((high - low) / 0.02, rel=1e-3)


def test_a_missing_scale_is_named():
    with pytest.raises(KeyError, match="no `logit_scale`; give `temperature`"):
        ContrastiveLoss(None)(embeddings(2))
