"""What a feature cache of image-report pairs looks like on disk.

Layout of a cache (pairs, images and texts each in an order of their own, joined by id and by text key)::

    CACHE/manifest.json      encoders, preprocessing, store, counts, shapes, size and hash of every file
    CACHE/tokenizer/         the tokenizer of the store
    CACHE/<split>/pairs.json       id, text key, text_id, study_id and patient code of each pair; no report text
                  images.json      id of each row of image features
                  images/00000.npy float16 [n, T, C], next rows in 00001.npy, ...
                  texts.json       key of each distinct report, as its tokens tell it
                  offsets.npy      int64 [M + 1], report i is rows offsets[i]:offsets[i + 1] of the text features
                  texts/00000.npy  float16 [n, C], all reports end to end

Position 0 of an image or report is its pooled vector; positions from 1 are patches or words, where they are kept.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["CACHE_KIND", "CACHE_VERSION", "text_key"]

CACHE_KIND = "pair feature cache"
CACHE_VERSION = 1


def text_key(tokens: np.ndarray) -> str:
    """What a report is found by: 32 hexadecimal digits of the SHA-256 of its token ids, `[L]` integers."""
    return hashlib.sha256(tokens.astype("<i8").tobytes()).hexdigest()[:32]
