"""Runs the figures: each row is trained once for each seed and measured, and docs/results.md is written from that.

What has a result is not run again, and a run that was stopped goes on from its last checkpoint. With GANVAE_DATA_DIR,
MNIST is read from that folder's ``mnist/``; without it the library downloads it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Before torch is imported: small networks gain nothing from more threads, and sums depend on how many share them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
from figure import read_figure, read_figures
from jobs import WORK, Selection, all_pending, run_all
from results import read_results
from table import write_page
from training import definition

from ganvae_core import ConfigurationError, GanvaeError
from ganvae_core.errors import did_you_mean


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """``0-9,20`` as numbers."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise click.BadParameter(f"'{text}' is not like 0-9 or 3,5,7.", param_hint="--seeds")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def selected(names: Sequence[str]) -> dict[str, list[str]]:
    """Figures by name with the rows that are wanted of each; ``grid/gan`` is one row of a figure."""
    chosen: dict[str, list[str]] = {}
    for name in names or [figure.name for figure in read_figures()]:
        figure, _, row = name.partition("/")
        known = [row.name for row in read_figure(figure).rows]
        if row and row not in known:
            raise ConfigurationError(f"the figure '{figure}' has no row '{row}'.{did_you_mean(row, known)}",
                                     f"rows: {', '.join(known)}")  # fmt: skip
        chosen.setdefault(figure, [])
        chosen[figure] += [row] if row else []
    return chosen


def _show(chosen: dict[str, list[str]]) -> None:
    """Print every figure with its rows, and how many of their seeds have a result."""
    for name, wanted in chosen.items():
        figure, results = read_figure(name), read_results(name)
        click.echo(f"{name}: {figure.title}")
        for row in figure.rows:
            if wanted and row.name not in wanted:
                continue
            try:
                done = f"{len(results.seeds(row.name, definition(row)))} of {len(row.seeds)} seeds done"
            except GanvaeError as error:
                done = error.message
            click.echo(f"  {name}/{row.name}   {done}{'   (long)' if row.long else ''}")


def _stop(number: int, frame: object) -> None:
    """End as Ctrl-C does, whatever is sent after the first signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seeds", metavar="0-9,20", help="These seeds in place of those that the figures name.")
@click.option(
    "--long", is_flag=True, help="Also rows that take hours; a row that is named is run in any case."
)
@click.option("--steps", type=click.IntRange(min=1), help="Try it with so many steps; nothing is stored.")
@click.option("--jobs", "processes", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="the cores",
              help="How many runs at a time, each with one thread.")  # fmt: skip
@click.option("--work", type=click.Path(path_type=Path), default=WORK, show_default="runs/papers",
              help="Where run directories and judges' weights are kept.")  # fmt: skip
@click.option("--again", is_flag=True, help="Also what has a result, which is replaced.")
@click.option("--list", "listed", is_flag=True, help="List figures and rows; run nothing.")
def main(
    names: tuple[str, ...],
    seeds: str | None,
    long: bool,
    steps: int | None,
    processes: int,
    work: Path,
    again: bool,
    listed: bool,
) -> None:
    """Run figures (all of them, or NAMES: grid, or grid/gan for one row), then write docs/results.md."""
    signal.signal(signal.SIGTERM, _stop)
    selection = Selection(parse_seeds(seeds), long, again, steps, work)
    began = time.perf_counter()
    try:
        chosen = selected(names)
        if listed:
            _show(chosen)
            return
        jobs, failed = all_pending(chosen, selection)
        failed += run_all(jobs, min(processes, len(jobs))) if jobs else []
    except GanvaeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on where it was", err=True)
        sys.exit(130)
    click.echo(f"{len(jobs)} runs in {time.perf_counter() - began:.0f} s" if jobs else "nothing to do")
    if not steps:
        write_page()
        click.echo("written: docs/results.md")
    if failed:
        click.echo(f"failed: {'; '.join(failed)}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
