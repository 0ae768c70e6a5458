"""What a packed store looks like on disk.

Layout of a store (rows in the order of the data list, items that could not be packed left out)::

    STORE/manifest.json     what it was made from, parameters, counts, size and hash of every file
    STORE/skipped.csv       split, id and reason of the items left out, if there are any
    STORE/tokenizer/        the tokenizer as a Hugging Face folder
    STORE/<split>/images.npy     uint8 [N, 1, S, S]
                  body.npy       uint8 [N, S, S / 8], body mask, 8 pixels a byte, first pixel in the highest bit
                  tokens.npy     uint16 (int32 for vocabularies of 65,536 and more) [T], all reports end to end
                  sentences.npy  int16 [T], sentence number of each token, -1 for special tokens
                  offsets.npy    int64 [N + 1], report i is tokens[offsets[i]:offsets[i + 1]]
                  geometry.npy   float64 [N, 10], see GEOMETRY_COLUMNS
                  items.json     id, text_id, study_id and patient code of each row; no report text
"""

from __future__ import annotations

__all__ = ["GEOMETRY_COLUMNS", "STORE_KIND", "STORE_VERSION"]

STORE_KIND = "packed store"
STORE_VERSION = 1
GEOMETRY_COLUMNS = (
    *("height", "width"),  # of the original
    *("top", "left", "bottom", "right"),  # the part shown, half-open, in pixels of the original
    *("scale_y", "scale_x"),  # fitted pixels per original pixel
    *("offset_y", "offset_x"),  # where the part's upper left corner lies in the square
)
