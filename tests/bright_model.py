"""A vision-language model whose sight can be computed by hand: it knows bright from dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bundle.inferers.vision_language import VisionLanguageModel

PATCH = 8


class _Sight(nn.Module):
    """Patches of 8 x 8 px as vectors (brightness, 1 - brightness); the value path exchanges the two."""

    def __init__(self, decoder: bool) -> None:
        super().__init__()
        self.on_device = nn.Parameter(torch.zeros(1))
        self.decoder = decoder

    def encode_patches(self, image: Tensor) -> tuple[Tensor, Tensor]:
        brightness = F.avg_pool2d(image, PATCH)
        patches = torch.cat([brightness, 1 - brightness], 1)
        return patches, patches.flip(1)

    def encode_image(self, image: Tensor) -> dict[str, Tensor]:
        patches, _ = self.encode_patches(image)
        heads = torch.cat([patches[:, :1], torch.zeros_like(patches[:, :1])], 1)
        return {"attention": heads} | ({"logits": image * 4 - 2} if self.decoder else {})


class BrightModel(VisionLanguageModel):
    """Sentences with "bright" are (1, 0), others (0, 1); `embedded` keeps what was asked."""

    def __init__(self, image_size: int = 64, fitted_size: int | None = None, decoder: bool = True) -> None:
        super().__init__(_Sight(decoder), None, image_size, fitted_size, image_mean=0.0, image_std=1.0, device="cpu")
        self.embedded: list[str] = []

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        self.embedded += texts
        return torch.tensor([[1.0, 0.0] if "bright" in text else [0.0, 1.0] for text in texts])


def cosine(brightness: Any) -> Any:
    """Cosine of (brightness, 1 - brightness) with "bright"."""
    return brightness / (brightness**2 + (1 - brightness) ** 2) ** 0.5
