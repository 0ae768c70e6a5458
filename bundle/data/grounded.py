"""What grounding is measured on: pairs of a phrase and what is marked for it, with what their controls need."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from bundle.data.datalist import load_splits, read_datalist
from bundle.data.errors import DataError
from bundle.data.grounding_truth import MarkedFinding, Truth
from bundle.data.phantom_findings import Finding
from bundle.data.phantom_report import phrase as worded
from bundle.data.phrases import Phrase
from bundle.data.prompts import load_prompts

__all__ = ["GroundedList"]

logger = logging.getLogger(__name__)

_PLACE = ("name", "side", "zone", "size")


class GroundedList:
    """A data list as pairs of a phrase and a marked finding; an image with several findings gives several pairs.

    The phrase of a pair is that of its finding in the item's `truth` (phantoms), else the item's `phrase`, else the
    positive prompts of its class, averaged. Only images with a finding give pairs.

    Args:
        path: the data list.
        truth: reads the marks: `MaskTruth` or `BoxTruth`.
        classes: names of the classes that are asked for; None: all of the list.
        prompts: file of prompts, see `load_prompts`; None: those in the list's header.
        seed: of the draw of normal images.

    Attributes:
        classes: names of the classes that are asked for.

    Raises:
        DataError: the list can't be used, or names no classes.

    Example:
        >>> listed = GroundedList("lists/siim/datalist.json", MaskTruth())  # doctest: +SKIP
        >>> listed.pairs("test")[0]["phrase"]  # doctest: +SKIP
        Phrase(texts=('There is a pneumothorax.',), negatives=('There is no pneumothorax.',))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        truth: Truth,
        classes: Sequence[str] | None = None,
        prompts: str | os.PathLike[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.path = path
        self.truth = truth
        self.seed = seed
        self._datalist = read_datalist(path)
        named = [self._datalist[key] for key in truth.header_keys if self._datalist.get(key)]
        self._named: list[str] = list(named[0]) if named else list(classes or ())
        self.classes = list(self._named if classes is None else classes)
        if not self.classes:
            raise DataError(f"{path}: the list's header names no 'classes'; give the names of those to ask for")
        header = self._datalist.get("prompts", {})
        self.prompts = header if prompts is None else load_prompts(prompts, self.classes)

    def pairs(self, split: str) -> list[dict[str, Any]]:
        """The pairs of a split, in the order of the list.

        Returns:
            Of each pair `image` (absolute path); `phrase` (`Phrase`) and `title`, a text that may be shown (an item's
            own `phrase` may be cut from a report: then it is the class); `phrase_class`, its number in `classes`;
            `label`, the mark; `index`, its number among the pairs; and, for the controls,

            - `normal`: path of an image of the split in which nothing is to be found, drawn for each image;
            - `moved`: of a phantom, how to draw it with all findings mirrored (`seed`, `size`, `findings`, and which of
              these is the pair's as `finding`), and `moved_phrase`, which says so.

        Raises:
            DataError: the list lacks the split, nothing in it is marked, or a class has no phrase.
        """
        pairs: list[dict[str, Any]] = []
        for item, normal, findings in self._marked(split):
            for finding in findings:
                common = {"image": item["image"], "index": len(pairs), "label": finding.label}
                asked = self._asked(item, finding)
                pairs.append(common | asked | ({"normal": normal} if normal else {}) | _moved(item, finding, asked))
        return pairs

    def patients(self, split: str) -> list[str | int]:
        """The patient of each of the `pairs` of a split, -1 where one is unknown; joined patients have one name.

        Raises:
            DataError: as `pairs`.
        """
        joined = self._datalist.get("split", {}).get("joined", [])
        person = {patient: group[0] for group in joined for patient in group}
        of_pair = [item.get("patient", -1) for item, _, findings in self._marked(split) for _ in findings]
        return [person.get(patient, patient) for patient in of_pair]

    def _marked(self, split: str) -> list[tuple[dict[str, Any], str | None, list[MarkedFinding]]]:
        """Items with findings of the asked classes, each with a normal image."""
        items = load_splits(self._datalist, self.path, split, ("image", *self.truth.path_keys))[split]
        found = [(item, self._findings(item)) for item in items]
        found = [(item, findings) for item, findings in found if findings]
        if not found:
            raise DataError(
                f"{self.path}: none of the {len(items)} items of {split} has {self.truth.needed} of the classes "
                f"{', '.join(self.classes)}, which grounding needs"
            )
        normal = [item["image"] for item in items if _is_normal(item)]
        if not normal:
            logger.info("%s: %s has no image known to be normal, so there is no location prior", self.path, split)
            return [(item, None, findings) for item, findings in found]
        drawn = np.random.default_rng(self.seed).integers(len(normal), size=len(found))
        return [(item, normal[k], findings) for (item, findings), k in zip(found, drawn.tolist(), strict=True)]

    def _findings(self, item: Mapping[str, Any]) -> list[MarkedFinding]:
        return [one for one in self.truth.findings(item, self._named) if one.name in self.classes]

    def _asked(self, item: Mapping[str, Any], finding: MarkedFinding) -> dict[str, Any]:
        """Phrase, title and class of a finding."""
        prompts = self.prompts.get(str(finding.name), {})
        negatives = tuple(prompts.get("neg", ()))
        known = {"phrase_class": self.classes.index(str(finding.name))}
        if finding.number is not None:
            text = item["truth"][finding.number]["phrase"]
            return {"phrase": Phrase((text,), negatives), "title": text, **known}
        if "phrase" in item:
            return {"phrase": Phrase((item["phrase"],), negatives), "title": str(finding.name), **known}
        if not prompts.get("pos"):
            raise DataError(
                f"{self.path}: item {item['id']}: there is no phrase for its '{finding.name}'; give the item a "
                "'phrase', or its class 'prompts' in the list's header or in the config"
            )
        return {"phrase": Phrase(tuple(prompts["pos"]), negatives), "title": prompts["pos"][0], **known}


def _is_normal(item: Mapping[str, Any]) -> bool:
    """Whether it is known that nothing is to be found: no class is positive, or there is no mark at all."""
    label = item.get("label")
    if isinstance(label, list):
        return all(value == 0 for value in label)
    return label is None and any(item.get(key) == [] for key in ("boxes", "rle"))


def _moved(item: Mapping[str, Any], finding: MarkedFinding, asked: Mapping[str, Any]) -> dict[str, Any]:
    """How to draw a phantom again with its findings mirrored; nothing where this can't be done or shows nothing."""
    if finding.number is None or "seed" not in item or "size" not in item:
        return {}
    findings = [Finding(**{key: one[key] for key in _PLACE if key in one}) for one in item["truth"]]
    mirrored = [one.mirrored() for one in findings]
    own = mirrored[finding.number]
    if own.side is None or any(one.hides(other) for one, other in combinations(mirrored, 2)):
        return {}
    drawing = {"seed": item["seed"], "size": item["size"][0], "findings": tuple(mirrored), "finding": own}
    return {"moved": drawing, "moved_phrase": Phrase((worded(own),), asked["phrase"].negatives)}
