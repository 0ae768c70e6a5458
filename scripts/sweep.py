"""Runs matrices of variants and seeds, and compares the variants: the bench that decides questions by measurement.

    python -m scripts.sweep configs/sweeps/threshold.yaml              # runs what is not done, then writes the table
    python -m scripts.sweep configs/sweeps/*.yaml --parallel 2         # several sweeps; what they share runs once
    python -m scripts.sweep configs/sweeps/threshold.yaml --only 'default/*' --dry-run
    python -m scripts.sweep configs/sweeps/threshold.yaml --table      # of what is done so far

A cell is a variant with one seed: a chain of ordinary runs, such as a pre-training and what is measured of it. What is
done is not done again; after Ctrl-C, SIGTERM, SIGKILL or a failed run the same command goes on where it was.
docs/ablations.md tells how a sweep file is written.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.handlers.atomic import replacing
from scripts.command import exit_code
from scripts.preparing.options import positive
from scripts.sweeping.at_work import AtWork
from scripts.sweeping.errors import SweepError
from scripts.sweeping.figures import gather
from scripts.sweeping.ids import check_ids
from scripts.sweeping.jobs import ROOT, Cell, Job, cells_of
from scripts.sweeping.lock import locked
from scripts.sweeping.records import is_done, note_cells
from scripts.sweeping.slots import default_parallel, slots, visible_gpus
from scripts.sweeping.sweep_file import Sweep, read_sweep
from scripts.sweeping.tables import csv_table, markdown_table

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: command line, by default that of the process.

    Returns:
        Exit code: 0 when all is done, 1 when a run failed, 2 after an error that was printed in one sentence, 130 after
        Ctrl-C or SIGTERM.
    """
    args = _parse(arguments)
    again = "the same command goes on where it was"
    return exit_code(lambda: _sweep(args), (SweepError, ValueError, OSError), again)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP.yaml", help="what to run and to compare")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "runs" / "sweeps",
        help="folder of all sweeps; they share steps (runs/sweeps)",
    )
    parser.add_argument("--parallel", type=positive, help="runs side by side (one a GPU, else one a core, up to 4)")
    parser.add_argument("--only", default="*", metavar="CELL", help="cells to run, such as 'median/*' or '*/seed_0'")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--table", action="store_true", help="write the tables of what is done, run nothing")
    return parser.parse_args(arguments)


def _sweep(args: argparse.Namespace) -> int:
    args.out = args.out.absolute()
    sweeps = {sweep: cells_of(sweep, args.out) for sweep in _read(args.sweeps)}
    chosen = [cell for cells in sweeps.values() for cell in cells if fnmatch.fnmatch(cell.name, args.only)]
    if not chosen:
        names = ", ".join(cell.name for cells in sweeps.values() for cell in cells)
        raise SweepError(f"--only {args.only}: no cell is called so; there are {names}")
    if args.dry_run:
        return _print_commands(chosen)
    failed = 0 if args.table else _run(chosen, args)
    for sweep, cells in sweeps.items():
        _write_tables(sweep, cells, args.out / sweep.name)
    return 1 if failed else 0


def _read(paths: Sequence[Path]) -> list[Sweep]:
    sweeps = [read_sweep(path, ROOT / "configs") for path in paths]
    names = [sweep.name for sweep in sweeps]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SweepError(f"{', '.join(twice)}: two sweep files have this name, which is that of the folder, too")
    return sweeps


def _titles(cells: Sequence[Cell]) -> dict[Job, str]:
    """All jobs of the cells, each once, called by the first cell that asks for it."""
    titles: dict[Job, str] = {}
    for cell in cells:
        for step, job in cell.jobs.items():
            titles.setdefault(job, f"{cell.sweep}: {cell.name}: {step}")
    return titles


def _print_commands(cells: Sequence[Cell]) -> int:
    for job, title in _titles(cells).items():
        print(f"# {title}{' (done)' if is_done(job) else ''}\n{shlex.join(job.command)}")
    return 0


def _run(cells: Sequence[Cell], args: argparse.Namespace) -> int:
    """Run what is not done, and return how many jobs failed."""
    titles = _titles(cells)
    check_ids(titles)
    cores, gpus = len(os.sched_getaffinity(0)), visible_gpus()
    places = slots(args.parallel or default_parallel(gpus, cores), gpus, cores)
    with locked(args.out, _say) as lock:
        note_cells(cells, args.out)
        work = AtWork(list(titles), places, lock, titles, _say)
        _say(f"{work.total} of {len(titles)} steps of {len(cells)} cells are to be done, {len(places)} side by side")
        work.run()
    if work.stopped:
        raise KeyboardInterrupt
    for job, words in work.failed.items():
        _say(f"failed: {titles[job]}: {words}")
    if work.waiting:
        _say(f"{len(work.waiting)} steps that need those were not begun; the same command tries again")
    return len(work.failed)


def _write_tables(sweep: Sweep, cells: Sequence[Cell], folder: Path) -> None:
    # Imported here: matplotlib takes a second, which errors need not wait for.
    from scripts.sweeping.curves import courses_of, draw_courses
    from scripts.sweeping.plot import draw

    figures = gather(sweep, cells)
    table = markdown_table(sweep, figures, cells)
    for name, text in {"table.md": table, "table.csv": csv_table(sweep, figures)}.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    draw(sweep, figures, folder / "figures.png")
    if courses := courses_of(cells):
        draw_courses(sweep, courses, folder / "curves.png")
    else:
        (folder / "curves.png").unlink(missing_ok=True)  # of trainings that are no longer the sweep's
    written = ["table.md", "table.csv", "figures.png", *(["curves.png"] if courses else [])]
    print(f"\n{table}\nIn {folder}: {', '.join(written)}", flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
