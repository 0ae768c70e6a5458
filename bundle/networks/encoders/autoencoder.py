"""The encoding half of torchxrayvision's ResNet autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from bundle.networks.weights.checkpoint import load_weights

__all__ = ["AutoencoderEncoder"]

_DECODER = ("uplayer", "conv1_1.")
_BLOCKS = (3, 4, 23, 2)


class _Block(Bottleneck):
    """A bottleneck whose branch is rectified before it is added to the shortcut, unlike any other ResNet's."""

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = self.relu(norm(conv(x)))
        return self.relu(x + shortcut)


class AutoencoderEncoder(nn.Module):
    """A ResNet-101 of one input channel whose last stage is narrow and jumps by 6: 512 x 3 x 3 at 224 px.

    The names of its tensors are torchxrayvision's; its blocks have one ReLU more than torchvision's, with which the
    published weights would load and give something else.

    Reference: Cohen et al., "Gifsplanation via Latent Shift" (arXiv 2102.09475), whose autoencoder `101-elastic` is.

    Args:
        weights: torchxrayvision's file, whose decoder is left out; None: random weights.

    Attributes:
        channels: channels of the maps, finest first.

    Raises:
        WeightsError: if the weights do not fit.

    Example:
        >>> [tuple(level.shape[1:]) for level in AutoencoderEncoder()(torch.zeros(1, 1, 224, 224))]
        [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (512, 3, 3)]
    """

    channels = (64, 256, 512, 1024, 512)

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        whole = ResNet(_Block, [*_BLOCKS[:3], 1])
        self.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1, self.relu, self.maxpool = whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2, self.layer3 = whole.layer1, whole.layer2, whole.layer3
        self.layer4 = _last_stage(self.channels[3], self.channels[4])
        if weights is not None:
            load_weights(self, weights, _without_decoder)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode radiographs `[B, 1, H, W]`, grey values from -1024 to 1024, to maps, finest first."""
        stem = self.relu(self.bn1(self.conv1(image)))
        maps = [stem, self.layer1(self.maxpool(stem))]
        for stage in (self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps


def _last_stage(inputs: int, outputs: int) -> nn.Sequential:
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=6, bias=False), nn.BatchNorm2d(outputs))
    first = _Block(inputs, outputs // 4, stride=6, downsample=shortcut)
    return nn.Sequential(first, *(_Block(outputs, outputs // 4) for _ in range(_BLOCKS[3] - 1)))


def _without_decoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(_DECODER)}
