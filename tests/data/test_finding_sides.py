import json
import math

import numpy as np

from bundle.data.finding_sides import finding_sides
from bundle.data.labelled import labelled_items


def test_sides_of_the_phantoms(phantoms):
    """Against the boxes: the patient's left is in the right half of the picture."""
    datalist = json.loads((phantoms / "datalist.json").read_text())
    sides = finding_sides(phantoms / "datalist.json", "training", datalist["classes"])
    assert len(sides) == len(labelled_items(phantoms / "datalist.json", "training", "classification"))
    counted = 0
    for item, row in zip(datalist["training"], sides, strict=True):
        for k, name in enumerate(datalist["classes"]):
            boxes = [box for box, label in zip(item["boxes"], item["box_label"], strict=True) if label == k]
            right_half = {(box[0] + box[2]) / 2 > item["size"][1] / 2 for box in boxes}
            one_sided = len(right_half) == 1 and name != "cardiomegaly"
            assert row[k] == float(right_half.pop()) if one_sided else math.isnan(row[k])
            counted += one_sided
    assert counted > 20


def test_lists_that_do_not_say_and_unlabelled_items(tmp_path):
    truth = [
        [{"name": "edema", "side": "left"}, {"name": "edema", "side": "left"}, {"name": "nodule", "side": "right"}],
        [{"name": "edema", "side": "left"}, {"name": "edema", "side": "right"}, {"name": "nodule"}],
        [{"name": "edema", "side": "left"}],
        None,
    ]
    items = [{"id": str(n), "image": f"{n}.png", "label": [1, 0]} for n in range(4)]
    for number, (item, found) in enumerate(zip(items, truth, strict=True)):
        (tmp_path / f"{number}.png").touch()
        if found is not None:
            item["truth"] = found
    del items[2]["label"]
    content = {"name": "x", "classes": ["edema", "nodule"], "image_root": ".", "test": items, "numTest": 4}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    sides = finding_sides(tmp_path / "datalist.json", "test", ["edema", "nodule"])
    np.testing.assert_array_equal(sides, [[1, 0], [math.nan] * 2, [math.nan] * 2])
