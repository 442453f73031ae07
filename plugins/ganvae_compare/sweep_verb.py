"""``ganvae sweep``: search over settings."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganvae_compare.plan import ganvae, interrupted, next_free, read_settings, write_settings
from ganvae_core.cli.frame import PathName, WholeNumber, current_catalogue
from ganvae_core.cli.output import counted, four_digits, note
from ganvae_core.config.layers import Text
from ganvae_core.errors import ConfigurationError

if TYPE_CHECKING:
    from ganvae_compare.sweeping import Sweep

ENDING_SECONDS = 60.0


@click.command()
@click.argument("words", metavar="[KEY=RANGE | KEY=VALUE]...", nargs=-1)
@click.option("--plugin", metavar="P", help="What to train.")
@click.option("--recipe", metavar="R", help="Another than the plugin's default recipe.")
@click.option("--data", metavar="S", help="The data of all trials.")
@click.option(
    "--metric",
    metavar="FIGURE",
    help="What to search by; by default the first figure of the recipe's metrics.",
)
@click.option("--trials", type=WholeNumber(min=1), metavar="N", help="Trials in all; 40 by default.")
@click.option(
    "--processes", type=WholeNumber(min=1), default=1, metavar="N", help="Processes of this machine."
)
@click.option(
    "--seed",
    type=WholeNumber(min=0),
    metavar="N",
    help="Of the search by this process; by default 0, and a random one with --resume.",
)
@click.option("--out", type=PathName(), metavar="DIR", help="The folder of the sweep.")
@click.option("--resume", type=PathName(), metavar="DIR", help="Go on with a sweep, or join one that runs.")
@click.option(
    "--joined", is_flag=True, hidden=True, help="Run trials alone: another process has begun this one."
)
def sweep(
    words: tuple[str, ...],
    plugin: str | None,
    recipe: str | None,
    data: str | None,
    metric: str | None,
    trials: int | None,
    processes: int,
    seed: int | None,
    out: Path | None,
    resume: Path | None,
    joined: bool,
) -> int:
    """Search over settings by Optuna: each trial is a run.

    Ranges are 2..64 (whole numbers), 0.1..2 (numbers), log:0.1..10 (evenly in the logarithm), any:mlp,dcgan (texts), or
    one of them in brackets for a list of one. Hopeless trials are stopped early. Any number of processes, also of other
    machines on a shared folder, join a sweep by --resume; one that is killed loses the trial that it ran.

    \b
    ganvae sweep --plugin vae latent.shape=[2..64] objective.beta=log:0.1..10 --trials 40
    ganvae sweep --resume sweep-vae-1 --processes 2
    ganvae run --config sweep-vae-1/best.yaml
    """
    from ganvae_compare.sweeping import (
        BEST,
        FEWEST,
        PLOT,
        SWEEP,
        Sweep,
        finish,
        importances,
        run_trials,
        short,
        study_of,
    )

    if resume is not None:
        found = read_settings(Sweep, resume, SWEEP, "sweep")
        if words or plugin or recipe or data or metric or out:
            raise ConfigurationError("settings do not go with --resume: a sweep goes on as it was begun.")
        if trials is not None:
            found = dataclasses.replace(found, trials=trials)
            write_settings(found, SWEEP)
        # Processes that join at the same moment draw other values.
        found = dataclasses.replace(found, seed=secrets.randbelow(2**31) if seed is None else seed)
    else:
        found = _new(words, plugin, recipe, data, metric, trials, seed or 0, out)
        study_of(found)
        write_settings(found, SWEEP)
    if not joined:
        note(f"{counted(found.trials, 'trial')} of {found.plugin}, by {found.metric} ({found.direction});"
             f" in {found.folder}")  # fmt: skip
    others = [_join(found, number) for number in range(1, processes)]
    try:
        run_trials(found, note)
    except KeyboardInterrupt as stop:
        raise interrupted(stop, "trials that had ended are kept", "sweep", found.folder) from None
    finally:
        for other in others:
            _end(other, sys.exc_info()[0] is not None)
    if joined:
        return 0
    best = finish(found)
    shares = importances(study_of(found))
    if not shares and len(best.params) > 1:
        note(f"importance of the settings: not estimated from fewer than {FEWEST} complete trials")
    for key, value in best.params.items():
        shown = short([value] if found.ranges[key].in_list else value)
        note(f"  {key}={shown}" + (f"   importance {100 * shares[key]:.0f} %" if key in shares else ""))
    note(f"best: trial {best.number}, {found.metric} {four_digits(best.values[0])}; {found.folder / PLOT}")
    note(f"next:  ganvae run --config {shlex.quote(str(found.folder / BEST))}")
    click.echo(str(found.folder))
    return 0


def _new(
    words: Sequence[str],
    plugin: str | None,
    recipe: str | None,
    data: str | None,
    metric: str | None,
    trials: int | None,
    seed: int,
    out: Path | None,
) -> Sweep:
    """What was asked for, with one trial's configuration checked."""
    from ganvae_compare.sweeping import SWEEP, Sweep, parse_range
    from ganvae_core.cli.choosing import chosen_configuration
    from ganvae_core.config.build import Builder
    from ganvae_core.config.layers import nest, pair
    from ganvae_core.runs.preparation import prepare

    if plugin is None:
        raise ConfigurationError(
            "--plugin: say what to train.", "ganvae sweep --plugin vae latent.shape=[2..64]"
        )
    settings = tuple((key, str(value)) for key, value in map(pair, words))
    ranges = {key: found for key, text in settings if (found := parse_range(key, text)) is not None}
    if not ranges:
        raise ConfigurationError("there is no range to search.",
                                 "like  latent.shape=[2..64]  objective.beta=log:0.1..10")  # fmt: skip
    catalogue = current_catalogue()
    tried = [(key, ranges[key].first if key in ranges else Text(text)) for key, text in settings]
    pairs = [*tried, *([("data", data)] if data else [])]
    preparation = prepare(chosen_configuration(catalogue, plugin, recipe, None, nest(pairs)), catalogue)
    if data and preparation.configuration.components["data"].options.get("path"):
        data = str(Path(data).absolute())  # a sweep may be resumed from another folder
    builder = Builder(preparation.configuration, catalogue)
    model, spec = preparation.engine.model, preparation.data.source.spec
    figures = {figure.name: figure for one in builder.metrics(model, spec) for figure in one.figures}
    if not figures or not len(preparation.data.held_out):
        raise ConfigurationError("nothing is measured while this recipe trains, so there is nothing to search by.",
                                 "name metrics:  'metrics=[{name: frechet, net: pixels}]'")  # fmt: skip
    chosen = metric or next(iter(figures))
    if chosen not in figures:
        raise ConfigurationError(f"--metric: the metrics of this recipe have no figure '{chosen}'.",
                                 f"figures: {', '.join(figures)}")  # fmt: skip
    folder = out or next_free(f"sweep-{plugin}")
    if (folder / SWEEP).is_file():
        raise ConfigurationError(f"'{folder}' holds a sweep already.",
                                 f"go on:  ganvae sweep --resume {shlex.quote(str(folder))}")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    direction = "maximize" if figures[chosen].better == "higher" else "minimize"
    return Sweep(folder, plugin, recipe or "", data or "", settings, chosen, direction, trials or 40, seed)


def _join(found: Sweep, number: int) -> subprocess.Popen[bytes]:
    words = ["sweep", "--joined", "--resume", str(found.folder), "--seed", str(found.seed + 1_000 * number)]
    return subprocess.Popen(
        ganvae(words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(os.environ)
    )


def _end(other: subprocess.Popen[bytes], at_once: bool) -> None:
    """Wait for a process that shares the trials; interrupt it where this one was."""
    if at_once and other.poll() is None:
        other.send_signal(signal.SIGINT)
    try:
        other.wait(ENDING_SECONDS if at_once else None)
    except subprocess.TimeoutExpired:
        other.kill()
        other.wait()
