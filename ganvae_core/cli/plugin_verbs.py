"""``ganvae plugins``: lists and describes the installed plugins. Verbs that change them have files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from ganvae_core.cli.catalogue_verb import catalogue
from ganvae_core.cli.frame import PluginName, current_catalogue, settings
from ganvae_core.cli.install_verbs import install, uninstall
from ganvae_core.cli.output import note, print_json, table
from ganvae_core.cli.plugin_commands import ExtensibleGroup

COLUMNS = ("plugin", "state", "from", "offers")


@click.group(cls=ExtensibleGroup, slot="plugins", invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
    """List, describe, install and uninstall plugins."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins."""
    catalogue = current_catalogue()
    found = [asdict(plugin) for plugin in catalogue.plugins]
    if as_json:
        print_json(found)
        return
    table([summary(plugin) for plugin in found], COLUMNS)
    for line in catalogue.unreadable:
        note(f"left out, its entry points cannot be read: {line}")


@plugins.command("info")
@click.argument("name", metavar="P", type=PluginName())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, as_json: bool) -> None:
    """Describe plugin P; with --traceback also the error that broke it."""
    plugin = current_catalogue().find(name)
    if as_json:
        print_json(asdict(plugin))
        return
    click.echo(f"{plugin.name}   {plugin.state}   {plugin.origin}")
    if plugin.reason:
        click.echo(f"  {plugin.reason}")
    written_for = f" (core API {plugin.api})" if plugin.api is not None else ""
    click.echo(f"  described by {plugin.entry_point}{written_for}")
    if plugin.remark:
        note(f"note: {plugin.remark}")
    if plugin.recipes:
        click.echo()
        table([(recipe.name, recipe.summary) for recipe in plugin.recipes], ("recipe", ""))
    if plugin.components:
        click.echo()
        rows = [(part.kind, f"{plugin.name}/{part.name}", part.summary) for part in plugin.components]
        table(rows, ("kind", "component", ""))
    if plugin.commands:
        click.echo()
        rows = [
            (f"ganvae {verb.group} {verb.name}".replace("  ", " "), verb.summary) for verb in plugin.commands
        ]
        table(rows, ("verb", ""))
    if plugin.traceback and settings().traceback:
        click.echo()
        click.echo(plugin.traceback.rstrip())
    elif plugin.traceback:
        note(f"where the error comes from: ganvae plugins info {plugin.name} --traceback")
    elif plugin.name in current_catalogue().with_recipes():
        note(f"next: ganvae run --plugin {plugin.name}")


for verb in (install, uninstall, catalogue):
    plugins.add_command(verb)


def summary(plugin: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """The row of a plugin in the list, from its JSON values: the last cell says what it has, or why it has a state."""
    offers = plugin["reason"]
    if plugin["state"] == "broken":
        offers += f"      ganvae plugins info {plugin['name']} --traceback"
    if plugin["state"] == "ready":
        kinds = [
            *("recipe" for _ in plugin["recipes"]),
            *(component["kind"] for component in plugin["components"]),
        ]
        kinds += ["verb" for _ in plugin["commands"]]
        counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
        offers = " · ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
    return plugin["name"], plugin["state"], f"{plugin['distribution']} {plugin['version']}", offers
