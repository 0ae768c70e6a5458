"""A feature cache with features that tell what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.pair_feature_writer import PairFeatureWriter, PairRows, feature_rows

IDENTITY: dict[str, Any] = {
    "list": {"name": "made", "sha256": "ab"},
    "parameters": {"size": 64},
    "tokenizer": {"sha256": "cd", "vocab_size": 300},
    "encoders": {"image": {"name": "A", "weights": "11"}, "text": {"name": "B", "weights": "22"}},
    "preprocessing": {"size": 64, "mean": 0.5},
    "content": "pooled",
}


def write_cache(
    out: Path,
    ids: Sequence[str],
    reports: Sequence[int],
    image: np.ndarray,
    texts: Sequence[np.ndarray],
    identity: Mapping[str, Any] = IDENTITY,
    shard_bytes: int = 2**20,
) -> Path:
    """Write a cache of one split, `training`.

    Args:
        out: the folder.
        ids: of N pairs.
        reports: the number of each pair's report.
        image: `[N, T, C]`.
        texts: `[L, C]` of each distinct report.
        identity: what goes into the manifest.
        shard_bytes: most bytes of a file.
    """
    tokenizer = out.parent / "tokenizer"
    tokenizer.mkdir(exist_ok=True)
    (tokenizer / "tokenizer.json").write_text(json.dumps({"model": "none"}))
    pairs = PairRows(
        ids=ids,
        texts=[f"report{number}" for number in reports],
        codes={"text_id": reports, "study_id": range(len(ids)), "patient": range(len(ids))},
        keys=[f"report{number}" for number in range(len(texts))],
        offsets=np.cumsum([0, *map(len, texts)]),
    )
    with PairFeatureWriter(out, identity) as writer:
        writer.begin({"training": pairs}, image.shape[1:], texts[0].shape[-1], max(len(image), len(texts)), shard_bytes)
        with feature_rows(writer.folder.path, "training", "images") as rows:
            rows.write(0, 0, image.astype(np.float16))
        with feature_rows(writer.folder.path, "training", "texts") as rows:
            rows.write(0, 0, np.concatenate(texts).astype(np.float16))
        return writer.publish(tokenizer)
