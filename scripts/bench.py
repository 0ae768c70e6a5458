"""Measures what the product costs: a step of pre-training, the path of the data, and inference.

    python -m scripts.bench pretrain --out runs/bench.json
    python -m scripts.bench data --out runs/bench.json
    python -m scripts.bench inference --out runs/bench.json

What the figures mean: docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scripts.command import exit_code
from scripts.preparing.options import at_least, multiple_of, positive

__all__ = ["main"]

_LEAST_SIDE = 64  # px: below it the deepest maps of an image encoder are a single pixel


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: command line, by default that of the process.

    Returns:
        Exit code: 0, or 2 after an error that was printed in one sentence, or 130 after Ctrl-C.
    """
    args = _parse(arguments)
    return exit_code(lambda: _measure(args), (ValueError, OSError), "nothing was written")


def _measure(args: argparse.Namespace) -> None:
    # Imported here, since the processes that measure memory run this file again.
    from scripts.benching.figures import read_figures, write_figures

    kept = read_figures(args.out) if args.out is not None else {}
    figures, report = args.measure(args)
    print("\n".join(report))
    if args.out is not None:
        write_figures(args.out, {**kept, **figures})
        print(f"\nwrote {args.out}")


def _pretrain(args: argparse.Namespace) -> tuple[dict[str, Any], Iterable[str]]:
    from scripts.benching.pretrain import bench_pretrain
    from scripts.benching.report import pretrain_report
    from scripts.benching.variants import Settings

    settings = Settings(args.batch, args.image, args.size, args.device, args.threads)
    figures = bench_pretrain(settings, args.rounds)
    return figures, pretrain_report(figures)


def _data(args: argparse.Namespace) -> tuple[dict[str, Any], Iterable[str]]:
    from scripts.benching.data import DataSettings, bench_data
    from scripts.benching.report import data_report

    figures = bench_data(DataSettings(size=args.size, rounds=args.rounds))
    return figures, data_report(figures)


def _inference(args: argparse.Namespace) -> tuple[dict[str, Any], Iterable[str]]:
    from scripts.benching.inference import InferenceSettings, bench_inference, inference_report

    figures = bench_inference(InferenceSettings(side=args.side, rounds=args.rounds))
    return figures, inference_report(figures)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="pretrain|data|inference")
    pretrain = commands.add_parser("pretrain", help="a step of pre-training: default against released")
    pretrain.add_argument("--batch", type=at_least(2), default=8, help="pairs a step (8)")
    pretrain.add_argument("--rounds", type=positive, default=3, help="timed steps of each variant (3)")
    pretrain.add_argument("--image", default="resnet50", help="image encoder, any name of timm's (resnet50)")
    pretrain.add_argument(
        "--size", type=multiple_of(32, _LEAST_SIDE), default=256, help="side of the images in pixels (256)"
    )
    pretrain.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the steps run (cpu)")
    pretrain.add_argument("--threads", type=positive, default=1, help="threads on a CPU (1)")
    pretrain.set_defaults(measure=_pretrain)
    data = commands.add_parser("data", help="packing, reading a packed store, augmentation")
    data.add_argument(
        "--size", type=multiple_of(8, _LEAST_SIDE), default=256, help="side of the store's images in pixels (256)"
    )
    data.add_argument("--rounds", type=positive, default=5, help="repetitions (5)")
    data.set_defaults(measure=_data)
    inference = commands.add_parser("inference", help="from a DICOM file to its label map, on one core")
    inference.add_argument("--side", type=at_least(256), default=2000, help="of the radiographs in pixels (2000)")
    inference.add_argument("--rounds", type=positive, default=5, help="repetitions (5)")
    inference.set_defaults(measure=_inference)
    for command in (pretrain, data, inference):
        command.add_argument("--out", type=Path, metavar="FILE.json", help="put the figures there, beside others")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
