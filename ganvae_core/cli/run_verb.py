"""``ganvae run``: train a model, or resume a run."""

from __future__ import annotations

import logging
import shlex
import warnings
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.choosing import chosen_configuration, configuration_options, typed_layer
from ganvae_core.cli.frame import PathName, WholeNumber, current_catalogue, settings
from ganvae_core.cli.output import counted, note, said_if_slow, warn
from ganvae_core.cli.stopping import handling_stops, stop_now
from ganvae_core.engine.environment import end_with_launcher, world_size
from ganvae_core.errors import ConfigurationError, Interrupted

if TYPE_CHECKING:
    from ganvae_core.config.configuration import Configuration
    from ganvae_core.engine.loop import Engine
    from ganvae_core.plugins import Catalogue
    from ganvae_core.runs.preparation import Preparation
    from ganvae_core.runs.stages import Stages
    from ganvae_core.store.directory import RunDirectory
    from ganvae_core.types import View


SMALL = "small"
"""The name of recipes for short trainings on a CPU."""
PRIOR_OBJECTIVE = "builtin/prior-likelihood"
"""What trains a prior alone."""
PLAIN_OBJECTIVE = "ae/autoencoder"
"""What needs no prior while it trains."""
EARLY_STOPPING = "builtin/early-stopping"
"""Ends a training by a metric, which a new prior need not have."""
DIGITS = "builtin/digits"
"""Data sets for which the next command suggests data of one's own."""


@click.command()
@click.option(
    "--epochs", type=WholeNumber(min=1), metavar="N", help="Passes over the data, instead of --steps."
)
@click.option("--out", type=PathName(), metavar="DIR", help="The run directory itself.")
@click.option("--resume", type=PathName(), metavar="RUN", help="Continue this run.")
@click.option(
    "--from", "initial", type=PathName(), metavar="RUN", help="A new run that begins with this one's weights."
)
@click.option(
    "--processes", type=WholeNumber(min=1), metavar="N", help="Processes of this machine that train together."
)
@click.option("--dry-run", is_flag=True, help="Check everything and print the configuration; train nothing.")
@click.option("--quiet", is_flag=True, help="Print the run directory and nothing else.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def run(
    epochs: int | None,
    out: Path | None,
    resume: Path | None,
    initial: Path | None,
    processes: int | None,
    dry_run: bool,
    quiet: bool,
    overrides: tuple[str, ...],
    plugin: str | None,
    recipe: str | None,
    file: Path | None,
    **short: str | None,
) -> int:
    """Train a model, and print the run directory.

    \b
    ganvae run --plugin vae
    ganvae run --plugin dcgan --data photos/ data.resize=64 --steps 20000
    ganvae run --plugin vae objective.beta=2 engine.seed=1
    ganvae run --plugin dcgan --processes 2
    ganvae run --resume runs/vae-digits-1 engine.steps=10000
    ganvae run --from runs/vae-digits-1 --steps 500
    ganvae run --from runs/ae-digits-1 --prior latent-flow
    """
    catalogue = current_catalogue()
    if processes is not None and processes > 1 and world_size() == 1:
        from ganvae_core.cli.launcher import launch

        return launch(settings().typed, processes)

    from ganvae_core.cli.failures import report_once
    from ganvae_core.cli.launcher import check_count
    from ganvae_core.engine.processes import world
    from ganvae_core.runs.preparation import prepare
    from ganvae_core.runs.resuming import prepare_resume
    from ganvae_core.runs.starting import go_on, started
    from ganvae_core.store.directory import CONFIG, RunDirectory, refuse_taken
    from ganvae_core.store.ownership import held

    first = world().first
    quiet = quiet or not first

    def prepared() -> tuple[RunDirectory | None, Preparation]:
        if processes is not None:
            check_count(processes)
        further: list[tuple[str, Any]] = []
        base = file
        if initial is not None:
            if plugin is None and file is None:
                base = RunDirectory.open(initial).path / CONFIG
            further.append(("from.path", str(initial)))
            if short["prior"] is not None:
                given = [*overrides, *(["steps"] if short["steps"] else [])]
                before = chosen_configuration(catalogue, plugin, recipe, base, {})
                further += prior_alone(catalogue, short["prior"], before, given)
        layer = typed_layer(overrides, short, further)
        if resume is not None:
            new_runs = {"--plugin": plugin, "--recipe": recipe, "--config": file, "--out": out, "--epochs": epochs,
                        "--from": initial}  # fmt: skip
            _refuse_with_resume(resume, new_runs)
            return prepare_resume(resume, catalogue=catalogue, layer=layer)
        configuration = chosen_configuration(catalogue, plugin, recipe, base, layer)
        if epochs is not None and "steps" in layer.get("engine", ()):
            raise ConfigurationError("--epochs and --steps both say how long; give one of them.")
        if out is not None and first:
            refuse_taken(out)
        return None, prepare(configuration, catalogue, epochs=epochs)

    end_with_launcher()
    with report_once(), ExitStack() as stack:
        if quiet:
            stack.enter_context(warnings.catch_warnings(action="ignore"))
        if resume is not None and not dry_run:
            path = RunDirectory.open(resume).path
            stack.enter_context(world().entered_by_first(lambda: held(path)))
        with nullcontext() if quiet else said_if_slow("reading the data"):
            directory, preparation = world().together(prepared)
        for passed_over in preparation.damage if first else ():
            warn(passed_over)
        further = "" if short["steps"] is None else _shorter(preparation, overrides)
        if dry_run:
            _print_dry_run(preparation, further)
            return 0
        if directory is None:
            directory = stack.enter_context(started(preparation, out))
        else:
            go_on(directory, preparation)
        _train(preparation, directory, quiet, further)
    return 0


configuration_options(run)


@click.command("fit-prior")
@click.argument("path", metavar="RUN", type=PathName())
@click.option("--prior", required=True, metavar="P", help="The new prior's name.")
@click.option("--steps", metavar="N", help="Steps to train it for.")
@click.option("--out", type=PathName(), metavar="DIR", help="The new run's directory itself.")
@click.option("--quiet", is_flag=True, help="Print the run directory and nothing else.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.pass_context
def fit_prior(
    context: click.Context,
    path: Path,
    prior: str,
    steps: str | None,
    out: Path | None,
    quiet: bool,
    overrides: tuple[str, ...],
) -> int:
    """Give a trained autoencoder another prior, in a new run: short for ganvae run --from RUN --prior P.

    \b
    ganvae fit-prior runs/ae-digits-1 --prior latent-flow
    ganvae fit-prior runs/ae-digits-1 --prior gaussian-mixture prior.components=20
    """
    return context.invoke(
        run, initial=path, prior=prior, steps=steps, out=out, quiet=quiet, overrides=overrides,
        plugin=None, recipe=None, file=None, resume=None, epochs=None, processes=None, dry_run=False,
        data=None, seed=None, device=None, precision=None,
    )  # fmt: skip


def prior_alone(
    catalogue: Catalogue, prior: str, before: Configuration, given: list[str]
) -> list[tuple[str, Any]]:
    """Settings of a run that gives a trained model another prior and leaves the rest as it is.

    A prior with parameters is trained on the codes. One that is fitted in closed form takes no training: its run has
    one step of the plain autoencoder's objective, which uses no prior, with a learning rate of zero.

    Args:
        catalogue: where components are looked up.
        prior: the name of the new one.
        before: the model's configuration. Its optimizers of other phases, such as a critic's, and early stopping, which
            follows what is not measured now, are left out.
        given: what was typed as KEY=VALUE, which is left as it was; ``steps`` for an option of that name.
    """
    from ganvae_core.config.settings import plain
    from ganvae_core.interfaces import FittedPrior

    component: Any = catalogue.load(catalogue.component("prior", prior)[1])
    if isinstance(component, type) and issubclass(component, FittedPrior):
        alone: dict[str, Any] = {
            "engine.steps": 1, "optimizers.default.lr": 0, "engine.ema_half_life_samples": 0,
            "stages": [],
        }  # fmt: skip
        if not any(word.startswith(("objective=", "objective.")) for word in given):
            alone["objective"] = PLAIN_OBJECTIVE
    else:
        alone = {"objective": PRIOR_OBJECTIVE, "train": ["prior"], "stages": []}
    alone |= {f"optimizers.{name}": None for name in before.optimizers if name != "default"}
    kept = [callback for callback in before.lists["callbacks"] if callback.id != EARLY_STOPPING]
    alone["callbacks"] = [plain(callback) for callback in kept]
    typed = {"engine.steps" if word == "steps" else word.partition("=")[0] for word in given}
    return [(key, value) for key, value in alone.items() if key not in typed]


def _refuse_with_resume(path: Path, options: dict[str, Any]) -> None:
    """Refuse the options of a new run.

    Raises:
        ConfigurationError: one of them is given.
    """
    for option in [option for option, value in options.items() if value is not None]:
        raise ConfigurationError(
            f"{option} does not go with --resume: a run goes on as it was started.",
            f"only how far and how often may change:  {_resume_command(path)} engine.steps=20000",
        )


def _resume_command(path: Path) -> str:
    return f"ganvae run --resume {shlex.quote(str(path))}"


def _shorter(preparation: Preparation, typed: Sequence[str]) -> str:
    """How to set the steps of later stages, where ``--steps`` has set those of the first and ``typed`` no other's."""
    configuration = preparation.configuration
    keys = {f"stages.{number}.steps": stage.steps for number, stage in enumerate(configuration.stages)}
    later = [
        key for key, steps in keys.items() if steps and not any(each.startswith(f"{key}=") for each in typed)
    ]
    shown = " ".join(f"{key}={configuration.engine.steps}" for key in later)
    return f"--steps sets those of the first stage; for the others:  {shown}" if later else ""


def _announce(preparation: Preparation, further: str = "") -> None:
    """The heading of a training, and notes on differences from the arguments."""
    from ganvae_core.cli.describe import amount, machine
    from ganvae_core.runs.starting import data_name

    engine, data = preparation.engine, preparation.data
    note(machine(engine))
    held_out = f" to learn from, {len(data.held_out):,} held out" if len(data.held_out) else ""
    configuration = preparation.configuration
    stages = [configuration.engine.steps, *(stage.steps for stage in configuration.stages)]
    *before, last = filter(None, stages)
    steps = " and then ".join([*(f"{count:,}" for count in before), counted(last, "step")])
    going_on = f", from step {engine.step_index:,}" if engine.step_index else ""
    note(
        f"{preparation.configuration.recipe} on {data_name(preparation.configuration)}"
        f" ({amount(len(data.training), data.spec)}{held_out}),"
        f" {steps} of {engine.batch_size}{going_on}"
    )
    for remark in [*preparation.notes, *([further] if further else [])]:
        note(f"note: {remark}")
    if better := _of_such_data(preparation):
        note(f"note: networks and losses for such data:  ganvae run --plugin {better}")
    note("")


def _of_such_data(preparation: Preparation) -> str | None:
    """The plugin with recipes for the data's modality, if it has one and the run's plugin is of no such family."""
    from ganvae_core.views.finding import view_of

    plugin = view_of(preparation.data.spec, preparation.catalogue).plugin
    general = plugin == "vae" or plugin not in preparation.catalogue.with_recipes()
    family, own = (name.partition("-")[0] for name in (plugin, preparation.configuration.plugin))
    return None if general or family == own else plugin


def _smaller(preparation: Preparation) -> str | None:
    """The command of the plugin's recipe for short trainings on a CPU, where there is another one than the run's."""
    configuration, device = preparation.configuration, preparation.engine.device
    recipes = preparation.catalogue.recipes()
    if device.type != "cpu" or configuration.recipe == SMALL or (configuration.plugin, SMALL) not in recipes:
        return None
    data = configuration.components["data"]
    source = str(data.options.get("path") or data.id.partition("/")[2])
    return shlex.join(
        ["ganvae", "run", "--plugin", configuration.plugin, "--recipe", SMALL, "--data", source]
    )


def _more(preparation: Preparation) -> str:
    """What the run's recipe says of more time or an accelerator."""
    configuration = preparation.configuration
    recipe = preparation.catalogue.recipes().get((configuration.plugin, configuration.recipe))
    return recipe.more if recipe else ""


def _print_dry_run(preparation: Preparation, further: str) -> None:
    from ganvae_core.config.render import render_commented

    if not preparation.engine.world.first:
        return
    click.echo(render_commented(preparation.configuration, preparation.catalogue), nl=False)
    _announce(preparation, further)
    objective = preparation.engine.objective
    sizes = {name: sum(weight.numel() for weight in part.parameters())
             for name, part in [*objective.model.named_children(), *objective.named_children()]
             if name != "model"}  # fmt: skip
    note("parameters: " + " · ".join(f"{name} {size:,}" for name, size in sizes.items() if size))
    note("nothing was trained and nothing written; leave out --dry-run to start")


def _train(preparation: Preparation, directory: RunDirectory, quiet: bool, further: str) -> None:
    from rich.console import Console

    from ganvae_core.cli.describe import results
    from ganvae_core.cli.launcher import how_to_go_on
    from ganvae_core.cli.progress import Progress
    from ganvae_core.engine.log import NotFiniteError
    from ganvae_core.engine.processes import RankLostError
    from ganvae_core.views.finding import view_of

    engine = preparation.engine
    view = view_of(engine.data.spec, preparation.catalogue)
    if not quiet:
        _announce(preparation, further)
        console = Console(stderr=True, highlight=False)
        engine.callbacks.append(
            Progress(console, view.noun, lambda: preparation.engine.step_index, _smaller(preparation))
        )
    # With --quiet warnings go to metrics.jsonl alone; logging prints them where there is no handler.
    logging.getLogger("ganvae").addHandler(logging.NullHandler())
    with stopping_on_signals(preparation.stages) as received:
        try:
            preparation.stages.fit()
        except NotFiniteError as error:
            newest = directory.newest_step()
            if newest is not None:
                again = f"ganvae run --from {shlex.quote(str(directory.path))} optimizers.default.lr=…"
                error.hints += (f"a new run goes on from step {newest:,}:  {again}",)
            raise
        except KeyboardInterrupt:
            raise _stopped(preparation.stages, directory, received, directory.newest_step()) from None
        except RankLostError as error:
            message = f"step {engine.step_index + 1:,}: {error.message}"
            raise RankLostError(message, *error.hints, *how_to_go_on(directory.path)) from error
        engine = preparation.engine  # of the last stage that was trained
        received = [number for each in engine.world.exchange(received) for number in each]
    if received and not preparation.stages.complete:
        raise _stopped(preparation.stages, directory, received, engine.step_index)
    if not quiet:
        note("")
        if engine.stop_flag.because is not None:
            note(f"stopped early at step {engine.step_index:,}: {engine.stop_flag.because}")
        found = engine.state.results
        if engine.results or found.gaps:
            note(f"held out: {results(engine.results, found.figures, found.gaps)}")
    if engine.world.first:
        click.echo(str(directory.path))
    if not quiet:
        own_data = preparation.configuration.components["data"].id != DIGITS
        _say_where(directory, engine, view, own_data=own_data, more=_more(preparation))


def _stopped(stages: Stages, directory: RunDirectory, received: list[int], saved: int | None) -> Interrupted:
    """The step that training stopped at, the newest checkpoint, and the command to resume."""
    at = f"stopped at {stages.where()}"
    code = 128 + received[0] if received else 130
    if saved is None:
        return Interrupted(f"{at}; nothing was saved.", exit_code=code)
    what = "saved" if saved == stages.engine.step_index else f"saved up to step {saved:,}"
    return Interrupted(f"{at}; {what}.", f"go on:  {_resume_command(directory.path)}", exit_code=code)


def _say_where(directory: RunDirectory, engine: Engine, view: View, *, own_data: bool, more: str) -> None:
    from ganvae_core.cli.describe import noise
    from ganvae_core.cli.run_files import pictures

    drawn = pictures(directory)
    names = {"reconstructions": "reconstructed"}
    width = max((len(names.get(kind, kind)) for kind in drawn), default=0)
    for kind, path in drawn.items():
        note(f"  {names.get(kind, kind).ljust(width)}  {path}")
    if more:
        note(f"more time: {more}")
    for line in noise(directory):
        note(line)
    run = shlex.quote(str(directory.path))
    classes = engine.data.spec.classes if engine.data.conditional else None
    if classes:
        note(f"next:  ganvae sample {run} --condition {shlex.quote(classes[0])}      ganvae show {run}")
    elif view.as_grid:
        further = "ganvae run --plugin dcgan      ganvae run --plugin vae --data YOUR_FOLDER"
        if own_data:
            further = f"ganvae {'show' if engine.model.encoder is None else 'reconstruct'} {run}"
        note(f"next:  ganvae sample {run} -n 100      {further}")
    else:
        ending = next((ending for ending in view.endings if ending not in ("", ".png")), ".npz")
        note(f"next:  ganvae sample {run} -n 1000 -o made{ending}      ganvae show {run}")


@contextmanager
def stopping_on_signals(stages: Stages) -> Generator[list[int]]:
    """Let SIGINT, SIGTERM and SIGHUP end training after the current step; a second one ends it at once."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            stop_now(number, frame)
        received.append(number)
        try:
            stages.interrupt()
        except KeyboardInterrupt:  # a prior is being fitted
            stop_now(number, frame)

    with handling_stops(stop):
        yield received
