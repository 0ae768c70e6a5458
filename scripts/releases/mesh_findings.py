"""Eighteen findings in the MeSH terms that a program gave to the reports of Open-i.

Reference: the labels of J. P. Cohen et al., "TorchXRayVision: A library of chest X-ray datasets and models", MIDL 2022.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["FINDINGS", "find_findings"]

FINDINGS: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectasis", "atelectases"),
    "Calcified Granuloma": ("calcified granuloma",),
    "Cardiomegaly": ("cardiomegaly",),
    "Edema": ("edema",),
    "Effusion": ("effusion",),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("fibrosis",),
    "Fracture": ("fracture",),
    "Granuloma": ("granuloma",),
    "Hernia": ("hernia",),
    "Infiltration": ("infiltration", "infiltrate"),
    "Lung Lesion": ("lesion",),
    "Mass": ("mass",),
    "Nodule": ("nodule",),
    "Lung Opacity": ("opacity",),
    "Pleural Thickening": ("pleural thickening",),
    "Pneumonia": ("pneumonia",),
    "Pneumothorax": ("pneumothorax",),
}
"""What a term must contain, in lower case, for each finding."""


def find_findings(terms: Iterable[str]) -> list[int]:
    """Which findings the terms name, found by substring.

    Args:
        terms: the automatic terms of one report, such as "bilateral pleural effusion".

    Returns:
        1 or 0 for each of `FINDINGS`.

    Example:
        >>> sum(find_findings(["Rib Fractures", "Heart"]))
        1
    """
    lower = [term.lower() for term in terms]
    return [int(any(part in term for term in lower for part in parts)) for parts in FINDINGS.values()]
