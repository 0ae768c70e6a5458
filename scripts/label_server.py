"""Annotate radiographs with MONAI Label: this bundle segments them, and learns from what is annotated.

    make label-server STUDIES=FOLDER
    python -m scripts.label_server --studies FOLDER --start runs/pretrain/NAME --classes effusion nodule
    python -m scripts.label_server --studies http://127.0.0.1:8042/dicom-web

Runs in the environment that `make label-server` builds, see docs/monai_label.md, and listens on this machine alone
unless told otherwise: MONAI Label asks nobody who they are. Research software, not a medical device.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.data.errors import DataError
from bundle.networks.weights.errors import WeightsError
from scripts.command import exit_code
from scripts.labelling.started import prepare_started_workspace
from scripts.labelling.workspace import ROOT, prepare_workspace

__all__ = ["main"]

_KINDS = [f"*{suffix}" for suffix in (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".dcm")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns when the server has been stopped.

    Args:
        arguments: what follows `python -m scripts.label_server`; the process's own by default.

    Returns:
        Exit code: 0, or 2 after an error that was printed in one sentence.
    """
    args = _parse(arguments)
    errors = (DataError, WeightsError, OSError)
    return exit_code(lambda: _serve(args), errors, "what was annotated is kept with the studies")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.label_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--studies", required=True, help="folder of images, or the URL of a DICOMweb server")
    first = parser.add_mutually_exclusive_group()
    first.add_argument("--weights", type=Path, default=ROOT / "models" / "model.pt", help="what a new workspace has")
    first.add_argument("--start", type=Path, metavar="RUN", help="or encoder and decoder of this pre-training run")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="what is annotated, with --start")
    parser.add_argument("--workspace", type=Path, default=Path("runs/label_server"), help="app, fine-tuned weights")
    parser.add_argument("--name", default="cxr_segmentation", help="of the model, as clients see it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; other machines reach 0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    return parser.parse_args(arguments)


def _serve(args: argparse.Namespace) -> None:
    if importlib.util.find_spec("monailabel") is None:
        raise DataError("MONAI Label is not in this environment: start the server with `make label-server`")
    if not args.studies.startswith(("http://", "https://")) and not Path(args.studies).is_dir():
        raise DataError(f"--studies {args.studies}: no such folder")
    workspace = args.workspace.resolve()
    _prepare(args, workspace)
    _set_environment(workspace)
    _start(args, workspace)


def _prepare(args: argparse.Namespace, workspace: Path) -> None:
    if (args.start is None) != (args.classes is None):
        raise DataError("--start RUN and --classes NAME ... go together: a run, and what is annotated with its network")
    if args.start is None:
        prepare_workspace(workspace, args.name, args.weights)
    else:
        prepare_started_workspace(workspace, args.name, args.start, args.classes)


def _set_environment(workspace: Path) -> None:
    """Settings that MONAI Label reads when it is imported; those that are set already win."""
    settings = {
        "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps(_KINDS),
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": json.dumps({"Modality": "DX,CR"}),
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(workspace / "dicomweb"),
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "10",  # s until what is new on the server is seen; by itself two hours
        "MONAI_LABEL_SESSION_PATH": str(workspace / "sessions"),
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        # With several devices MONAI Label wants a config of its own, and without it trains nothing and says "done".
        "CUDA_VISIBLE_DEVICES": "0",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    # For the processes that train.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def _start(args: argparse.Namespace, workspace: Path) -> None:
    # Not before the settings, nor before the name that pydicom-seg looks for is there.
    from scripts.labelling.pydicom_names import restore_pydicom_names

    restore_pydicom_names()
    from monailabel.main import Main

    conf = {"models": args.name, "zoo_source": "local", "sam2": "false", "preload": "false"}
    options = ["start_server", "--app", str(workspace), "--studies", args.studies, "--host", args.host]
    options += ["--port", str(args.port), "--uvicorn_app", "scripts.labelling.application:make_app"]
    for name, value in conf.items():
        options += ["--conf", name, value]
    server = Main()
    server.action_start_server(server.args_parser().parse_args(options))


if __name__ == "__main__":
    sys.exit(main())
