"""Images with one bright rectangle each, and networks small enough to learn to find it in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchvision.ops import box_iou

from bundle.networks.encoders.image_encoder import TimmEncoder

SIZE = 64

Target = dict[str, Tensor]


def bright_boxes(count: int, seed: int) -> tuple[Tensor, Target]:
    """Images `[N, 1, 64, 64]` and what they show, with one row of padding."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.randint(14, 31, (count, 2), generator=generator)
    low = (torch.rand(count, 2, generator=generator) * (SIZE - size)).long()
    boxes = torch.cat([low, low + size], 1)
    image = torch.rand(count, 1, SIZE, SIZE, generator=generator) * 0.3 - 0.3
    for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        image[row, 0, y1:y2, x1:x2] += 1
    padded = torch.stack([boxes, torch.zeros_like(boxes)], 1).float()
    return image, {"boxes": padded, "box_label": torch.tensor([[0, -1]]).repeat(count, 1)}


def small_encoder() -> TimmEncoder:
    """A thin ResNet-18 with maps of strides 2 to 16."""
    return TimmEncoder("resnet18", channels=(16, 24, 32, 48), out_indices=(0, 1, 2, 3))


def train(network: nn.Module, loss: Callable[..., Tensor], steps: int, batch: int, rate: float) -> None:
    """Train on 256 images, and leave the network in evaluation mode."""
    images, target = bright_boxes(256, seed=0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    network.train()
    for _ in range(steps):
        some = torch.randperm(len(images))[:batch]
        optimizer.zero_grad()
        loss(network(images[some]), {name: values[some] for name, values in target.items()}).backward()
        optimizer.step()
        schedule.step()
    network.eval()


@torch.no_grad()
def overlaps_on_new_images(network: Any) -> list[float]:
    """IoU of the best detection with the rectangle on each of 16 images that were not trained on."""
    images, target = bright_boxes(16, seed=1)
    found = network.detect(network(images))
    return [float(box_iou(one["boxes"][:1], box[:1]).sum()) for one, box in zip(found, target["boxes"], strict=True)]


def step(network: nn.Module, loss: nn.Module, rows: slice) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients on some of 8 images, of which two show nothing; BatchNorm in evaluation mode."""
    bare = getattr(network, "module", network)
    for module in bare.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # its statistics would be those of each process
    images, target = bright_boxes(8, seed=2)
    target["box_label"][[4, 6]] = -1  # both in the half of the first of two processes
    value = loss(network(images[rows]), {name: values[rows] for name, values in target.items()})
    value.backward()
    return value.detach(), {name: p.grad for name, p in bare.named_parameters() if p.requires_grad}


def half_of_two_processes(rank: int, folder: str, made: Callable[[], tuple[nn.Module, nn.Module]]) -> None:
    """Write the mean loss and the reduced gradients of two processes, each on every other image.

    Args:
        rank: of this process.
        folder: where `RANK.pt` goes.
        made: the network and its loss, the same in every process.
    """
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    network, loss = made()
    value, gradients = step(nn.parallel.DistributedDataParallel(network), loss, slice(rank, None, 2))
    dist.all_reduce(value)
    torch.save((value / 2, gradients), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
