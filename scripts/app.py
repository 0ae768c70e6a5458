"""A web page for one radiograph at a time: drop it, see its segmentation, its findings, and where a phrase is seen.

    make app
    python -m scripts.app --pretrained runs/pretrain/g2d
    python -m scripts.app --segmentation runs/segmentation/lungs/models/best.safetensors --port 7861

Runs in the environment that `make app` builds, see docs/app.md, needs no network, and listens on this machine alone
unless told otherwise. Research software, not a medical device: its answers are no diagnosis.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.data.errors import DataError
from bundle.networks.weights.errors import WeightsError
from scripts.command import exit_code

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns when the page has been stopped.

    Args:
        arguments: what follows `python -m scripts.app`; the process's own by default.

    Returns:
        Exit code: 2 after an error that was printed in one sentence, or 130 after Ctrl-C.
    """
    args = _parse(arguments)
    errors = (DataError, WeightsError, OSError)
    return exit_code(lambda: _serve(args), errors, "what was dropped on the page has been removed")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.app", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--segmentation",
        type=Path,
        default=_ROOT / "models" / "model.pt",
        metavar="FILE",
        help="weights of the network of configs/inference.json (%(default)s)",
    )
    parser.add_argument(
        "--pretrained", type=Path, metavar="FOLDER", help="of a pre-training run; without it there are no findings"
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        default=_ROOT / "configs" / "prompts" / "findings.json",
        metavar="FILE",
        help="the sentences of the findings (%(default)s)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; other machines reach 0.0.0.0")
    parser.add_argument("--port", type=int, default=7860, help="(%(default)s); 0 takes any that is free")
    return parser.parse_args(arguments)


def _serve(args: argparse.Namespace) -> None:
    if importlib.util.find_spec("gradio") is None:
        raise DataError("Gradio is not in this environment: start the page with `make app`")
    # Imported here: `--help` need not wait for torch.
    from scripts.showing.answers import Answers
    from scripts.showing.segmentation import Segmentation
    from scripts.showing.server import serve
    from scripts.showing.words import Words

    words = Words(args.pretrained, args.prompts) if args.pretrained else None
    serve(Answers(Segmentation(args.segmentation), words), args.host, args.port)


if __name__ == "__main__":
    sys.exit(main())
