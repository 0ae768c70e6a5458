from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bundle.data.errors import DataError
from bundle.data.manifest import (
    check_contents,
    check_manifest,
    check_sizes,
    file_records,
    ids_sha256,
    read_manifest,
    write_json,
    write_manifest,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = {"kind": "cache", "schema_version": 3, "name": "Lungenröntgen", "parameters": {"size": 256}}
    write_manifest(tmp_path, content)
    assert read_manifest(tmp_path, "cache") == content
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_manifest_needs_kind_and_version(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs the fields kind, schema_version"):
        write_manifest(tmp_path, {"name": "a"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is not a finished cache"),
        ('{"kind": "ca', "not readable as JSON"),
        ('["kind"]', "kind is None, expected 'cache'"),
        ('{"kind": "packed store"}', "kind is 'packed store', expected 'cache'"),
    ],
)
def test_another_folder_is_refused(tmp_path: Path, text: str | None, reason: str) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=reason):
        read_manifest(tmp_path, "cache")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"size": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"size": 2, "bad": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"size": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_every_difference_is_listed() -> None:
    actual = {"size": 256, "tokenizer": {"sha256": "ab", "vocab_size": 9}, "more": 1}
    check_manifest(actual, {"size": 256, "tokenizer": {"vocab_size": 9}})
    expected = {"size": 512, "tokenizer": {"sha256": "cd", "vocab_size": 9}, "fit": "pad", "more": {"deep": 1}}
    with pytest.raises(DataError) as raised:
        check_manifest(actual, expected, "stores/a")
    assert str(raised.value) == (
        'stores/a: size: store has 256, expected 512; tokenizer.sha256: store has "ab", expected "cd"; '
        'fit: store has nothing, expected "pad"; more: store has 1, expected {"deep": 1}'
    )


def test_ids_hash_is_that_of_the_lines() -> None:
    assert ids_sha256(["a", "b"]) == hashlib.sha256(b"a\nb").hexdigest()
    assert ids_sha256(["b", "a"]) != ids_sha256(["a", "b"])


def test_sizes_and_contents(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "a.bin").write_bytes(b"abc")
    (tmp_path / "b.bin").write_bytes(b"defg")
    records = file_records(tmp_path, ["training/a.bin", "b.bin"])
    assert records["training/a.bin"] == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    check_contents(tmp_path, records)

    (tmp_path / "training" / "a.bin").write_bytes(b"abX")
    check_sizes(tmp_path, records)
    with pytest.raises(DataError, match=r"content of training/a\.bin has changed"):
        check_contents(tmp_path, records)

    (tmp_path / "training" / "a.bin").write_bytes(b"ab")
    (tmp_path / "b.bin").unlink()
    for check in (check_sizes, check_contents):
        with pytest.raises(DataError, match=r"training/a\.bin has 2 bytes, expected 3; b\.bin is missing"):
            check(tmp_path, records)
