"""The masked-language head by hand."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from bundle.networks.blocks.masked_language_head import MaskedLanguageHead


def test_by_hand() -> None:
    torch.manual_seed(0)
    head, features = MaskedLanguageHead(6, 11), torch.randn(2, 3, 6)
    first, _, norm, last = head
    with torch.no_grad():
        for bias in (first.bias, last.bias, norm.weight, norm.bias):
            bias.add_(torch.randn_like(bias))
    hidden = F.gelu(features @ first.weight.T + first.bias)
    centred = hidden - hidden.mean(-1, keepdim=True)
    normal = centred / centred.square().mean(-1, keepdim=True).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(head(features), normal @ last.weight.T + last.bias, rtol=1e-4, atol=1e-5)
