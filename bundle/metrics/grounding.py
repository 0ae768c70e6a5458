"""Visual grounding: does the heat map of a phrase lie where the finding is, and would it without the finding?

Only images with the finding are measured. Beside the pointing game stand its controls: a random pixel, the location
prior (the same phrase on a normal image, against the same truth), and the moved finding (the same phantom with its
findings mirrored, and the phrase that says so).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .class_names import metric_suffixes
from .combined_samples import MacroMean, RatioOfSums
from .grounding_overlap import MapOverlap
from .item_metric import ItemMetric
from .map_scores import LEVELS, contrast_to_noise, pixel_precision_of, pointed_at, pointed_side, value_counts
from .samples import Sampled, Samples

__all__ = ["GroundingMetric"]

_OWN, _NORMAL, _MOVED = range(3)
_KINDS = 3
_FIELDS = ("phrase_class", "hit", "side", "truth", "places", "lowest", "highest", "cnr", "precision")


@dataclass(frozen=True)
class _Looks:
    """The measured maps of one kind.

    Attributes:
        fields: `[N]` float64 by name of `_FIELDS`.
        pair: `[N]` int64, ascending number of the pair.
        counts: `[N, 2, 2 * LEVELS]` pixels by level of value, in the true region and elsewhere.
    """

    fields: Mapping[str, Tensor]
    pair: Tensor
    counts: Tensor

    @classmethod
    def of(cls, rows: Tensor, pair: Tensor) -> _Looks:
        """Those of rows whose true region is not empty."""
        marked = rows[:, _FIELDS.index("truth")] > 0
        rows, pair = rows[marked], pair[marked]
        fields = {name: rows[:, number].double() for number, name in enumerate(_FIELDS)}
        return cls(fields, pair, rows[:, len(_FIELDS) :].unflatten(1, (2, -1)))

    def of_class(self, number: int) -> Tensor:
        """Which are of a class, `[N]` bool."""
        return self.fields["phrase_class"] == number

    def mean(self, name: str, rows: Tensor) -> Samples:
        """The mean of a field over some rows `[N]` bool, without those where it is undefined."""
        rows = rows & ~self.fields[name].isnan()
        return Samples(self.fields[name][rows], self.pair[rows])


class GroundingMetric(ItemMetric):
    """Pointing game with controls, overlap, contrast and average precision of heat maps in [-1, 1].

    Args:
        classes: names of the K classes.
        prefix: stands before all names; what depends on no phrase is no grounding and needs one.

    Attributes:
        threshold: value above which a map is a mask, as `best_threshold` of the validation list gives it; None: there
            are only the figures for the best on this very list, whose names begin with `oracle_`.

    Example:
        >>> metric = GroundingMetric(["opacity"])
        >>> truth = torch.tensor([[True, False]])
        >>> look = {"kind": torch.tensor([0]), "index": torch.tensor([0]), "phrase_class": torch.tensor([0])}
        >>> metric([torch.tensor([[0.6, 0.1]])], {"truth": [truth], **look})
        >>> metric.aggregate()["pointing_game"]
        1.0
    """

    def __init__(self, classes: Sequence[str], prefix: str = "") -> None:
        super().__init__()
        self.suffixes = metric_suffixes(classes)
        self.prefix = prefix
        self.threshold: float | None = None

    def __call__(self, prediction: Sequence[Tensor], target: Mapping[str, Any]) -> None:
        """Add a batch.

        Args:
            prediction: M maps `[H, W]` in [-1, 1], nan where there is no place (padding).
            target: `truth`, M masks `[H, W]` bool; `kind` `[M]` int64: 0 the own image, 1 a normal image with the
                phrase and the truth of the pair, 2 the image with the finding moved; `index` `[M]` int64, number of the
                pair; `phrase_class` `[M]` int64.

        Raises:
            ValueError: when a map has no places at all or another size than its mask.
        """
        kinds, pairs, classes = (target[name].tolist() for name in ("kind", "index", "phrase_class"))
        rows = [
            _measured(values.detach(), truth, kind, number, pair)
            for values, truth, kind, number, pair in zip(
                prediction, target["truth"], kinds, classes, pairs, strict=True
            )
        ]
        coded = target["index"] * _KINDS + target["kind"]
        self.add(torch.stack(rows), {"index": coded.to(rows[0].device)})

    def measure(self, rows: Tensor, index: Tensor) -> dict[str, Sampled]:
        """Metrics by name from the rows of all maps."""
        own, normal, moved = self._looks(rows, index)
        overlap = _overlap(own)
        thresholds = {"oracle_": overlap.best_threshold()} if len(own.pair) else {}
        if self.threshold is not None:
            thresholds[""] = self.threshold

        def of(looks: Sequence[Tensor]) -> dict[str, Sampled]:
            chosen = overlap.chosen(looks[0])
            result = _pointing((own, normal, moved), looks) | {"miou": chosen.mean_iou()}
            for name, threshold in thresholds.items():
                result |= {name + one: sampled for one, sampled in chosen.samples(threshold).items()}
            return result

        every = of([torch.ones_like(one.pair, dtype=torch.bool) for one in (own, normal, moved)])
        classes = [of([one.of_class(number) for one in (own, normal, moved)]) for number in range(len(self.suffixes))]
        named = every | _per_class(self.suffixes, classes)
        return {self.prefix + name: sampled for name, sampled in named.items()}

    def aggregate(self) -> dict[str, float]:
        """Compute the metrics of all maps added; only those that are defined.

        Returns:
            - `pointing_game`: share of phrases of whose map any highest place, all ties being such, is in the truth;
            - `pointing_game_random`: what a random pixel would get, the truth's share of the places;
              `pointing_game_over_random`: their ratio;
            - `pointing_game_prior`: the same phrases on normal images, against the same truth;
              `pointing_game_over_prior`: the ratio of hits of the pairs that have a normal image; absent where the
              prior is 0;
            - `pointing_game_moved`: share of phrases whose map follows the moved finding: a highest place lies in its
              new mask; `pointing_side_moved`: on its new side;
            - `cnr`: contrast-to-noise ratio (see `contrast_to_noise`); `pixel_ap`: average precision over pixels;
            - `miou`: IoU averaged over the thresholds .1 to .5 of the map's own values;
            - `dice`, `iou`, `pixel_precision`, `pixel_recall` at `threshold`; with `oracle_` before the name at the
              threshold of the best mean Dice on this list;
            - `threshold`, `oracle_threshold`: these values.

            All are means over phrases. With several classes `_macro` behind a name is the unweighted mean over classes,
            and `_CLASS` the value of one.

        Raises:
            ValueError: when nothing was added.
        """
        result = super().aggregate()
        own = self._looks(*self.gathered())[_OWN]
        if len(own.pair):
            result[f"{self.prefix}oracle_threshold"] = _overlap(own).best_threshold()
        if self.threshold is not None:
            result[f"{self.prefix}threshold"] = self.threshold
        return result

    def best_threshold(self) -> float:
        """The threshold of the highest mean Dice on the maps added.

        Raises:
            ValueError: when nothing was added, or no truth has a pixel.
        """
        own = self._looks(*self.gathered())[_OWN]
        if not len(own.pair):
            raise ValueError("a threshold was asked for, but no mask of the list has a pixel in its fitted image")
        return _overlap(own).best_threshold()

    @staticmethod
    def _looks(rows: Tensor, index: Tensor) -> tuple[_Looks, ...]:
        kind, pair = index % _KINDS, index // _KINDS
        return tuple(_Looks.of(rows[kind == one], pair[kind == one]) for one in range(_KINDS))


def _measured(values: Tensor, truth: Tensor, kind: int, number: int, pair: int) -> Tensor:
    """The row of one map: `_FIELDS`, then counts by level; for controls the pointing alone."""
    places = ~values.isnan()
    if values.shape != truth.shape or not places.any():
        raise ValueError(
            f"the map of pair {pair} of the list has {int(places.sum())} places in {tuple(values.shape)} pixels, its "
            f"mask is {tuple(truth.shape)}: check that the network's output is finite and that both are of one image"
        )
    truth = truth & places
    inside, outside = values[truth], values[places & ~truth]
    row = torch.full((len(_FIELDS) + 4 * LEVELS,), torch.nan, dtype=torch.float32, device=values.device)
    ends = values[places].aminmax()
    told = [number, pointed_at(values, truth), pointed_side(values, truth), len(inside), places.sum(), *ends]
    if kind == _OWN:
        told += [contrast_to_noise(inside, outside), pixel_precision_of(inside, outside)]
        row[len(_FIELDS) :] = torch.cat([value_counts(inside), value_counts(outside)])
    row[: len(told)] = torch.stack([torch.as_tensor(one, device=values.device).float() for one in told])
    return row


def _overlap(own: _Looks) -> MapOverlap:
    inside, outside = own.counts.unbind(1)
    return MapOverlap.of(inside, outside, own.fields["lowest"], own.fields["highest"], own.pair)


def _pointing(looks: tuple[_Looks, ...], rows: Sequence[Tensor]) -> dict[str, Sampled]:
    """What needs no threshold, of some rows of own, normal and moved looks."""
    own, normal, moved = looks
    hit, prior = own.mean("hit", rows[_OWN]), normal.mean("hit", rows[_NORMAL])
    chance = (own.fields["truth"] / own.fields["places"])[rows[_OWN]]
    paired = torch.isin(hit.index, prior.index)
    return {
        "pointing_game": hit,
        "pointing_game_random": Samples(chance, hit.index),
        "pointing_game_over_random": RatioOfSums(hit.values.numpy(), chance.numpy(), hit.index),
        "pointing_game_prior": prior,
        "pointing_game_over_prior": RatioOfSums(hit.values[paired].numpy(), prior.values.numpy(), prior.index),
        "pointing_game_moved": moved.mean("hit", rows[_MOVED]),
        "pointing_side_moved": moved.mean("side", rows[_MOVED]),
        "cnr": own.mean("cnr", rows[_OWN]),
        "pixel_ap": own.mean("precision", rows[_OWN]),
    }


def _per_class(suffixes: Sequence[str], classes: Sequence[Mapping[str, Sampled]]) -> dict[str, Sampled]:
    """Every class's metrics, and their means over classes; a ratio is averaged nowhere."""
    if len(classes) == 1:
        return {}
    plain = [name for name in classes[0] if "_over_" not in name]
    result: dict[str, Sampled] = {f"{name}_macro": MacroMean.of([one[name] for one in classes]) for name in plain}
    for suffix, one in zip(suffixes, classes, strict=True):
        result |= {f"{name}_{suffix}": sampled for name, sampled in one.items()}
    return result
