"""The configuration from the command line: plugin, recipe, file, and settings as KEY=VALUE."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import PathName, PluginName
from ganvae_core.errors import ConfigurationError

if TYPE_CHECKING:
    from ganvae_core.config.configuration import Configuration
    from ganvae_core.plugins import Catalogue

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
    from ganvae_core.store.directory import LOCK

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
    """The arguments as keys and values; an argument without ``=`` has the value None."""
    from ganvae_core.config.options import Text

    pairs: list[tuple[str, Any]] = []
    for override in overrides:
        key, sign, value = override.partition("=")
        pairs.append((key.strip(), Text(value)) if sign and key.strip() else (override, None))
    return pairs + [(SHORT[name], Text(value)) for name, value in short.items() if value is not None]


def _read_file(file: Path) -> dict[str, Any]:
    from ganvae_core.config.layers import parse_yaml
    from ganvae_core.config.old_files import from_0_1
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
    return from_0_1(parse_yaml(text, str(file)))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
