from __future__ import annotations

import cv2
import numpy as np

from bundle.data.phantom import draw_phantom
from bundle.data.phantom_findings import Finding
from bundle.transforms.moved_phantom import DrawMovedd

NODULE, FLUID = Finding("nodule", "left", "upper"), Finding("pleural effusion", "right")


def test_only_the_findings_move() -> None:
    before = draw_phantom(5, 64, [NODULE, FLUID])
    mirrored = (NODULE.mirrored(), FLUID.mirrored())
    item = DrawMovedd("moved")(
        {"moved": {"seed": 5, "size": 64, "findings": mirrored, "finding": mirrored[1]}, "index": 3}
    )
    assert set(item) == {"moved_image", "moved_label", "index"}
    assert item["moved_image"].shape == item["moved_label"].shape == (1, 64, 64)
    after = draw_phantom(5, 64, mirrored)
    np.testing.assert_array_equal(item["moved_image"][0], after.image)
    np.testing.assert_array_equal(item["moved_label"][0], after.mask("pleural effusion"))
    assert item["moved_label"].dtype == np.uint8
    columns = np.nonzero(item["moved_label"][0].any(0))[0]
    assert columns.min() >= 32  # the patient's left is on the image's right
    assert np.nonzero(before.mask("pleural effusion").any(0))[0].max() < 32
    changed = before.image.astype(int) - item["moved_image"][0] != 0
    places = np.any([*before.finding_masks, *after.finding_masks], axis=0)
    near = cv2.dilate(places.astype(np.uint8), np.ones((7, 7))) > 0
    assert changed[places].mean() > 0.5
    assert not changed[~near].any()


def test_items_without_an_order_pass() -> None:
    assert DrawMovedd("moved")({"index": 3}) == {"index": 3}
