"""The reports of Open-i's Indiana University collection: one XML file a report, in an archive or a folder."""

from __future__ import annotations

import re
import tarfile
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.data.errors import DataError
from scripts.preparing.record import Record

__all__ = ["OpeniReport", "read_openi_reports"]

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class OpeniReport:
    """One report.

    Attributes:
        study: its id, such as "CXR1".
        sections: text by lower-case name, of `comparison`, `indication`, `findings` and `impression`; those that are
            empty are left out, runs of white space are one space.
        images: ids of its images, in the order of the file; an image's file is its id with `.png`.
        major: MeSH terms that people gave, "No Indexing" where nobody did.
        automatic: terms that a program found.
    """

    study: str
    sections: dict[str, str]
    images: list[str]
    major: list[str]
    automatic: list[str]


def read_openi_reports(path: Path, record: Record) -> list[OpeniReport]:
    """Read all reports.

    Args:
        path: the archive `NLMCXR_reports.tgz`, which is not unpacked, or the folder `ecgen-radiology` of it.
        record: takes the files that are no report.

    Returns:
        The reports, by number.

    Raises:
        DataError: the archive is damaged, there is no XML file, or one is no report and `record` stops at the first.
    """
    reports = []
    for name, content in _documents(path):
        try:
            reports.append(_parse(content))
        except DataError as error:
            record.reject(f"{path}: {name}", str(error))
    if not reports:
        raise DataError(f"{path}: there is no report in it; expected were files such as ecgen-radiology/1.xml")
    return sorted(reports, key=lambda report: _natural(report.study))


def _documents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.glob("*.xml")):
            yield file.name, file.read_bytes()
        return
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".xml"):
                    content = archive.extractfile(member)
                    yield member.name, content.read() if content else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: the archive can't be read ({error}); download it again") from error


def _parse(content: bytes) -> OpeniReport:
    try:
        root = ET.fromstring(content)
    except ET.ParseError as error:
        raise DataError(f"it isn't XML ({error})") from error
    identity = root.find("uId")
    if identity is None or not identity.get("id"):
        raise DataError("it is no report of Open-i: it has no <uId id=...>")
    texts = {(node.get("Label") or "").lower(): _words(node) for node in root.iter("AbstractText")}
    if not {"findings", "impression"} & texts.keys():
        raise DataError("it is no report of Open-i: no <AbstractText Label=...> is FINDINGS or IMPRESSION")
    return OpeniReport(
        study=str(identity.get("id")),
        sections={name: text for name, text in texts.items() if name and text},
        images=[str(node.get("id")) for node in root.iter("parentImage")],
        major=[term for node in root.iter("major") if (term := _words(node))],
        automatic=[term for node in root.iter("automatic") if (term := _words(node))],
    )


def _words(node: ET.Element) -> str:
    return " ".join("".join(node.itertext()).split())


def _natural(study: str) -> tuple[int, str]:
    number = _NUMBER.search(study)
    return int(number.group()) if number else 0, study
