"""The configuration from the command line: plugin, recipe, file, and settings as KEY=VALUE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import PathName, PluginName, current_catalogue
from ganvae_core.errors import ConfigurationError

if TYPE_CHECKING:
    from ganvae_core.config.configuration import Configuration
    from ganvae_core.plugins import Catalogue

SHORT = {
    "data": "data",
    "prior": "prior",
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
        click.Option(["--prior"], metavar="P", help="The prior's name."),
        click.Option(["--steps"], metavar="N", help="Steps to train for: of a recipe in stages, the first."),
        click.Option(["--seed"], metavar="N", help="Seed of all random numbers."),
        click.Option(["--device"], metavar="D", help="auto, cpu, cuda, cuda:1, mps, …"),
        click.Option(["--precision"], metavar="P", help="auto, fp32, tf32 or bf16."),
    ):  # fmt: skip
        command.params.append(option)
    return command


def typed_layer(
    overrides: Sequence[str], short: Mapping[str, str | None], further: Sequence[tuple[str, Any]] = ()
) -> dict[str, Any]:
    """The arguments as one layer of settings.

    Args:
        overrides: ``KEY=VALUE`` arguments.
        short: the values of the options in ``SHORT``.
        further: settings that other options stand for.

    Raises:
        ConfigurationError: one has no ``=``, or names a plugin or a recipe, which have options of their own.
    """
    from ganvae_core.config.layers import Text, nest, pair

    verb = click.get_current_context().command_path
    for override in overrides:
        if "=" not in override and override in current_catalogue().with_recipes():
            raise ConfigurationError(f"a plugin is named by --plugin.  {verb} --plugin {override}")
    pairs: list[tuple[str, Any]] = [pair(override) for override in overrides]
    for key, value in pairs:
        if key in ("plugin", "recipe"):
            raise ConfigurationError(f"{key}={value}: a {key} is named by --{key}.  {verb} --{key} {value}")
    pairs += [(SHORT[name], Text(value)) for name, value in short.items() if value is not None]
    return nest([*pairs, *further])


def chosen_configuration(
    catalogue: Catalogue, plugin: str | None, recipe: str | None, file: Path | None, layer: Mapping[str, Any]
) -> Configuration:
    """Recipe, file and arguments as one configuration.

    Raises:
        ConfigurationError: no plugin is named, or something named does not exist.
    """
    from ganvae_core.config.configuration import configure
    from ganvae_core.plugins.lock import refuse_missing
    from ganvae_core.store.directory import LOCK

    layers = [layer]
    if file is not None:
        settings = _read_file(file)
        if plugin is None:
            refuse_missing(file.parent / LOCK, catalogue)
        named = settings.get("plugin")
        plugin = plugin or named
        if plugin == named:
            recipe = recipe or settings.get("recipe")
        layers = [settings, layer]
    if plugin is None:
        verb, names = click.get_current_context().command_path, catalogue.with_recipes()
        raise ConfigurationError(f"which plugin?  {verb} --plugin vae", f"installed: {', '.join(names)}")
    return configure(catalogue, str(plugin), recipe and str(recipe), layers)


def _read_file(file: Path) -> dict[str, Any]:
    from ganvae_core.config.configuration import without_gone
    from ganvae_core.config.layers import parse_yaml
    from ganvae_core.store.files import refuse_pickle

    refuse_pickle(
        file, "--config", ConfigurationError, "settings are YAML; a run's config.yaml is such a file"
    )
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"--config: there is no file '{file}'.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"--config: '{file}' is not a text file.") from None
    except OSError as error:
        raise ConfigurationError(f"--config: '{file}' cannot be read: {error.strerror}.") from None
    return without_gone(parse_yaml(text, str(file)))
