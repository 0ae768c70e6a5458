"""The loss of RetinaNet, with MONAI's matching of anchors and its choice of hard negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from torch import Tensor, nn

__all__ = ["RetinaLoss"]


class _HasAnchors(Protocol):
    anchors: AnchorGenerator


class RetinaLoss(nn.Module):
    """Cross-entropy of anchors with objects and of hard negatives, and smooth L1 of the boxes of the former.

    Anchors are matched to objects by ATSS; of the rest the sampler draws at random among those with the highest scores.
    Both terms are means over the anchors of an image, then over the images of the batch, so that an image counts the
    same in any batch; without objects its second term is 0. With DDP and batches of equal size the gradient is
    therefore that of one process on the joined batch, and nothing needs to be reduced over processes.

    Matcher and sampler work image by image with index lists and look for invalid values: the host waits for the device
    several times an image. `YoloLoss` does not.

    Reference: Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive Training
    Sample Selection", CVPR 2020 (arXiv 1912.02424).

    Args:
        detector: the network whose outputs are judged, for its generator of anchors.
        candidates: anchors of a position times this number are the candidates of an object on each level (k of ATSS).
        samples: anchors of an image that enter the first term, about.
        positive_fraction: share of anchors with objects among them, at most; in (0, 1).
        min_negatives: anchors without object among them, at least.
        pool: how many times more hard negatives there are to draw from than are drawn; 1 takes the hardest.
        box_weight: weight of the second term.

    Attributes:
        last: unweighted `classification` and `box_regression` of the latest call, detached, still on the device.
    """

    def __init__(
        self,
        detector: _HasAnchors,
        candidates: int = 4,
        samples: int = 64,
        positive_fraction: float = 0.3,
        min_negatives: int = 16,
        pool: float = 20,
        box_weight: float = 1.0,
    ) -> None:
        super().__init__()
        # MONAI's detector wraps a network; here it has none, and so neither parameters nor a state.
        self.rules = RetinaNetDetector(nn.Identity(), detector.anchors, spatial_dims=2, num_classes=1)
        self.rules.set_atss_matcher(num_candidates=candidates, center_in_gt=False)
        self.rules.set_hard_negative_sampler(samples, positive_fraction, min_negatives, pool)
        self.box_weight = box_weight
        self.last: dict[str, Tensor] = {}

    def forward(self, prediction: Mapping[str, Any], target: Mapping[str, Tensor]) -> Tensor:
        """Compare.

        Args:
            prediction: output of `RetinaDetector`.
            target: `boxes` `[B, M, 4]` xyxy in pixels of the network's input; `box_label` `[B, M]` int64, -1 where
                there is no box. Boxes without area are left out.

        Returns:
            Scalar in fp32.
        """
        logits, regression = prediction["classification"].float(), prediction["box_regression"].float()
        # Without any object the second term is constant; the empty sum gives the box head zero gradients, as DDP needs.
        terms = {"classification": logits.new_zeros(()), "box_regression": regression[:0].sum()}
        for image in range(len(logits)):
            found = self.rules.compute_loss(
                {"classification": logits[image, None], "box_regression": regression[image, None]},
                [_objects(target["boxes"][image], target["box_label"][image])],
                [prediction["anchors"]],
                prediction["locations"],
            )
            terms = {name: value + found[name] / len(logits) for name, value in terms.items()}
        self.last = {name: value.detach() for name, value in terms.items()}
        return terms["classification"] + self.box_weight * terms["box_regression"]


def _objects(boxes: Tensor, label: Tensor) -> dict[str, Tensor]:
    """The boxes of an image without padding, as MONAI takes them."""
    real = (label >= 0) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    return {"boxes": boxes[real].to(torch.float32), "labels": label[real]}
