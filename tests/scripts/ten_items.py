"""A data list with every kind of annotation and its files, to be spoilt before it is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scripts.check import main

SIZE = [60, 50]
REPORT = "Heartsecret normal lungsecret"


class TenItems:
    """Ten items in all splits; whatever could name a patient, or a report, holds the word `secret`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.figures = folder, folder / "list.json", folder / "out/figures.json"
        self.content: dict[str, Any] = {
            "name": "ten",
            "task": "classification",
            "image_root": "pictures",
            "classes": ["edema", "mass"],
            "multilabel": True,
            "training": [self.item(number) for number in range(6)],
            "validation": [self.item(number) for number in range(6, 8)],
            "test": [self.item(number) for number in range(8, 10)],
        }
        for number, item in enumerate(self.every()):
            self.picture(item["image"], number)
        self.mask("masks/0.png", 30, 25)
        self.mask("masks/1.png", 0, 0)
        self.mask("masks/mass.png", 6, 5)
        training = self.content["training"]
        training[0] |= {"mask": "masks/0.png", "boxes": [[0, 0, 10, 20], [5, 5, 45, 35]], "box_label": [0, 1]}
        training[1] |= {"mask": "masks/1.png", "boxes": [], "box_label": []}
        training[2] |= {"finding_masks": {"mass": "masks/mass.png"}}
        training[3] |= {"rle": ["0 300", "150 300"], "label": [-1, None]}
        training[4] |= {"rle": [], "question": "Is it?", "answer": "yes", "answer_type": "CLOSED", "category": "organ"}
        training[5] |= {"question": "What?", "answer": "it", "answer_type": "OPEN"}
        del training[5]["label"]

    @staticmethod
    def item(number: int) -> dict[str, Any]:
        return {
            "id": f"secretid{number}",
            "image": f"secretpath/{number}.png",
            "patient": f"secretpatient{number // 2}",
            "findings": " ".join([REPORT] * (number + 1)),
            "label": [number % 2, 1],
            "size": SIZE,
        }

    def every(self) -> list[dict[str, Any]]:
        return [item for split in ("training", "validation", "test") for item in self.content.get(split, [])]

    def picture(self, name: str, seed: int, quality: int = 95) -> None:
        coarse = np.random.default_rng(seed).integers(1, 255, (12, 10), dtype=np.uint8)
        self.write(name, cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC), quality)

    def mask(self, name: str, rows: int, columns: int) -> None:
        values = np.zeros(SIZE, np.uint8)
        values[:rows, :columns] = 255
        self.write(name, values)

    def write(self, name: str, pixels: np.ndarray, quality: int = 95) -> None:
        path = self.folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = [cv2.IMWRITE_JPEG_QUALITY, quality] if name.endswith(".jpg") else []
        cv2.imwrite(str(path), pixels, options)

    def check(self, *options: str) -> int:
        self.path.write_text(json.dumps(self.content))
        return main([str(self.path), "--json", str(self.figures), "--workers", "2", *options])

    def found(self, *options: str, code: int = 0) -> dict[str, Any]:
        assert self.check(*options) == code
        figures: dict[str, Any] = json.loads(self.figures.read_text())
        return figures
