"""A DICOMweb server: Debian's Orthanc with its DICOMweb plug-in, on loopback, as short-lived as a test."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from label_servers import free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def program() -> str | None:
    """Path of Orthanc's program, or none where it or its plug-in is absent."""
    places = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
    return shutil.which("Orthanc", path=places) if PLUGIN.is_file() else None


@dataclass
class Orthanc:
    """A running one."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def dicom_web(self) -> str:
        return f"{self.url}/dicom-web"

    def store(self, path: Path) -> None:
        self._asked("/instances", path.read_bytes())

    def series(self, modality: str) -> list[dict[str, Any]]:
        """Tags of all series of a modality, by name."""
        query = {"Level": "Series", "Query": {"Modality": modality}, "Expand": True}
        found = self._asked("/tools/find", json.dumps(query))
        return [entry["MainDicomTags"] | {"Instances": entry["Instances"]} for entry in found]

    def instance(self, identity: str) -> bytes:
        with urlopen(f"{self.url}/instances/{identity}/file", timeout=60) as response:
            return response.read()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def _asked(self, path: str, body: bytes | str) -> Any:
        content = body.encode() if isinstance(body, str) else body
        with urlopen(Request(f"{self.url}{path}", content, method="POST"), timeout=60) as response:
            return json.load(response)


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """An empty server that keeps its files in a folder."""
    port = free_port()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpPort": port,
        "DicomServerEnabled": False,
        "HttpBindAddresses": ["127.0.0.1"],
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    folder.mkdir()
    config, log = folder / "orthanc.json", folder / "orthanc.log"
    config.write_text(json.dumps(settings), encoding="utf-8")
    with log.open("wb") as stream:
        process = subprocess.Popen([str(program()), str(config)], stdout=stream, stderr=stream)
    orthanc = Orthanc(f"http://127.0.0.1:{port}", process)
    try:
        _await(orthanc, log)
        yield orthanc
    finally:
        orthanc.stop()


def _await(orthanc: Orthanc, log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        may_still_start = orthanc.process.poll() is None and time.monotonic() < end
        assert may_still_start, log.read_text(encoding="utf-8")[-2000:]
        try:
            with urlopen(f"{orthanc.dicom_web}/series", timeout=10):
                return
        except OSError:
            time.sleep(0.2)
