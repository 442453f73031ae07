"""``ganvae compare``: several families on the same data, in one report."""

from __future__ import annotations

import dataclasses
import platform
import shlex
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from filelock import FileLock, Timeout

from ganvae_compare.plan import (
    PLAN,
    Job,
    Plan,
    interrupted,
    next_free,
    parse_budget,
    read_settings,
    write_settings,
)
from ganvae_core.cli.frame import PathName, WholeNumber, current_catalogue
from ganvae_core.cli.output import counted, note, print_error
from ganvae_core.errors import ConfigurationError, GanvaeError, RunError

if TYPE_CHECKING:
    from ganvae_compare.jobs import Worker
    from ganvae_core.plugins import Catalogue

LOCK = ".lock"
PERCENT_STEP = 10
"""How finely the share of a run that is done is said."""


@click.command()
@click.argument("words", metavar="[RUN | KEY=VALUE]...", nargs=-1)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="P",
    help="A candidate: a plugin, or plugin/recipe; repeat it.",
)
@click.option("--data", metavar="S", help="The data of all candidates.")
@click.option("--seeds", type=WholeNumber(min=1), metavar="N", help="Runs of each candidate; 3 by default.")
@click.option(
    "--budget",
    metavar="TIME|STEPS",
    help="Of each run: at most 60s, 5m, 1h of training, or exactly so many steps.",
)
@click.option("--metrics", metavar="M,…", help="As ganvae evaluate takes them.")
@click.option("--samples", type=WholeNumber(min=2), metavar="N", help="Samples that are measured.")
@click.option(
    "--processes", type=WholeNumber(min=1), metavar="N", help="Runs at once; by default one a core."
)
@click.option("--out", type=PathName(), metavar="DIR", help="The folder of the comparison.")
@click.option("--resume", type=PathName(), metavar="DIR", help="Go on with a comparison.")
def compare(
    words: tuple[str, ...],
    plugins: tuple[str, ...],
    data: str | None,
    seeds: int | None,
    budget: str | None,
    metrics: str | None,
    samples: int | None,
    processes: int | None,
    out: Path | None,
    resume: Path | None,
) -> int:
    """Train several families on the same data, measure them alike, and write one report.

    Every candidate has the same data, split, budget and measures. The report says which is better at what, and whether
    the seeds separate them. Ctrl-C saves; --resume trains nothing twice. Runs that exist are compared by their folders;
    one that cannot be read is a gap in the report.

    \b
    ganvae compare --plugin gan --plugin vae --data photos/ data.resize=32 --seeds 1 --budget 5m
    ganvae compare runs/vae-digits-1 runs/gan-digits-1
    ganvae compare --resume compare-photos-1
    """
    from ganvae_compare.jobs import work_through
    from ganvae_core.engine.environment import cores

    catalogue = current_catalogue()
    if resume is not None:
        given = [name for name, value in (("--plugin", plugins), ("--data", data), ("--seeds", seeds),
                                          ("--budget", budget), ("--out", out)) if value]  # fmt: skip
        if given or words:
            first = (given or list(words))[0]
            raise ConfigurationError(
                f"{first} does not go with --resume: a comparison goes on as it was begun."
            )
        plan = read_settings(Plan, resume, PLAN, "comparison")
    else:
        plan = _new_plan(words, plugins, data, seeds, budget, metrics, samples, out)
    damaged = _check_runs(catalogue, plan)
    if resume is None:
        plan = dataclasses.replace(plan, stages=_check_candidates(catalogue, plan))
    with _held(plan.folder):
        write_settings(plan, PLAN)
        jobs = [job for job in plan.jobs if job.run not in damaged]
        waiting = sum(not job.is_done for job in jobs)
        at_once = min(processes or cores(), max(1, waiting))
        note(f"{counted(len(jobs), 'run')}, {waiting} to do, {at_once} at once; in {plan.folder}")
        try:
            with Display(jobs) as show:
                failed = work_through(jobs, at_once, show)
        except KeyboardInterrupt as stop:
            raise interrupted(stop, "what was trained is saved", "compare", plan.folder) from None
        return _finish(plan, damaged, failed)


def _new_plan(
    words: Sequence[str],
    plugins: Sequence[str],
    data: str | None,
    seeds: int | None,
    budget: str | None,
    metrics: str | None,
    samples: int | None,
    out: Path | None,
) -> Plan:
    """What was asked for."""
    runs = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    if runs and (plugins or overrides or data or seeds or budget):
        raise ConfigurationError(f"'{runs[0]}' is a run that exists; settings of new runs do not go with it.",
                                 "compare runs:      ganvae compare RUN RUN",
                                 "train candidates:  ganvae compare --plugin gan --plugin vae")  # fmt: skip
    if len(runs) + len(plugins) < 1 or (runs and len(runs) < 2):
        raise ConfigurationError("there is nothing to compare.",
                                 "train candidates:  ganvae compare --plugin gan --plugin vae",
                                 "compare runs:      ganvae compare RUN RUN")  # fmt: skip
    twice = [name for name in plugins if plugins.count(name) > 1]
    if twice:
        raise ConfigurationError(f"--plugin {twice[0]} is given twice.")
    steps, seconds = parse_budget(budget)
    name = Path(data).stem if data else "digits" if plugins else "runs"
    folder = out or next_free(f"compare-{name}")
    plan = Plan(folder, tuple(plugins), seeds or (3 if plugins else 1), data or "", tuple(overrides),
                steps, seconds, metrics or "", samples, tuple(runs))  # fmt: skip
    if (plan.folder / PLAN).is_file():
        raise ConfigurationError(f"'{plan.folder}' holds a comparison already.",
                                 f"go on:  ganvae compare --resume {shlex.quote(str(plan.folder))}")  # fmt: skip
    return plan


def _check_runs(catalogue: Catalogue, plan: Plan) -> dict[Path, GanvaeError]:
    """Load every run that exists.

    Returns:
        Why runs cannot be read, by their paths; they are left out.

    Raises:
        GanvaeError: none can be read, or they are not to be compared.
    """
    from ganvae_compare.evaluate_verb import parse_metrics
    from ganvae_compare.evaluating import built_metrics, data_identity, refuse_other_data
    from ganvae_core.runs.loading import read_run

    identities: dict[Path, dict[str, Any]] = {}
    damaged: dict[Path, GanvaeError] = {}
    metrics = parse_metrics(plan.metrics or None)
    for path in map(Path, plan.runs):
        try:
            run = read_run(path, catalogue=catalogue)
            identities[path] = data_identity(run)
        except GanvaeError as error:
            damaged[path] = error
        else:
            built_metrics(catalogue, run.configuration, metrics)
    if damaged and not identities:
        raise next(iter(damaged.values()))
    refuse_other_data(identities)
    names = [job.run.name for job in plan.jobs]
    if len(set(names)) < len(names):
        raise ConfigurationError("two runs have the same name; copy one of them to another.")
    return damaged


def _check_candidates(catalogue: Catalogue, plan: Plan) -> dict[str, int]:
    """Build every candidate once: mistakes come before the first step.

    Returns:
        The number of stages of each candidate that has several.
    """
    from ganvae_compare.evaluate_verb import parse_metrics
    from ganvae_compare.evaluating import built_metrics
    from ganvae_core.cli.choosing import chosen_configuration, typed_layer
    from ganvae_core.runs.preparation import prepare

    stages: dict[str, int] = {}
    metrics = parse_metrics(plan.metrics or None)
    for candidate in plan.candidates:
        plugin, _, recipe = candidate.partition("/")
        short = {"data": plan.data or None, "steps": None if plan.steps is None else str(plan.steps)}
        layer = typed_layer(plan.overrides, short)
        configuration = chosen_configuration(catalogue, plugin, recipe or None, None, layer)
        prepare(configuration, catalogue)
        built_metrics(catalogue, configuration, metrics)
        if configuration.stages:
            stages[candidate] = 1 + len(configuration.stages)
    return stages


@contextmanager
def _held(folder: Path) -> Generator[None]:
    """Hold a comparison's folder.

    Raises:
        RunError: another process works on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"'{folder}' is in use: another ganvae compare works on it.") from None
    try:
        yield
    finally:
        lock.release()


class Display:
    """Shows all runs at once: live in a terminal, a line now and then in a pipe."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._is_live = sys.stderr.isatty()
        columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[state]}"))
        self._bars = Progress(
            *columns, console=Console(stderr=True), transient=True, disable=not self._is_live
        )
        self._states = {job.name: state_of(job, None)[0] for job in jobs}
        self._tasks = {
            job: self._bars.add_task(job.name, total=1.0, state=self._states[job.name]) for job in jobs
        }

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def __call__(self, workers: list[Worker]) -> None:
        found = {worker.job.name: worker for worker in workers}
        for job, task in self._tasks.items():
            state, share = state_of(job, found.get(job.name))
            self._bars.update(task, completed=share, state=state)
            if not self._is_live and self._states[job.name] != state:
                note(f"{job.name}: {state}")
            self._states[job.name] = state


def state_of(job: Job, worker: Worker | None) -> tuple[str, float]:
    """What is being done for a job, in words, and the share of its training that is done."""
    from ganvae_compare.jobs import progress

    if worker is None:
        return ("done", 1.0) if job.is_done else ("waits", 0.0)
    if worker.state != "trains":
        return worker.state, 1.0
    done, total = progress(job)
    share = done / total if total else 0.0
    percent = int(100 * share) // PERCENT_STEP * PERCENT_STEP
    return f"trains, {percent} %" if share < 1 else "draws its last pictures", share


def _finish(plan: Plan, damaged: Mapping[Path, GanvaeError], failed: list[Worker]) -> int:
    import torch

    from ganvae_compare.report import as_text, compile_report, write_report
    from ganvae_core.engine.devices import select_device
    from ganvae_core.engine.environment import cores
    from ganvae_core.plugins.lock import versions_here

    for path, error in damaged.items():
        print_error(f"{path}: {error.message}", *error.hints)
    for worker in failed:
        first, *more = worker.error.splitlines()
        print_error(
            f"{worker.job.name}: {first}", *(line.strip() for line in more), f"its log:  {worker.job.log}"
        )
    if not any(job.is_done for job in plan.jobs):
        return 1
    budget = (
        counted(plan.steps, "step")
        if plan.steps
        else f"{plan.seconds:g} s at most"
        if plan.seconds
        else "the recipe's steps"
    )
    made = [] if plan.runs else [("budget of a run", budget), ("seeds", str(plan.seeds))]
    device = select_device("auto")
    accelerator = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    machine = [f"{platform.system()} {platform.machine()}", counted(cores(), "core"), *accelerator]
    versions = [f"{name} {version}" for name, version in versions_here().items()]
    facts = [*made, ("machine", " · ".join(machine)), ("versions", " · ".join(versions))]
    report = compile_report(plan, facts, damaged)
    with_pictures = write_report(plan, report)
    for line in as_text(report):
        note(line)
    note("")
    click.echo(str(with_pictures))
    return 1 if failed else next((error.exit_code for error in damaged.values()), 0)
