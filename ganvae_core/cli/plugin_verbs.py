"""``ganvae plugins``: lists and describes the installed plugins. ``install`` and ``uninstall`` run pip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from ganvae_core.cli.catalogue_verb import catalogue
from ganvae_core.cli.frame import PluginName, current_catalogue, settings
from ganvae_core.cli.output import counted, note, print_json, table
from ganvae_core.cli.plugin_commands import ExtensibleGroup
from ganvae_core.errors import PluginError

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
    if plugin.recipes:
        click.echo()
        table([(recipe.name, recipe.summary) for recipe in plugin.recipes], ("recipe", ""))
        for recipe in plugin.recipes:
            if recipe.more:
                click.echo(f"  {recipe.name}, with more time: {recipe.more}")
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


plugins.add_command(catalogue)


@plugins.command()
@click.argument("what", metavar="D")
@click.option("-e", "--editable", is_flag=True, help="D is a folder, whose files themselves are used.")
@click.option("-U", "--upgrade", is_flag=True, help="Take a newer version where there is one.")
@click.argument("options", metavar="[-- OPTIONS OF PIP]", nargs=-1, type=click.UNPROCESSED)
def install(what: str, editable: bool, upgrade: bool, options: tuple[str, ...]) -> None:
    """Install the distribution D with pip, and list the plugins that come with it.

    D is a plugin in the registry, a requirement, a wheel, a URL, or the folder of a project. torch and ganvae
    keep their versions. pip's settings, such as PIP_INDEX_URL, work as ever, and so do its options after --.

    \b
    ganvae plugins install ganvae-swae
    ganvae plugins install -e ganvae-mine
    ganvae plugins install ganvae-swae -- --constraint team.txt
    """
    from ganvae_core.plugins import installer
    from ganvae_core.plugins.known import user_registry

    known = user_registry(settings().registry).known()
    words = installer.requirements_of(known[what]) if what in known and not editable else [what]
    flags = [*(["--upgrade"] if upgrade else []), *options, *(["--editable"] if editable else [])]
    arrived = installer.install([*flags, *words])
    if not arrived:
        note(f"{what} is installed; no plugin is new or has another version")
        return
    distributions = sorted({plugin.distribution for plugin in arrived})
    remedy = f"ganvae plugins uninstall {' '.join(distributions)}"
    try:
        now = installer.plugins_now(settings().registry)
    except PluginError as error:
        raise PluginError(
            f"{' and '.join(distributions)} was installed, and now {error.message}", remedy
        ) from error
    came = {(plugin.name, plugin.distribution) for plugin in arrived}
    rows = [row for row in now if (row["name"], row["distribution"]) in came]
    table([summary(row) for row in rows], COLUMNS)
    unusable = [row["name"] for row in rows if row["state"] != "ready"]
    if unusable:
        raise PluginError(f"{' and '.join(map(repr, unusable))} cannot be used.", remedy)


@plugins.command()
@click.argument("name", metavar="D", type=PluginName())
def uninstall(name: str) -> None:
    """Uninstall a plugin, or the distribution D with all its plugins. None of it is imported, however broken."""
    from ganvae_core.plugins import installer

    gone = installer.uninstall(name)
    note(f"{gone[0].origin} is uninstalled, and with it: {', '.join(plugin.name for plugin in gone)}")


def summary(plugin: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """The row of a plugin in the list, from its JSON values: the last cell says what it has, or why it has a state."""
    offers = plugin["reason"]
    if plugin["state"] == "broken":
        offers += f"      ganvae plugins info {plugin['name']} --traceback"
    if plugin["state"] == "ready":
        kinds = ["recipe"] * len(plugin["recipes"]) + [part["kind"] for part in plugin["components"]]
        kinds += ["verb"] * len(plugin["commands"])
        offers = " · ".join(counted(kinds.count(kind), kind) for kind in dict.fromkeys(kinds))
    return plugin["name"], plugin["state"], f"{plugin['distribution']} {plugin['version']}", offers
