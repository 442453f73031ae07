"""``ganvae run``: train a model, or go on with a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import PluginName, current_catalogue
from ganvae_core.cli.output import note
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
        click.Option(["--config", "file"], metavar="FILE", type=click.Path(path_type=Path),
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
    "--epochs", type=click.IntRange(min=1), metavar="N", help="Passes over the data, instead of --steps."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run directory itself.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with this run.")
@click.option("--dry-run", is_flag=True, help="Check everything and print the configuration; train nothing.")
@click.option("--quiet", is_flag=True, help="Print the run directory and nothing else.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def run(
    epochs: int | None,
    out: Path | None,
    resume: Path | None,
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
    ganvae run --plugin vae objective.beta=4 engine.seed=1
    ganvae run --resume runs/vae-digits-1 engine.steps=10000
    """
    if resume is not None:
        given = {"--plugin": plugin, "--recipe": recipe, "--config": file, "--out": out, "--epochs": epochs}
        return _resume(resume, given, settings_pairs(overrides, short), quiet)

    from ganvae_core.training import prepare, start

    catalogue = current_catalogue()
    configuration = chosen_configuration(catalogue, plugin, recipe, file, settings_pairs(overrides, short))
    if epochs is not None and short["steps"] is not None:
        raise ConfigurationError("--epochs and --steps both say how long; give one of them.")
    preparation = prepare(configuration, catalogue, epochs=epochs)
    if dry_run:
        _print_dry_run(preparation)
        return 0
    if not quiet:
        _announce(preparation)
    directory = start(preparation, out)
    _train(preparation.engine, directory, quiet)
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

    layers: list[dict[str, Any]] = []
    if file is not None:
        layers.append(_read_file(file))
        plugin = plugin or _text(layers[0].get("plugin"))
        recipe = recipe or (
            _text(layers[0].get("recipe")) if _text(layers[0].get("plugin")) == plugin else None
        )
    if plugin is None:
        names = catalogue.with_recipes()
        first = pairs[0][0] if pairs and pairs[0][1] is None else None
        if first in names:
            raise ConfigurationError(f"a plugin is named by --plugin.  ganvae run --plugin {first}")
        raise ConfigurationError("which plugin?  ganvae run --plugin vae", f"installed: {', '.join(names)}")
    for key, value in pairs:
        if value is None:
            raise ConfigurationError(
                f"'{key}' is not a setting: settings are written KEY=VALUE, like objective.beta=4.",
                f"did you mean --data {key}?" if Path(key).exists() else "",
            )
    layers.append(nest(pairs))
    return configure(catalogue, plugin, recipe, layers)


def settings_pairs(overrides: tuple[str, ...], short: dict[str, str | None]) -> list[tuple[str, Any]]:
    """What was typed as keys and values; an argument without ``=`` has the value None."""
    from ganvae_core.config.options import Text

    pairs: list[tuple[str, Any]] = []
    for override in overrides:
        key, sign, value = override.partition("=")
        pairs.append((key.strip(), Text(value) if sign else None))
    return pairs + [(SHORT[name], Text(value)) for name, value in short.items() if value is not None]


def _read_file(file: Path) -> dict[str, Any]:
    from ganvae_core.config.layers import parse_yaml

    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"--config: there is no file '{file}'.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config: '{file}' cannot be read: {error}") from None
    return parse_yaml(text, str(file))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _resume(path: Path, given: dict[str, Any], pairs: list[tuple[str, Any]], quiet: bool) -> int:
    from ganvae_core.config.layers import nest
    from ganvae_core.training import attach, prepare_resume

    for option, value in given.items():
        if value is not None:
            raise ConfigurationError(
                f"{option} does not go with --resume: a run goes on as it was started.",
                f"only how far and how often may change:  ganvae run --resume {path} engine.steps=20000",
            )
    directory, preparation = prepare_resume(path, catalogue=current_catalogue(), layer=nest(pairs))
    attach(preparation.engine, directory)
    if not quiet:
        _announce(preparation)
    _train(preparation.engine, directory, quiet)
    return 0


def _announce(preparation: Preparation) -> None:
    """Two lines that say what is about to happen, and what differs from what was asked for."""
    from ganvae_core.cli.describe import amount, machine
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
    for remark in preparation.notes:
        note(f"note: {remark}")
    note("")


def _print_dry_run(preparation: Preparation) -> None:
    from ganvae_core.config.render import render_commented

    click.echo(render_commented(preparation.configuration, preparation.catalogue), nl=False)
    _announce(preparation)
    objective = preparation.engine.objective
    sizes = {name: sum(weight.numel() for weight in part.parameters())
             for name, part in [*objective.model.named_children(), *objective.named_children()]
             if name != "model"}  # fmt: skip
    note("parameters: " + " · ".join(f"{name} {size:,}" for name, size in sizes.items() if size))
    note("nothing was trained and nothing written; leave out --dry-run to start")


def _train(engine: Engine, directory: RunDirectory, quiet: bool) -> None:
    from rich.console import Console

    from ganvae_core.cli.describe import NOUNS, results
    from ganvae_core.cli.progress import Progress

    if not quiet:
        engine.callbacks.append(
            Progress(Console(stderr=True, highlight=False), NOUNS[engine.data.spec.modality])
        )
    with stopping_on_signals(engine) as received:
        engine.fit()
    if received and engine.step_index < engine.settings.steps:
        raise Interrupted(
            f"stopped at step {engine.step_index:,} of {engine.settings.steps:,}; saved.",
            f"go on:  ganvae run --resume {directory.path}",
            exit_code=128 + received[0],
        )
    if not quiet:
        note("")
        if engine.results:
            note(f"held out: {results(engine.results)}")
    click.echo(str(directory.path))
    if not quiet:
        _say_where(directory, engine)


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
    note(
        f"next:  ganvae sample {directory.path} -n 100      ganvae show {directory.path}"
        "      ganvae run --plugin dcgan      ganvae run --plugin vae --data YOUR_FOLDER"
    )


@contextmanager
def stopping_on_signals(engine: Engine) -> Generator[list[int]]:
    """Let SIGINT and SIGTERM end training after the current step; a second one ends it at once."""
    received: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        engine.stop_requested = True

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
