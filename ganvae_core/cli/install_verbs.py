"""``ganvae plugins install`` and ``uninstall``."""

from __future__ import annotations

import click

from ganvae_core.cli.frame import PluginName, settings
from ganvae_core.cli.output import note, table
from ganvae_core.errors import PluginError


@click.command()
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
    from ganvae_core.cli.plugin_verbs import COLUMNS, summary
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
        raise PluginError(f"{' and '.join(distributions)} came, and now {error.message}", remedy) from error
    came = {(plugin.name, plugin.distribution) for plugin in arrived}
    rows = [row for row in now if (row["name"], row["distribution"]) in came]
    table([summary(row) for row in rows], COLUMNS)
    unusable = [row["name"] for row in rows if row["state"] != "ready"]
    if unusable:
        raise PluginError(f"{' and '.join(map(repr, unusable))} cannot be used.", remedy)


@click.command()
@click.argument("name", metavar="D", type=PluginName())
def uninstall(name: str) -> None:
    """Uninstall a plugin, or the distribution D with all its plugins. None of it is imported, however broken."""
    from ganvae_core.plugins import installer

    gone = installer.uninstall(name)
    note(f"{gone[0].origin} is uninstalled, and with it: {', '.join(plugin.name for plugin in gone)}")
