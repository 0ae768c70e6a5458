"""A pre-training small enough to run in a test: MONAI's own engines, batches and outputs shaped as in pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 32


def make_batches(items: int = 8, batch_size: int = 4, reverse: bool = False) -> list[dict[str, Any]]:
    """Batches of bright squares on a grey body; the square's place is the report."""
    order = list(range(items))[:: -1 if reverse else 1]
    return [_batch(order[start : start + batch_size]) for start in range(0, items, batch_size)]


def _batch(numbers: list[int]) -> dict[str, Any]:
    image = torch.zeros(len(numbers), 1, SIZE, SIZE, dtype=torch.uint8)
    image[..., 4:28, 4:28] = 90
    for picture, number in zip(image, numbers, strict=True):
        row, column = 6 + 5 * (number // 4 % 4), 6 + 5 * (number % 4)
        picture[:, row : row + 5, column : column + 5] = 230
    index = torch.tensor(numbers)
    return {
        "image": image,
        "body": image > 0,
        "input_ids": index[:, None] + 1,
        "text_id": index,
        "study_id": index,
        "index": index,
        "id": [f"item{number}" for number in numbers],
    }


def prepare(batch: dict[str, Any], device: Any, non_blocking: bool, **_: Any) -> tuple[Tensor, dict, tuple, dict]:
    image = batch["image"].to(device).float() / 255
    target = {name: batch[name].to(device) for name in ("body", "text_id", "study_id", "index")} | {"image": image}
    return (image - 0.3) / 0.2, target, (), {"input_ids": batch["input_ids"].to(device)}


class ToyNetwork(nn.Module):
    """Named outputs as those of the pre-training network."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 8, 8)
        self.words = nn.Embedding(200, 16)
        self.decode = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image: Tensor, input_ids: Tensor) -> dict[str, Tensor]:
        patches = self.patches(image)
        attention = patches.square().sum(1, keepdim=True).flatten(2).softmax(-1)
        pooled = (patches.flatten(2) * attention).sum(-1)
        return {
            "image_embedding": F.normalize(pooled, dim=-1),
            "text_embedding": F.normalize(self.words(input_ids).mean(1), dim=-1),
            "attention": attention.unflatten(-1, patches.shape[-2:]),
            "logits": self.decode(image),
        }


class ToyLoss(nn.Module):
    """Two named terms; `poison` is an iteration at which the first one becomes NaN."""

    def __init__(self, poison: int = 0) -> None:
        super().__init__()
        self.poison, self.calls = poison, 0
        self.last: dict[str, Tensor] = {}

    def forward(self, prediction: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        logits = prediction["image_embedding"] @ prediction["text_embedding"].T / 0.1
        contrastive = F.cross_entropy(logits, torch.arange(len(logits)))
        if self.calls == self.poison:
            contrastive = contrastive * torch.nan
        mask = F.binary_cross_entropy_with_logits(prediction["logits"], bright(prediction, target))
        self.last = {"contrastive": contrastive.detach(), "pseudo_segmentation": mask.detach()}
        return contrastive + mask


def bright(prediction: Any, target: Any) -> Tensor:
    """A pseudo mask: what is bright."""
    return (target["image"] > 0.5).float()


def make_trainer(
    handlers: Sequence[Any],
    epochs: int = 2,
    batches: list[dict[str, Any]] | None = None,
    loss: nn.Module | None = None,
    network: nn.Module | None = None,
    seed: int = 0,
    **options: Any,
) -> SupervisedTrainer:
    if network is None:
        torch.manual_seed(seed)
        network = ToyNetwork()
    return SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=make_batches() if batches is None else batches,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=ToyLoss() if loss is None else loss,
        prepare_batch=prepare,
        train_handlers=list(handlers),
        **({"decollate": False} | options),
    )


def make_evaluator(
    handlers: Sequence[Any] = (),
    metrics: dict[str, Any] | None = None,
    batches: list[dict[str, Any]] | None = None,
    network: nn.Module | None = None,
    key_metric: dict[str, Any] | None = None,
) -> SupervisedEvaluator:
    torch.manual_seed(0)
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=make_batches() if batches is None else batches,
        network=ToyNetwork() if network is None else network,
        prepare_batch=prepare,
        key_val_metric=key_metric,
        val_handlers=list(handlers),
        decollate=False,
    )
    for name, metric in (metrics or {}).items():
        metric.attach(evaluator, name)
    return evaluator
