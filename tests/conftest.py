"""What holds for every test: no network, one thread, and real data only from `$CXR_DATA_ROOT`. And one store."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read by the libraries when they are imported, and by the processes that tests start. One thread keeps sums, and with
# them recorded losses, the same on machines with other core counts.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # for a bare `pytest`; `python -m pytest` in the root needs it not

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
settings.register_profile("bundle", parent=settings.default, deadline=None)  # a busy machine is no failure
settings.load_profile("bundle")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository, which is the root of the bundle."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real data named by `$CXR_DATA_ROOT`; tests that ask for it skip where there is none."""
    root = os.environ.get("CXR_DATA_ROOT")
    if not root:
        pytest.skip("needs real data: CXR_DATA_ROOT is not set")
    if not Path(root).is_dir():
        pytest.skip(f"needs real data: CXR_DATA_ROOT names {root}, which is no folder")
    return Path(root)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 75 synthetic radiographs of 64 px with their data list (60, 8 and 7 items)."""
    from scripts.prepare import main

    folder = tmp_path_factory.mktemp("phantoms")
    assert main(["phantom", "--out", str(folder), "--count", "75", "--size", "64", "--workers", "1"]) == 0
    return folder


@pytest.fixture(scope="session")
def phantom_store(phantoms: Path) -> Path:
    """The phantoms as a packed store with a tokenizer of 300 words. Not to be changed: all tests share it."""
    from scripts.pack import main

    store = phantoms / "store"
    options = ["--size", "64", "--vocab-size", "300", "--workers", "1"]
    assert main([str(phantoms / "datalist.json"), "--out", str(store), *options]) == 0
    return store


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Fail a test that connects to another machine, whatever the code under test makes of errors."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            pytest.fail(f"a test tried to connect to {address[0]}: tests make their data and use no network")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        yield


def _is_local(host: str) -> bool:
    """Whether a host, as a name or an address, is this machine."""
    if host in ("localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
