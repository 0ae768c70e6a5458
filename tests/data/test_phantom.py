"""Phantoms are functions of their seed, stand the right way round, and tell the truth about themselves."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.data.errors import DataError
from bundle.data.phantom import Phantom, draw_phantom, patient_of
from bundle.data.phantom_findings import CLASSES, SIZES, Finding, all_findings

SIDED = [finding for finding in all_findings() if finding.side]
RIGHT_SIDED = [finding for finding in SIDED if finding.side == "right"]


def columns(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int_]:
    return np.argwhere(mask)[:, 1]


def midline(phantom: Phantom) -> float:
    """Halfway between the outermost columns of the lungs."""
    lungs = phantom.anatomy["left lung"] | phantom.anatomy["right lung"]
    return float(columns(lungs).min() + columns(lungs).max()) / 2


def grown(mask: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def brightening(finding: Finding, seed: int) -> tuple[npt.NDArray[np.float64], Phantom]:
    """What a finding adds to the brightness of each pixel of its seed's normal picture."""
    phantom = draw_phantom(seed, 128, [finding])
    return phantom.image.astype(float) - draw_phantom(seed, 128, []).image, phantom


def test_same_seed_gives_the_same_phantom_in_another_process() -> None:
    program = (
        "import hashlib; from bundle.data.phantom import draw_phantom; p = draw_phantom(7, 96);"
        "print(hashlib.sha256(p.image.tobytes()).hexdigest(), p.findings, p.report, p.questions)"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    phantom = draw_phantom(7, 96)
    sha = hashlib.sha256(phantom.image.tobytes()).hexdigest()
    assert other.strip() == f"{sha} {phantom.findings} {phantom.report} {phantom.questions}"
    assert not np.array_equal(phantom.image, draw_phantom(8, 96).image)


def test_global_random_state_is_neither_read_nor_changed() -> None:
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    first = draw_phantom(3, 64)
    assert np.array_equal(np.random.random(3), expected)  # noqa: NPY002
    assert np.array_equal(draw_phantom(3, 64).image, first.image)


@pytest.mark.parametrize("seed", range(0, 40, 5))
def test_same_seed_shows_the_same_body_at_every_size(seed: int) -> None:
    small, large = draw_phantom(seed, 96), draw_phantom(seed, 192)
    assert (small.findings, small.report, small.questions) == (large.findings, large.report, large.questions)
    for name, mask in small.anatomy.items():
        halved = large.anatomy[name][::2, ::2] | large.anatomy[name][1::2, 1::2]
        assert (mask & halved).sum() / (mask | halved).sum() > 0.93
    shrunk = cv2.resize(large.image, (96, 96), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(shrunk.ravel(), small.image.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("finding", SIDED, ids=str)
@pytest.mark.parametrize("seed", [11, 12])
def test_patients_left_is_on_the_images_right(finding: Finding, seed: int) -> None:
    change, phantom = brightening(finding, seed)
    on_the_right = finding.side == "left"
    assert (columns(phantom.finding_masks[0]).mean() > midline(phantom)) == on_the_right
    changed = np.abs(change) > 12
    assert (columns(changed).mean() > midline(phantom)) == on_the_right
    assert columns(phantom.anatomy["left lung"]).mean() > columns(phantom.anatomy["right lung"]).mean()


@pytest.mark.parametrize("seed", range(5))
def test_apex_of_the_heart_points_to_the_images_right(seed: int) -> None:
    phantom = draw_phantom(seed, 128, [])
    heart = columns(phantom.anatomy["heart"])
    assert heart.max() - midline(phantom) > 1.3 * (midline(phantom) - heart.min())


@pytest.mark.parametrize("finding", RIGHT_SIDED, ids=str)
def test_moving_a_finding_leaves_the_rest_of_the_picture(finding: Finding) -> None:
    here, there = draw_phantom(21, 128, [finding]), draw_phantom(21, 128, [finding.mirrored()])
    normal = draw_phantom(21, 128, [])
    for name in normal.anatomy:
        assert np.array_equal(here.anatomy[name], there.anatomy[name])
        assert np.array_equal(here.anatomy[name], normal.anatomy[name])
    other = normal.anatomy[f"{finding.mirrored().side} lung"]
    assert np.array_equal(here.image[other], normal.image[other])
    outside = ~(normal.anatomy["left lung"] | normal.anatomy["right lung"])
    assert np.abs(here.image[outside].astype(int) - there.image[outside]).mean() < 1
    assert (here.patient, here.view) == (there.patient, there.view)


@pytest.mark.parametrize("finding", [finding for finding in RIGHT_SIDED if finding.name != "pleural effusion"], ids=str)
def test_a_moved_finding_is_about_as_large(finding: Finding) -> None:
    """An effusion isn't: the heart hides more of it on the left."""
    here, there = (draw_phantom(21, 128, [place]).finding_masks[0].sum() for place in (finding, finding.mirrored()))
    assert 0.5 < here / there < 2


@pytest.mark.parametrize("finding", SIDED, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_findings_are_visible(finding: Finding, size: str) -> None:
    change, phantom = brightening(replace(finding, size=size), 33)
    inside = change[phantom.finding_masks[0]]
    if finding.name == "pneumothorax":
        edge = grown(phantom.finding_masks[0], 2) & ~phantom.finding_masks[0]
        assert np.percentile(change[edge], 90) > 10, "the pleural line is bright"
        assert np.median(inside) < 0, "the rim is dark"
    else:
        assert inside.mean() > 25
    far = ~grown(phantom.finding_masks[0], 12) & ~phantom.anatomy[f"{finding.side} lung"]
    assert np.abs(change[far]).max() <= 8


@pytest.mark.parametrize("seed", range(6))
def test_enlarged_heart_is_wide_and_a_normal_one_is_not(seed: int) -> None:
    for findings, low, high in (([], 0.36, 0.50), ([Finding("cardiomegaly", size="small")], 0.52, 0.60)):
        phantom = draw_phantom(seed, 256, findings)
        lungs = phantom.anatomy["left lung"] | phantom.anatomy["right lung"]
        width = np.ptp(columns(phantom.anatomy["heart"])) / np.ptp(columns(lungs))
        assert low < width < high


@pytest.mark.parametrize("seed", range(6))
def test_heart_is_one_smooth_piece(seed: int) -> None:
    for findings in ([], [Finding("cardiomegaly", size="large")]):
        heart = draw_phantom(seed, 256, findings).anatomy["heart"].astype(np.uint8)
        outlines, _ = cv2.findContours(heart, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        assert len(outlines) == 1, "one piece without holes"
        assert cv2.contourArea(outlines[0]) > 0.93 * cv2.contourArea(cv2.convexHull(outlines[0])), "no notch"


@pytest.mark.parametrize("seed", range(6))
def test_fluid_covers_the_root_of_the_lung(seed: int) -> None:
    """Fluid and heart displace the same air, so nothing in an effusion outshines the heart."""
    phantom = draw_phantom(seed, 128, [Finding("pleural effusion", "right", size="large")])
    fluid, heart = (phantom.image[mask] for mask in (phantom.finding_masks[0], phantom.anatomy["heart"]))
    assert np.percentile(fluid, 98) <= np.percentile(heart, 98) + 5


@pytest.mark.parametrize("seed", range(12))
def test_left_lower_findings_stand_clear_of_the_heart(seed: int) -> None:
    phantom = draw_phantom(seed, 128, [Finding("nodule", "left", "lower")])
    assert not (grown(phantom.finding_masks[0], 1) & phantom.anatomy["heart"]).any()
    phantom = draw_phantom(seed, 128, [Finding("consolidation", "left", "lower")])
    rows, places = np.nonzero(phantom.finding_masks[0])
    heart = columns(phantom.anatomy["heart"][rows.min() : rows.max() + 1])
    assert places.mean() > heart.max(), "its middle lies lateral of the heart"
    assert phantom.image[phantom.finding_masks[0]].mean() < phantom.image[phantom.anatomy["heart"]].mean() - 8


@pytest.mark.parametrize("name", ["nodule", "consolidation"])
@pytest.mark.parametrize("seed", [1, 2, 4, 5])
def test_zones_are_thirds_above_the_diaphragm(name: str, seed: int) -> None:
    for number, zone in enumerate(("upper", "middle", "lower")):
        phantom = draw_phantom(seed, 128, [Finding(name, "right", zone)])
        lung = phantom.anatomy["right lung"]
        inner = lung[:, np.quantile(columns(lung), 0.3).astype(int) : np.quantile(columns(lung), 0.7).astype(int)]
        top, dome = np.argwhere(lung)[:, 0].min(), 127 - np.argmax(inner[::-1], axis=0).max()
        share = (np.argwhere(phantom.finding_masks[0])[:, 0].mean() - top) / (dome - top)
        assert number / 3 - 0.06 < share < (number + 1) / 3 + 0.06


findings_strategy = st.lists(
    st.builds(replace, st.sampled_from(all_findings()), size=st.sampled_from(SIZES)),
    max_size=3,
    unique_by=lambda finding: (finding.name, finding.side, finding.zone),
)


@given(st.integers(0, 2**40), st.integers(64, 160), st.none() | findings_strategy)
@settings(max_examples=60)
def test_truth_of_any_phantom_hangs_together(seed: int, size: int, findings: list[Finding] | None) -> None:
    phantom = draw_phantom(seed, size, findings)
    assert phantom.image.shape == (size, size)
    assert phantom.image.dtype == np.uint8
    assert phantom.image.std() > 20
    if findings is not None:
        assert set(phantom.findings) == set(findings)
    for finding, mask, box, label in zip(
        phantom.findings, phantom.finding_masks, phantom.boxes, phantom.box_labels, strict=True
    ):
        home = phantom.anatomy[f"{finding.side} lung" if finding.side else "heart"]
        assert mask.any()
        assert not (mask & ~home).any()
        assert not (mask & ~phantom.anatomy["body"]).any()
        x1, y1, x2, y2 = box
        assert 0 <= x1 < x2 <= size
        assert 0 <= y1 < y2 <= size
        assert mask[y1:y2, x1:x2].sum() == mask.sum(), "the box holds all of the mask"
        edges = mask[y1], mask[y2 - 1], mask[:, x1], mask[:, x2 - 1]
        assert all(edge.any() for edge in edges), "and no more"
        assert CLASSES[label] == finding.name
    assert phantom.labels == [int(any(f.name == name for f in phantom.findings)) for name in CLASSES]
    assert list(phantom.masks) == [name for name, label in zip(CLASSES, phantom.labels, strict=True) if label]


def test_mask_can_be_asked_for_by_place() -> None:
    left, right = Finding("nodule", "left", "upper"), Finding("nodule", "right", "lower")
    phantom = draw_phantom(0, 128, [right, left])
    assert phantom.findings == (left, right)
    assert np.array_equal(phantom.mask("nodule", "left"), phantom.finding_masks[0])
    assert np.array_equal(phantom.mask("nodule", zone="lower"), phantom.finding_masks[1])
    assert np.array_equal(phantom.mask("nodule"), phantom.finding_masks[0] | phantom.finding_masks[1])
    assert np.array_equal(phantom.masks["nodule"], phantom.mask("nodule"))
    assert not phantom.mask("nodule", "left", "lower").any()


def test_every_fourth_seed_is_a_second_picture_of_a_patient() -> None:
    patients = [patient_of(seed) for seed in range(8)]
    assert patients[2] == patients[3]
    assert patients[6] == patients[7]
    assert len(set(patients)) == 6
    first, second = draw_phantom(2, 64, []), draw_phantom(3, 64, [])
    assert first.patient == second.patient
    assert not np.array_equal(first.image, second.image)


def test_corners_are_black_and_bone_is_bright() -> None:
    phantom = draw_phantom(1, 128, [])
    outside = ~grown(phantom.anatomy["body"], 2)
    outside[:20, 100:] = False  # the side marker
    assert phantom.image[outside].max() < 20
    lungs = phantom.image[phantom.anatomy["left lung"] | phantom.anatomy["right lung"]].mean()
    assert phantom.image[phantom.anatomy["heart"]].mean() > lungs + 50


@pytest.mark.parametrize(
    ("seed", "size", "findings", "message"),
    [
        (-1, 128, None, "seed -1"),
        (0, 63, None, "63 px"),
        (0, 128, [Finding("cardiomegaly")] * 2, "same finding twice"),
        (0, 128, [Finding("cardiomegaly"), Finding("cardiomegaly", size="large")], "same finding twice"),
    ],
)
def test_what_cannot_be_drawn_is_refused(seed: int, size: int, findings: list[Finding] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw_phantom(seed, size, findings)
