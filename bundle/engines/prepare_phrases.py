"""From loaded pairs of image and phrase to a network's input, with the images of the controls beside their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .prepare_images import Device, PrepareImages

__all__ = ["PreparePhrases"]


class _Look(NamedTuple):
    """One look at one image: fitted image `[1, S, S]`, phrase, true mask `[H, W]` and how that lies in the square."""

    kind: int
    image: np.ndarray
    phrase: Any
    truth: np.ndarray
    geometry: Any
    pair: Mapping[str, Any]


class PreparePhrases(PrepareImages):
    """Prepare pairs: first the pairs' own images, then the normal ones (same phrase, same truth), then the moved ones.

    Args:
        mean: as of `PrepareImages`.
        std: as of `PrepareImages`.

    Example:
        >>> image, target, (phrases,), _ = PreparePhrases(0.449, 0.226)(pairs, "cuda")  # doctest: +SKIP
    """

    def __call__(
        self, batchdata: Any, device: Device = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Any], tuple[list[list[Any]]], dict[str, Any]]:
        """Prepare a batch.

        Args:
            batchdata: a list of pairs with `image` uint8 `[1, S, S]`, `image_geometry`, `label` `[1, H, W]`, `phrase`,
                `title`, `phrase_class` and `index`; where there are such, `normal` `[1, S, S]`, and `moved_image`,
                `moved_image_geometry`, `moved_label` and `moved_phrase`.
            device: where to.
            non_blocking: as for `Tensor.to`.
            kwargs: not used.

        Returns:
            The M normalised images `[M, 1, S, S]`; the target: `truth`, M masks `[H, W]` in original size, `geometry`,
            `title`, `kind` (0 own, 1 normal, 2 moved), `index` and `phrase_class` `[M]` int64; of each image a list
            with its one phrase; and no named arguments.
        """
        looks = [_own(pair) for pair in batchdata]
        looks += [_normal(pair) for pair in batchdata if "normal" in pair]
        looks += [_moved(pair) for pair in batchdata if "moved_image" in pair]
        bytes_ = torch.from_numpy(np.stack([np.asarray(look.image) for look in looks]))
        image = bytes_.to(device, non_blocking=non_blocking).float() / 255
        target = {
            "truth": [look.truth for look in looks],
            "geometry": [look.geometry for look in looks],
            "title": [look.pair["title"] for look in looks],
            "kind": torch.tensor([look.kind for look in looks]),
            "index": torch.tensor([look.pair["index"] for look in looks]),
            "phrase_class": torch.tensor([look.pair["phrase_class"] for look in looks]),
        }
        return self.normalised(image), target, ([[look.phrase] for look in looks],), {}


def _own(pair: Mapping[str, Any]) -> _Look:
    return _Look(0, pair["image"], pair["phrase"], np.asarray(pair["label"])[0], pair["image_geometry"], pair)


def _normal(pair: Mapping[str, Any]) -> _Look:
    return _own(pair)._replace(kind=1, image=pair["normal"])


def _moved(pair: Mapping[str, Any]) -> _Look:
    truth = np.asarray(pair["moved_label"])[0]
    return _Look(2, pair["moved_image"], pair["moved_phrase"], truth, pair["moved_image_geometry"], pair)
