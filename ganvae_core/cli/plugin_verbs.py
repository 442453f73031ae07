"""``ganvae plugins``: what is installed, and whether it works. Verbs that change something have files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.catalogue_verb import catalogue
from ganvae_core.cli.frame import PluginName, current_catalogue, settings
from ganvae_core.cli.install_verbs import install, uninstall
from ganvae_core.cli.output import note, print_json, table
from ganvae_core.cli.plugin_commands import ExtensibleGroup

if TYPE_CHECKING:
    from ganvae_core.plugins import Plugin


@click.group(cls=ExtensibleGroup, slot="plugins", invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
    """What is installed, whether it works, and how to make, install and remove a plugin."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins."""
    catalogue = current_catalogue()
    if as_json:
        print_json([as_plain(plugin) for plugin in catalogue.plugins])
        return
    rows = [(plugin.name, plugin.state, plugin.origin, offers(plugin)) for plugin in catalogue.plugins]
    table(rows, ("plugin", "state", "from", "offers"))
    for line in catalogue.unreadable:
        note(f"left out, its entry points cannot be read: {line}")


@plugins.command("info")
@click.argument("name", metavar="P", type=PluginName())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, as_json: bool) -> None:
    """Say everything about plugin P; with --traceback also what broke it."""
    plugin = current_catalogue().find(name)
    if as_json:
        from dataclasses import asdict

        from ganvae_core.plugins.installation import installation

        print_json(as_plain(plugin) | asdict(installation(plugin.distribution)))
        return
    click.echo(f"{plugin.name}   {plugin.state}   {plugin.origin}")
    if plugin.reason:
        click.echo(f"  {plugin.reason}")
    written_for = f" (core API {plugin.api})" if plugin.api is not None else ""
    click.echo(f"  described by {plugin.entry_point}{written_for}")
    click.echo(f"  {files_of(plugin)}")
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
        note(f"where it comes from: ganvae plugins info {plugin.name} --traceback")
    elif plugin.name in current_catalogue().with_recipes():
        note(f"next: ganvae run --plugin {plugin.name}")


for verb in (install, uninstall, catalogue):
    plugins.add_command(verb)


def offers(plugin: Plugin) -> str:
    """What a plugin has, in numbers, or why it cannot be used."""
    if plugin.state == "broken":
        return f"{plugin.reason}      ganvae plugins info {plugin.name} --traceback"
    if not plugin.ready:
        return plugin.reason
    kinds: list[str] = ["recipe"] * len(plugin.recipes) + [component.kind for component in plugin.components]
    kinds += ["verb"] * len(plugin.commands)
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return " · ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())


def files_of(plugin: Plugin) -> str:
    """How it is installed; the hash is what a registry file pins."""
    from ganvae_core.plugins.installation import installation

    there = installation(plugin.distribution)
    if there.editable:
        return "installed from a folder whose files are used as they are (editable)"
    return f"files: sha256 {there.sha256}" if there.sha256 else "installed without a record of its files"


def as_plain(plugin: Plugin) -> dict[str, Any]:
    """A plugin as JSON values."""
    from dataclasses import asdict

    return asdict(plugin)
