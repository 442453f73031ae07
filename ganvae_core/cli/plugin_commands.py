"""The verbs that plugins add. Plugins are loaded for help and for a name that no built-in verb has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import add_everywhere, current_catalogue
from ganvae_core.errors import GanvaeError, PluginError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class ExtensibleGroup(click.Group):
    """A group of verbs to which plugins add theirs. A built-in verb takes precedence over an added one.

    Args:
        slot: the ``group`` of the ``CommandSpec``s that belong here.
    """

    def __init__(self, *arguments: Any, slot: str = "", **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.slot = slot

    def builtin(self) -> dict[str, str]:
        """Names and summaries of the built-in verbs."""
        return {name: command.get_short_help_str(limit=100) for name, command in self.commands.items()}

    def added(self, context: click.Context) -> dict[str, str]:
        """Names and summaries of the verbs that plugins add; none where the plugins cannot be listed."""
        try:
            commands = current_catalogue(context).commands(self.slot)
        except GanvaeError:  # help and completion answer in spite of a wrong --registry or --disable-plugin
            return {}
        builtin = self.builtin()
        return {command.name: command.summary for command, _ in commands if command.name not in builtin}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.builtin(), *self.added(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb, imported.

        Raises:
            ConfigurationError: several plugins add a verb of that name.
            PluginError: a plugin's verb cannot be imported, or is not a click command.
        """
        if cmd_name in self.builtin():
            return super().get_command(ctx, cmd_name)
        catalogue = current_catalogue(ctx)
        spec = catalogue.command(cmd_name, self.slot)
        if spec is None:
            return None
        command = catalogue.load(spec)
        if not isinstance(command, click.Command):
            raise PluginError(
                f"verb '{cmd_name}': {spec.target} is not a click command.",
                "decorate it with @click.command()",
            )
        return add_everywhere(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = self.builtin() | self.added(ctx)
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        rows = self.builtin() | self.added(ctx)
        verbs = [CompletionItem(name, help=rows[name]) for name in rows if name.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]
