"""What leaves the repository: weights for MONAI's tools, a program without Python code, the bundle as one file.

    python -m scripts.export model runs/segmentation/lungs --out models/model.pt
    python -m scripts.export program --out model.pt2
    python -m scripts.export bundle --out cxr_bundle.zip

TorchScript and ONNX come from MONAI's own commands, see docs/inference.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.data.errors import DataError
from bundle.networks.weights.errors import WeightsError
from scripts.command import exit_code

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: what follows `python -m scripts.export`; the process's own by default.

    Returns:
        Exit code: 0, or 2 after an error that was printed in one sentence, or 130 after Ctrl-C.
    """
    args = _parse(arguments)
    return exit_code(lambda: args.work(args), (DataError, WeightsError, OSError), "nothing was written")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(required=True, metavar="KIND")
    model = kinds.add_parser("model", help="weights of a run as models/model.pt")
    model.add_argument("source", type=Path, metavar="RUN", help="folder of a supervised run, or a weights file")
    model.add_argument("--out", type=Path, default=_ROOT / "models" / "model.pt", metavar="FILE", help="(%(default)s)")
    model.set_defaults(work=_model)
    program = kinds.add_parser("program", help="network of configs/inference.json as a torch.export program")
    program.add_argument("--weights", type=Path, default=_ROOT / "models" / "model.pt", metavar="FILE")
    program.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends in .pt2")
    program.set_defaults(work=_program)
    bundle = kinds.add_parser("bundle", help="all of the bundle as the zip file that MONAI's tools load")
    bundle.add_argument("--root", type=Path, default=_ROOT, metavar="FOLDER", help="of the bundle (this one)")
    bundle.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="ends in .zip; its name is the bundle's"
    )
    bundle.set_defaults(work=_bundle)
    return parser.parse_args(arguments)


def _model(args: argparse.Namespace) -> None:
    # Imported here: `--help` need not wait for torch.
    from scripts.exporting.model import export_model

    print(f"wrote {args.out} ({export_model(args.source, args.out) / 1e6:.1f} MB)")


def _program(args: argparse.Namespace) -> None:
    from scripts.exporting.program import export_program

    export_program(_ROOT, args.weights, args.out)
    print(f"wrote {args.out}")


def _bundle(args: argparse.Namespace) -> None:
    from scripts.exporting.archive import write_archive

    names = write_archive(args.root, args.out)
    print(f"wrote {args.out}: {len(names)} files")


if __name__ == "__main__":
    sys.exit(main())
