"""Puts the figures of any set of runs into one table, and into a plot against the number of labels.

    python -m scripts.table runs/segmentation
    python -m scripts.table runs/segmentation/a runs/segmentation/b --metrics dice_pos,dice_mgca --csv table.csv
    python -m scripts.table runs/segmentation --metrics dice_pos --plot labels.png

A run is a folder with `results.json`; a folder that contains such is searched. The table is Markdown, on the standard
output unless a file is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.handlers.atomic import replacing
from scripts.command import exit_code
from scripts.tabulating.rows import choose_metrics, csv_table, markdown_table
from scripts.tabulating.runs import TableError, find_runs

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: command line, by default that of the process.

    Returns:
        Exit code: 0, or 2 after an error that was printed in one sentence, or 130 after Ctrl-C.
    """
    args = _parse(arguments)
    return exit_code(lambda: _write(args), (TableError, OSError))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, or folders that contain such")
    parser.add_argument("--metrics", type=_names, default=[], metavar="A,B", help="columns (the headlines of the runs)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, not to standard output")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all digits there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the first metric against --x there")
    parser.add_argument(
        "--x", default="fraction", help="number of results.json or config.yaml that is the plot's axis (fraction)"
    )
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _write(args: argparse.Namespace) -> None:
    runs = find_runs(args.runs)
    metrics = choose_metrics(runs, args.metrics)
    facts = [args.x] if any(run.number(args.x) is not None for run in runs) else []
    table = markdown_table(runs, metrics, facts)
    if args.markdown is None:
        print(table, end="")
    else:
        _put(args.markdown, table)
    if args.csv is not None:
        _put(args.csv, csv_table(runs, metrics, facts))
    if args.plot is not None:
        # Imported here: a table needs no matplotlib, which takes a second.
        from scripts.tabulating.efficiency import draw_efficiency

        draw_efficiency(runs, metrics[0], args.x, args.plot)


def _put(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
