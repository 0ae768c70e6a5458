"""A MONAI Label server over a folder of radiographs, started as its users start it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "label" / "bin" / "python"
MODEL = "cxr_segmentation"

_START, _ANSWER, _TRAINING = 600, 300, 900  # s; imports alone take minutes where many share a machine


@dataclass
class Answer:
    """Of the server: status, body and, where the body is JSON, what it says."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def picture(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.body)))


@dataclass
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str, **query: str) -> Answer:
        return _asked(Request(f"{self.url}{path}?{urlencode(query)}"))

    def infer(self, image: str = "", file: Path | None = None, suffix: str = ".png", output: str = "image") -> Answer:
        """Ask for the label map of an image of the studies, or of a file that is sent along."""
        params = {"device": "cpu", "result_extension": suffix, "label_info": []}
        parts: list[tuple[str, str | None, bytes]] = [("params", None, json.dumps(params).encode())]
        if file is not None:
            parts.append(("file", file.name, file.read_bytes()))
        return self._send("POST", f"/infer/{MODEL}", {"image": image, "output": output}, parts)

    def label(self, image: str, mask: np.ndarray) -> Answer:
        """Save a mask as the final label of an image."""
        stream = io.BytesIO()
        Image.fromarray(mask.astype(np.uint8)).save(stream, "png")
        parts = [("label", f"{image}.png", stream.getvalue())]
        return self._send("PUT", "/datastore/label", {"image": image, "tag": "final"}, parts)

    def start_training(self, epochs: int) -> Answer:
        body = json.dumps({"max_epochs": epochs, "device": "cpu", "val_split": 0.2}).encode()
        return _asked(Request(f"{self.url}/train/{MODEL}", body, {"Content-Type": "application/json"}, method="POST"))

    def trained(self) -> dict[str, Any]:
        """Wait for the training's end, and return what the server says of it."""
        end = time.monotonic() + _TRAINING
        while (state := self.get("/train/").json)["status"] in ("SUBMITTED", "RUNNING"):
            assert time.monotonic() < end, state
            time.sleep(1)
        return state

    def _send(
        self, method: str, path: str, query: dict[str, str], parts: Sequence[tuple[str, str | None, bytes]]
    ) -> Answer:
        form = b""
        for name, file, content in parts:
            where = f'; filename="{file}"' if file else ""
            form += (
                f'--limit\r\nContent-Disposition: form-data; name="{name}"{where}\r\n\r\n'.encode() + content + b"\r\n"
            )
        headers = {"Content-Type": "multipart/form-data; boundary=limit"}
        return _asked(Request(f"{self.url}{path}?{urlencode(query)}", form + b"--limit--\r\n", headers, method=method))


@contextmanager
def served(studies: Path | str, workspace: Path, first: Sequence[str | Path]) -> Iterator[Server]:
    """A server on images of a folder or a DICOMweb server, on a free port of the loopback.

    Whatever happens, it and the trainings it has started end. `first` are the options that say what a new workspace
    begins with.
    """
    port = free_port()
    log = workspace.with_suffix(".log")
    options = ["--studies", studies, "--workspace", workspace, "--port", port, *first]
    command = [str(PYTHON), "-m", "scripts.label_server", *map(str, options)]
    with log.open("ab") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True)
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _await(server)
        yield server
    finally:
        killed(server)


def killed(server: Server) -> None:
    """End a server at once, and with it the trainings that it has started."""
    if server.process.poll() is None:
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def _await(server: Server) -> None:
    end = time.monotonic() + _START
    while True:
        assert server.process.poll() is None, server.log.read_text(encoding="utf-8")[-2000:]
        assert time.monotonic() < end, server.log.read_text(encoding="utf-8")[-2000:]
        try:
            assert server.get("/info/").status == 200
            return
        except OSError:
            time.sleep(1)


def _asked(request: Request) -> Answer:
    try:
        with urlopen(request, timeout=_ANSWER) as response:
            return Answer(response.status, response.read())
    except HTTPError as error:
        return Answer(error.code, error.read())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
