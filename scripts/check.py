"""Check a data list before anything is trained on it, and print what is in it.

    python -m scripts.check lists/chest/datalist.json
    python -m scripts.check lists/chest/datalist.json --decode --same-images --sheet chest.png

Exit code: 0 where the list passes; 1 where it breaks a rule, files are missing or unusable, sizes or published counts
differ, or a picture is in two splits; 2 where it can't be read at all. Neither ids nor texts are printed: items are
named by their place, such as training[17].
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.handlers.atomic import replacing
from scripts.checking.figures import gather_figures, problems_of
from scripts.checking.files import Files
from scripts.checking.report import report_lines, verdict
from scripts.checking.rules import check_all_rules, read_json
from scripts.command import exit_code
from scripts.preparing.options import positive

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: what follows `python -m scripts.check`; the process's own by default.

    Returns:
        Exit code: 0 where the list passes, 1 where it doesn't, 2 where it can't be read, 130 after Ctrl-C.
    """
    args = _parse(arguments)
    return exit_code(lambda: _check(args), interrupted="the check is not complete")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("list", type=Path, metavar="LIST", help="data list (JSON)")
    parser.add_argument(
        "--files",
        type=_files,
        default="all",
        metavar="all|N|none",
        help="look at the files of all items, of N spread over the list, or of none (default: all)",
    )
    parser.add_argument("--decode", action="store_true", help="decode every image instead of reading its header")
    parser.add_argument(
        "--same-images", action="store_true", help="look for the same picture under two names; decodes every image"
    )
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw images with their masks and boxes there")
    parser.add_argument("--count", type=positive, default=16, metavar="N", help="images on the sheet (default: 16)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the sheet's draw (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    workers = min(8, os.cpu_count() or 1)
    parser.add_argument("--workers", type=positive, default=workers, metavar="N", help=f"threads (default: {workers})")
    return parser.parse_args(arguments)


def _files(text: str) -> Files:
    return "all" if text == "all" else "none" if text == "none" else positive(text)


def _check(args: argparse.Namespace) -> int:
    datalist = read_json(args.list)
    rules = check_all_rules(datalist, args.list)
    if not rules.has_form:
        print("\n".join([str(args.list), *verdict(rules.broken)]))
        return 1
    figures = gather_figures(datalist, rules, args.list, args.files, args.decode, args.same_images, args.workers)
    problems = problems_of(figures)
    print("\n".join([str(args.list), *report_lines(figures)]))
    if args.json is not None:
        with replacing(args.json) as partial:
            partial.write_text(json.dumps({**figures, "problems": problems}, indent=2) + "\n", encoding="utf-8")
        print(f"\nwrote {args.json}")
    if args.sheet is not None and rules.has_annotations:
        # Imported here: a report needs no matplotlib, which takes a second.
        from scripts.checking.sheet import draw_sheet

        draw_sheet(datalist, args.list, args.sheet, args.count, args.seed)
        print(f"\nwrote {args.sheet}")
    print("\n".join(verdict(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
