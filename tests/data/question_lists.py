"""Small lists of questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle.data.datalist import write_datalist


def asked(question: str, answer: str | None, kind: str = "CLOSED", **more: Any) -> dict[str, Any]:
    """A question as lists have it; no key where a value is None."""
    entries = {"question": question, "answer": answer, "answer_type": kind, **more}
    return {key: value for key, value in entries.items() if value is not None}


def write_questions(folder: Path, splits: dict[str, list[dict[str, Any]]], **header: Any) -> Path:
    """A list whose items are named training0, training1, ...; images are empty files, one an item by default."""
    filled: dict[str, Any] = {"name": "small", "task": "vqa", **header}
    for split, items in splits.items():
        filled[split] = [{"id": f"{split}{n}", "image": f"{split}{n}.png", **item} for n, item in enumerate(items)]
        for item in filled[split]:
            (folder / item["image"]).touch()
    path = folder / "list.json"
    write_datalist(path, filled)
    return path
