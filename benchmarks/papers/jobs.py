"""Runs of rows: which are still to be done, and doing them, some at a time."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # where machine.py serves the other benchmarks too

import click
import torch
from classifiers import JudgeName, Judges
from datasets import real_source
from evaluation import RealRows, Samples, evaluate, judges_of
from figure import Figure, Row, read_figure
from machine import machine
from PIL import Image
from results import Results, read_results
from table import ROOT, picture
from training import Trained, definition, mark_measured, train

from ganvae_core import ConfigurationError, GanvaeError
from ganvae_core.store.files import whole_file

WORK = ROOT / "runs" / "papers"
COLOURS = 64


@dataclass(frozen=True)
class Job:
    """One run of one row.

    Args:
        definition: what the result follows from, at the moment at which the run was found to be wanting.
        steps: in place of the row's budget, for a trial, which leaves nothing behind.
    """

    figure: str
    row: Row
    definition: Mapping[str, Any]
    seed: int
    work: Path
    steps: int | None = None

    @property
    def title(self) -> str:
        """What the job is called."""
        return f"{self.figure}/{self.row.name}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The run directory."""
        kind = "trials" if self.steps else self.figure
        return self.work / kind / f"{self.figure}-{self.row.name}-{self.seed}"


def do(job: Job) -> dict[str, Any]:
    """Train and measure; the result as it is stored."""
    judges = Judges(job.work / "judges")
    device = torch.device("cpu")
    trained: Trained | None = None
    if job.steps:
        shutil.rmtree(job.folder, ignore_errors=True)
    if job.row.plugin is None:
        values = evaluate(RealRows(real_source(job.row.data)), job.row, judges)
    else:
        trained = train(job.row, job.seed, job.folder, steps=job.steps)
        device = trained.run.device
        values = evaluate(Samples(trained), job.row, judges)
        if job.row.picture and job.seed == job.row.seeds[0]:
            target = picture(job.figure, job.row.name)
            keep_picture(job.folder, job.row.picture, job.folder / target.name if job.steps else target)
    return {
        "values": values,
        "seconds": 0.0 if trained is None else round(trained.seconds, 1),
        "steps": 0 if trained is None else trained.run.step,
        "samples_seen": 0 if trained is None else trained.samples_seen,
        "judges": {name: judges.get(name).as_dict() for name in judges_of(job.row)},
        "machine": machine(device),
    }


def keep_picture(run: Path, pattern: str, target: Path) -> None:
    """The newest of a run's pictures that fit the pattern, in few colours, so that a page with many of them loads fast.

    Raises:
        ConfigurationError: the run left no such picture.
    """
    pictures = sorted(run.glob(pattern))
    if not pictures:
        raise ConfigurationError(
            f"picture: the run has left no '{pattern}' in '{run}'.", "for example  picture: samples/*.png"
        )
    with Image.open(pictures[-1]) as image, whole_file(target) as file:
        image.convert("RGB").quantize(COLOURS).save(file, format="PNG", optimize=True)


@dataclass(frozen=True)
class Selection:
    """The selected runs.

    Args:
        seeds: in place of those of the rows; None for these.
        long: include rows that take hours; a named row is always included.
        again: include rows with a result.
        steps: of a trial run of each row with its first seed, without results.
        work: where runs and weights are kept.
    """

    seeds: tuple[int, ...] | None = None
    long: bool = False
    again: bool = False
    steps: int | None = None
    work: Path = WORK


def pending(figure: Figure, row: Row, results: Results, selection: Selection) -> list[Job]:
    """A row's runs that are still to be done.

    Raises:
        GanvaeError: the row cannot be configured.
    """
    own = row.seeds[:1] if selection.steps else row.seeds
    if selection.seeds is not None and row.plugin is not None:
        own = selection.seeds
    now = definition(row)
    done = {} if selection.again or selection.steps else results.seeds(row.name, now)
    return [
        Job(figure.name, row, now, seed, selection.work, selection.steps) for seed in own if seed not in done
    ]


def all_pending(chosen: Mapping[str, Sequence[str]], selection: Selection) -> tuple[list[Job], list[str]]:
    """What is to be done, and a line for each row that cannot be.

    By figure, and there the first seed of every row, then the second: what was stopped early has something of all rows.
    """
    jobs: list[Job] = []
    failed: list[str] = []
    for name, wanted in chosen.items():
        figure, results = read_figure(name), read_results(name)
        turns: list[tuple[int, Job]] = []  # the how-manieth seed of its row, and the run
        for row in figure.rows:
            if row.name in wanted or (not wanted and (selection.long or not row.long)):
                try:
                    turns += enumerate(pending(figure, row, results, selection))
                except GanvaeError as error:
                    failed.append(_failure(f"{name}/{row.name}", error))
        jobs += [job for _, job in sorted(turns, key=lambda pair: pair[0])]
    return jobs, failed


def store(job: Job, result: dict[str, Any]) -> None:
    """Write a result down and print it."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in result["values"].items())
    click.echo(f"{job.title}: {values}   ({result['seconds']:.0f} s for {result['steps']:,} steps)")
    if job.steps:
        for folder in job.folder.parent.glob(f"{job.folder.name}*"):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    else:
        read_results(job.figure).add(job.row.name, job.definition, job.seed, result)
        mark_measured(job.folder)


def run_all(jobs: Sequence[Job], processes: int) -> list[str]:
    """Do the jobs, some at a time, and return a line for each that failed; the others are done all the same."""
    asked: dict[JudgeName, None] = {name: None for job in jobs for name in judges_of(job.row)}
    for name in asked:
        judge = Judges(jobs[0].work / "judges").get(name)  # once, before several processes ask for it
        click.echo(f"judge {name}: right on {judge.accuracy:.2f} % of {judge.held_out:,} held-out images")
    if processes == 1:
        return [line for job in jobs for line in _told(job, lambda job=job: do(job))]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_be_quiet_when_stopped)
    failed: list[str] = []
    try:
        futures = {pool.submit(do, job): job for job in jobs}
        for future in as_completed(futures):
            failed += _told(futures[future], future.result)
    except BaseException:
        children = multiprocessing.active_children()
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.terminate()
        raise
    pool.shutdown()
    return failed


def _told(job: Job, outcome: Callable[[], dict[str, Any]]) -> list[str]:
    """Store what a job came to; a line where it failed."""
    try:
        store(job, outcome())
    except BrokenProcessPool:
        raise
    except Exception as error:
        return [_failure(job.title, error)]
    return []


def _failure(title: str, error: Exception) -> str:
    """Say what failed: an error that was raised on purpose explains itself, of any other the traceback is wanted."""
    text = str(error) if isinstance(error, GanvaeError) else "".join(traceback.format_exception(error))
    click.echo(f"{title}: {text}", err=True)
    return title


def _be_quiet_when_stopped() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
