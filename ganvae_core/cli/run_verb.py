"""``ganvae run``: train a model, or go on with a run."""

from __future__ import annotations

import logging
import shlex
import signal
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import PathName, PluginName, WholeNumber, current_catalogue, settings
from ganvae_core.cli.locked import (
    LOCKED,
    refuse_newcomers,
    refuse_other_plugins,
    refuse_other_plugins_beside,
)
from ganvae_core.cli.output import note, said_if_slow
from ganvae_core.engine.environment import end_with_launcher, world_size
from ganvae_core.errors import ConfigurationError, Interrupted

if TYPE_CHECKING:
    from ganvae_core.config.configuration import Configuration
    from ganvae_core.engine.loop import Engine
    from ganvae_core.plugins import Catalogue
    from ganvae_core.runs import RunDirectory
    from ganvae_core.training import Preparation

SHORT = {
    "data": "data",
    "steps": "engine.steps",
    "seed": "engine.seed",
    "device": "engine.device",
    "precision": "engine.precision",
}
"""Options that are short for keys."""


def configuration_options(command: click.Command) -> click.Command:
    """Add the options by which ``run`` and ``config`` choose a configuration."""
    for option in (
        click.Option(["--plugin"], type=PluginName(), metavar="P", help="What to train: a plugin's name."),
        click.Option(["--recipe"], metavar="R", help="Another of the plugin's recipes."),
        click.Option(["--config", "file"], metavar="FILE", type=PathName(),
                     help="Settings from a YAML file; a run's config.yaml is one."),
        click.Option(["--data"], metavar="S", help="A source's name, or the path of your data."),
        click.Option(["--steps"], metavar="N", help="Steps to train for."),
        click.Option(["--seed"], metavar="N", help="Seed of all random numbers."),
        click.Option(["--device"], metavar="D", help="auto, cpu, cuda, cuda:1, mps, …"),
        click.Option(["--precision"], metavar="P", help="auto, fp32 or bf16."),
    ):  # fmt: skip
        command.params.append(option)
    return command


@click.command()
@click.option(
    "--epochs", type=WholeNumber(min=1), metavar="N", help="Passes over the data, instead of --steps."
)
@click.option("--out", type=PathName(), metavar="DIR", help="The run directory itself.")
@click.option("--resume", type=PathName(), metavar="RUN", help="Go on with this run.")
@click.option(
    "--processes", type=WholeNumber(min=1), metavar="N", help="Processes of this machine that train together."
)
@click.option("--dry-run", is_flag=True, help="Check everything and print the configuration; train nothing.")
@click.option("--quiet", is_flag=True, help="Print the run directory and nothing else.")
@LOCKED
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def run(
    epochs: int | None,
    out: Path | None,
    resume: Path | None,
    processes: int | None,
    dry_run: bool,
    quiet: bool,
    locked: bool,
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
    """
    catalogue = current_catalogue()
    if processes is not None and processes > 1 and world_size() == 1:
        from ganvae_core.cli.processes import launch

        return launch(settings().typed, processes)

    from ganvae_core.cli.processes import check_count
    from ganvae_core.cli.ranks import one_voice
    from ganvae_core.engine.ranks import world
    from ganvae_core.holding import held_by_first
    from ganvae_core.runs import RunDirectory
    from ganvae_core.training import go_on, prepare, prepare_resume, started

    pairs = settings_pairs(overrides, short)

    def prepared() -> tuple[RunDirectory | None, Preparation]:
        if processes is not None:
            check_count(processes)
        if resume is not None:
            given = {
                "--plugin": plugin,
                "--recipe": recipe,
                "--config": file,
                "--out": out,
                "--epochs": epochs,
            }
            layer = _layer_for_resuming(resume, given, pairs)
            if locked:
                refuse_other_plugins(resume)
            with _said_while_reading(quiet):
                return prepare_resume(resume, catalogue=catalogue, layer=layer)
        lock = refuse_other_plugins_beside(file) if locked else None
        configuration = chosen_configuration(catalogue, plugin, recipe, file, pairs)
        if lock is not None:
            refuse_newcomers(lock, configuration)
        _check_new_run(pairs, epochs, out)
        with _said_while_reading(quiet):
            return None, prepare(configuration, catalogue, epochs=epochs)

    end_with_launcher()
    with one_voice(), ExitStack() as stack:
        if resume is not None and not dry_run:
            stack.enter_context(held_by_first(RunDirectory.open(resume).path, world()))
        directory, preparation = world().together(prepared)
        if dry_run:
            _print_dry_run(preparation)
            return 0
        if directory is None:
            directory = stack.enter_context(started(preparation, out))
        else:
            go_on(directory, preparation)
        _train(preparation, directory, quiet)
    return 0


configuration_options(run)


def chosen_configuration(
    catalogue: Catalogue,
    plugin: str | None,
    recipe: str | None,
    file: Path | None,
    pairs: list[tuple[str, Any]],
) -> Configuration:
    """Recipe, file and arguments as one configuration.

    Raises:
        ConfigurationError: no plugin is named, or something named does not exist.
    """
    from ganvae_core.config.configuration import configure
    from ganvae_core.config.layers import nest
    from ganvae_core.plugins.lock import refuse_missing
    from ganvae_core.runs import LOCK

    layers: list[dict[str, Any]] = []
    if file is not None:
        layers.append(_read_file(file))
        if plugin is None:
            refuse_missing(file.parent / LOCK, catalogue)
        plugin = plugin or _text(layers[0].get("plugin"))
        recipe = recipe or (
            _text(layers[0].get("recipe")) if _text(layers[0].get("plugin")) == plugin else None
        )
    if plugin is None:
        raise _no_plugin(catalogue, pairs)
    check_settings(pairs)
    layers.append(nest(pairs))
    return configure(catalogue, plugin, recipe, layers)


def _no_plugin(catalogue: Catalogue, pairs: list[tuple[str, Any]]) -> ConfigurationError:
    verb, names = click.get_current_context().command_path, catalogue.with_recipes()
    typed = [str(value) if key == "plugin" and value is not None else key for key, value in pairs]
    first = next((word for word in typed if word in names), None)
    if first is not None:
        return ConfigurationError(f"a plugin is named by --plugin.  {verb} --plugin {first}")
    return ConfigurationError(f"which plugin?  {verb} --plugin vae", f"installed: {', '.join(names)}")


def check_settings(pairs: list[tuple[str, Any]]) -> None:
    """Refuse arguments that are no settings.

    Raises:
        ConfigurationError: one has no ``=``, or names a plugin or a recipe, which have options of their own.
    """
    for key, value in pairs:
        if value is None:
            raise ConfigurationError(
                f"'{key}' is not a setting: settings are written KEY=VALUE, like objective.beta=2.",
                f"did you mean --data {shlex.quote(key)}?" if Path(key).exists() else "",
            )
        if key in ("plugin", "recipe"):
            raise ConfigurationError(f"{key}={value}: a {key} is named by --{key}.")


def settings_pairs(overrides: tuple[str, ...], short: dict[str, str | None]) -> list[tuple[str, Any]]:
    """What was typed as keys and values; an argument without ``=`` has the value None."""
    from ganvae_core.config.options import Text

    pairs: list[tuple[str, Any]] = []
    for override in overrides:
        key, sign, value = override.partition("=")
        pairs.append((key.strip(), Text(value)) if sign and key.strip() else (override, None))
    return pairs + [(SHORT[name], Text(value)) for name, value in short.items() if value is not None]


def _read_file(file: Path) -> dict[str, Any]:
    from ganvae_core.config.layers import parse_yaml
    from ganvae_core.pickles import refuse_pickle

    refuse_pickle(
        file, "--config", ConfigurationError, "settings are YAML; a run's config.yaml is such a file"
    )
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"--config: there is no file '{file}'.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"--config: '{file}' is not a text file.") from None
    except OSError as error:
        raise ConfigurationError(f"--config: '{file}' cannot be read: {error.strerror}.") from None
    return parse_yaml(text, str(file))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _check_new_run(pairs: list[tuple[str, Any]], epochs: int | None, out: Path | None) -> None:
    from ganvae_core.engine.ranks import world
    from ganvae_core.runs import refuse_taken

    if epochs is not None and any(key == SHORT["steps"] for key, _ in pairs):
        raise ConfigurationError("--epochs and --steps both say how long; give one of them.")
    if out is not None and world().first:
        refuse_taken(out)


def _said_while_reading(quiet: bool) -> AbstractContextManager[None]:
    from ganvae_core.engine.ranks import world

    return said_if_slow("reading the data") if world().first and not quiet else nullcontext()


def _layer_for_resuming(path: Path, given: dict[str, Any], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    from ganvae_core.config.layers import nest

    for option, value in given.items():
        if value is not None:
            raise ConfigurationError(
                f"{option} does not go with --resume: a run goes on as it was started.",
                f"only how far and how often may change:  {_resume_command(path)} engine.steps=20000",
            )
    check_settings(pairs)
    return nest(pairs)


def _resume_command(path: Path) -> str:
    return f"ganvae run --resume {shlex.quote(str(path))}"


def _announce(preparation: Preparation) -> None:
    """Two lines that say what is about to happen, and what differs from what was asked for."""
    from ganvae_core.cli.describe import amount, busy, machine
    from ganvae_core.training import data_name

    engine, data = preparation.engine, preparation.data
    note(machine(engine))
    held_out = f" to learn from, {len(data.held_out):,} held out" if len(data.held_out) else ""
    going_on = f", from step {engine.step_index:,}" if engine.step_index else ""
    note(
        f"{preparation.configuration.recipe} on {data_name(preparation.configuration)}"
        f" ({amount(len(data.training), data.spec)}{held_out}),"
        f" {engine.settings.steps:,} steps of {engine.batch_size}{going_on}"
    )
    for remark in [*preparation.notes, *busy(engine)]:
        note(f"note: {remark}")
    note("")


def _print_dry_run(preparation: Preparation) -> None:
    from ganvae_core.config.render import render_commented

    if not preparation.engine.world.first:
        return
    click.echo(render_commented(preparation.configuration, preparation.catalogue), nl=False)
    _announce(preparation)
    objective = preparation.engine.objective
    sizes = {name: sum(weight.numel() for weight in part.parameters())
             for name, part in [*objective.model.named_children(), *objective.named_children()]
             if name != "model"}  # fmt: skip
    note("parameters: " + " · ".join(f"{name} {size:,}" for name, size in sizes.items() if size))
    note("nothing was trained and nothing written; leave out --dry-run to start")


def _train(preparation: Preparation, directory: RunDirectory, quiet: bool) -> None:
    from rich.console import Console

    from ganvae_core.cli.describe import NOUNS, results
    from ganvae_core.cli.progress import Progress
    from ganvae_core.cli.ranks import lost
    from ganvae_core.engine.ranks import RankLostError
    from ganvae_core.engine.recovery import NotFiniteError

    engine = preparation.engine
    quiet = quiet or not engine.world.first
    if not quiet:
        _announce(preparation)
        engine.callbacks.append(
            Progress(Console(stderr=True, highlight=False), NOUNS[engine.data.spec.modality])
        )
    # Whoever asked for quiet finds warnings in metrics.jsonl; without a handler logging would print them.
    logging.getLogger("ganvae").addHandler(logging.NullHandler())
    with stopping_on_signals(engine) as received:
        try:
            engine.fit()
        except NotFiniteError as error:
            newest = _newest_step(directory)
            if newest is not None:
                error.hints = (*error.hints[:-1], _go_on_past(directory, newest))
            raise
        except KeyboardInterrupt:
            raise _stopped(engine, directory, received, _newest_step(directory)) from None
        except RankLostError as error:
            raise lost(error, engine, directory) from error
        received = [number for each in engine.world.exchange(received) for number in each]
    if received and engine.step_index < engine.settings.steps:
        raise _stopped(engine, directory, received, engine.step_index)
    if not quiet:
        note("")
        if engine.stopped_because is not None:
            note(f"stopped early at step {engine.step_index:,}: {engine.stopped_because}")
        if engine.results:
            note(f"held out: {results(engine.results)}")
    if engine.world.first:
        click.echo(str(directory.path))
    if not quiet:
        _say_where(directory, engine)


def _go_on_past(directory: RunDirectory, step: int) -> str:
    resume = f"{_resume_command(directory.path)} engine.on_nonfinite=skip"
    return f"or go on from step {step:,} without such updates:  {resume}  (or rollback)"


def _stopped(engine: Engine, directory: RunDirectory, received: list[int], saved: int | None) -> Interrupted:
    """Where training was stopped, what of it is saved, and how to go on."""
    at = f"stopped at step {engine.step_index:,} of {engine.settings.steps:,}"
    code = 128 + received[0] if received else 130
    if saved is None:
        return Interrupted(f"{at}; nothing was saved.", exit_code=code)
    what = "saved" if saved == engine.step_index else f"saved up to step {saved:,}"
    return Interrupted(f"{at}; {what}.", f"go on:  {_resume_command(directory.path)}", exit_code=code)


def _newest_step(directory: RunDirectory) -> int | None:
    return next(reversed(directory.manifests()), None)


def _say_where(directory: RunDirectory, engine: Engine) -> None:
    step = f"step-{engine.step_index:06d}.png"
    pictures = {
        "samples": directory.path / "samples" / step,
        "reconstructed": directory.path / "reconstructions" / step,
        "losses": directory.path / "losses.png",
    }
    there = {name: path for name, path in pictures.items() if path.exists()}
    width = max((len(name) for name in there), default=0)
    for name, path in there.items():
        note(f"  {name.ljust(width)}  {path}")
    run = shlex.quote(str(directory.path))
    classes = engine.data.spec.classes if engine.data.conditional else None
    if classes:
        note(f"next:  ganvae sample {run} --condition {shlex.quote(classes[0])}      ganvae show {run}")
    elif engine.data.spec.modality == "image":
        further = "ganvae run --plugin dcgan      ganvae run --plugin vae --data YOUR_FOLDER"
        note(f"next:  ganvae sample {run} -n 100      {further}")
    else:
        ending = "npz" if engine.data.spec.modality == "array" else "csv"
        note(f"next:  ganvae sample {run} -n 1000 -o made.{ending}      ganvae show {run}")


@contextmanager
def stopping_on_signals(engine: Engine) -> Generator[list[int]]:
    """Let SIGINT, SIGTERM and SIGHUP end training after the current step; a second one ends it at once."""
    received: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        engine.stop_requested = engine.interrupted = True

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    # The terminal was closed, or the connection lost; nohup has this one ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
