"""Options that all verbs accept, and the installed plugins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ganvae_core.plugins import Catalogue


@dataclass
class Settings:
    """The values of the options that all verbs accept.

    Args:
        disabled: plugins that are not to be loaded.
        registry: the user's registry file; None for the one that the environment names.
        traceback: show where errors come from.
        catalogue: the plugins to work with; None for those of the environment.
        typed: the words of the command line.
    """

    disabled: set[str] = field(default_factory=set[str])
    registry: Path | None = None
    traceback: bool = False
    catalogue: Catalogue | None = None
    typed: tuple[str, ...] = ()


def settings(context: click.Context | None = None) -> Settings:
    """The settings of the command that is running."""
    return (context or click.get_current_context()).find_root().ensure_object(Settings)


def current_catalogue(context: click.Context | None = None) -> Catalogue:
    """The plugins that the running command works with.

    Raises:
        ConfigurationError: ``--disable-plugin`` names one that is not installed, or the registry file is wrong.
    """
    from ganvae_core.plugins import installed_plugins

    asked = settings(context)
    if asked.catalogue is None:
        found = installed_plugins(frozenset(asked.disabled), asked.registry)
        for name in sorted(asked.disabled):
            found.find(name)
        asked.catalogue = found
    return asked.catalogue


class PluginName(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """A plugin's name, completed by the shell. The catalogue checks that there is such a plugin."""

    name = "plugin"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The installed plugins that can be run."""
        from click.shell_completion import CompletionItem

        names = current_catalogue(ctx).with_recipes()
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class PathName(click.Path):
    """A path. An empty one, as from an unset shell variable, is refused."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path as a ``Path``."""
        if not str(value):
            self.fail("it is empty", param, ctx)
        if "\0" in str(value):
            self.fail("a path has no null character", param, ctx)
        return super().convert(value, param, ctx)


class WholeNumber(click.IntRange):
    """An integer of at least ``min``, with a readable name in messages."""

    name = "whole number"


def add_everywhere(command: click.Command) -> click.Command:
    """The command, and all commands below it, with the options that are accepted everywhere."""
    there = {name for parameter in command.params for name in parameter.opts}
    command.params.extend(option for option in EVERYWHERE if not there.intersection(option.opts))
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_everywhere(below)
    return command


def _disable(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> None:
    asked = settings(context)
    asked.disabled.update(names)
    if names:  # a plugin's verb was found in a catalogue before its own options were read
        asked.catalogue = None


def _registry(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
    settings(context).registry = file or settings(context).registry


def _show_traceback(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    settings(context).traceback |= asked


def _print_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from ganvae_core import __version__

        click.echo(f"ganvae {__version__}")
        context.exit()


def _option(*names: str, **attributes: Any) -> click.Option:
    return click.Option(names, expose_value=False, is_eager=True, **attributes)


EVERYWHERE = (
    _option(
        "--disable-plugin",
        metavar="P",
        multiple=True,
        type=PluginName(),
        callback=_disable,
        help="Leave this plugin out.",
    ),
    _option(
        "--registry",
        metavar="FILE",
        type=PathName(),
        callback=_registry,
        help="A registry file: further known plugins, and which to leave out or prefer; also GANVAE_REGISTRY.",
    ),
    _option("--traceback", is_flag=True, callback=_show_traceback, help="Show where an error comes from."),
    _option("--version", is_flag=True, callback=_print_version, help="Print the version."),
)
"""Options of ``ganvae`` and of every verb, before or after its name."""
