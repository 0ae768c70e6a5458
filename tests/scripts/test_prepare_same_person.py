"""The same image under two patients, and tables read as text."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bundle.data.errors import DataError
from scripts.preparing.same_person import join_groups, same_images, thumbnails
from scripts.preparing.table import read_table


def _picture(seed: int, rows: int = 240, columns: int = 200) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(20, 235, (24, 20), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def test_copies_are_found_and_likenesses_are_not(tmp_path: Path) -> None:
    original = _picture(0)
    blend = cv2.addWeighted(original, 0.9, _picture(1), 0.1, 0)  # as alike as two days of one patient
    cv2.imwrite(str(tmp_path / "a.png"), original)
    cv2.imwrite(str(tmp_path / "b.jpg"), original, [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(tmp_path / "c.png"), cv2.resize(original, (100, 120), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(tmp_path / "d.png"), blend)
    cv2.imwrite(str(tmp_path / "e.png"), 255 - original)
    (tmp_path / "f.png").write_bytes(b"torn")
    found = thumbnails([tmp_path / name for name in ("a.png", "b.jpg", "c.png", "d.png", "e.png", "f.png")], workers=2)
    assert isinstance(found[5], DataError)
    small = [thumbnail for thumbnail in found if not isinstance(thumbnail, DataError)]
    assert [thumbnail.size for thumbnail in small[1:3]] == [(240, 200), (120, 100)]
    vectors = [thumbnail.vector for thumbnail in small]
    assert np.corrcoef(vectors[0], vectors[3])[0, 1] > 0.9
    assert same_images(vectors) == [(0, 1), (0, 2), (1, 2)]


def test_pairs_in_different_blocks() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((700, 64)).astype(np.float32)
    vectors[650] = vectors[3]
    vectors[300] = vectors[299]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert same_images(list(vectors)) == [(3, 650), (299, 300)]
    assert same_images([]) == []


def test_chains_of_groups_are_one() -> None:
    groups, joined = join_groups(["d", "a", "c", "b", "a", "e"], [(0, 2), (2, 3), (1, 4)])
    assert groups == ["b", "a", "b", "b", "a", "e"]
    assert joined == [["b", "c", "d"]]
    assert join_groups([], []) == ([], [])


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet"])
def test_cells_are_text(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({" id ": ["007", " 8 "], "study": [1.0, None], "age": [1.5, 2.0], "word": ["NA", "  "]})
    if name.endswith("parquet"):
        frame["word"] = None
        frame.to_parquet(tmp_path / name)
    else:
        frame["study"] = ["1", None]
        frame.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ",")
    table = read_table(tmp_path / name)
    assert list(table.columns) == ["id", "study", "age", "word"]
    assert table.to_numpy().tolist() == [["007", "1", "1.5", None], ["8", None, "2.0", None]]
    assert list(read_table(tmp_path / name, ["age", "id"]).columns) == ["age", "id"]
