"""``ganvae plugins catalogue``: updates a registry file from the installed plugins."""

from __future__ import annotations

from pathlib import Path

import click

from ganvae_core.cli.frame import current_catalogue, settings
from ganvae_core.cli.output import note
from ganvae_core.errors import ConfigurationError


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail where the file is stale.")
def catalogue(check: bool) -> None:
    """Update registry.toml from the hooks of the installed plugins, and keep the rest of it.

    The file is the one that --registry or GANVAE_REGISTRY names, else ganvae's own, in a checkout. The user's file
    gets the plugins of other distributions; --check of ganvae's own compares ganvae's plugins alone.
    """
    from ganvae_core.plugins.known import OWN, chosen_file, parse_registry
    from ganvae_core.plugins.registry_file import rewritten, stale

    installed = current_catalogue()
    mine = chosen_file(settings().registry)
    path = mine or _of_the_checkout(check)
    text = path.read_text(encoding="utf-8")
    entries = parse_registry(text, str(path)).plugins
    written = [plugin for plugin in installed.ready if plugin.distribution != OWN]
    gone: list[str] = []
    if mine is None:
        shipped = [plugin.name for plugin in installed.plugins if plugin.distribution == OWN]
        own = [
            installed.plugin(name) for name in shipped
        ]  # refuses a broken one, whose entry cannot be right
        written = own if check else [*own, *written]
        gone = [name for name, entry in entries.items() if entry.distribution == OWN and name not in shipped]
    if check:
        lines = stale(written, entries) + [f"{name}: ganvae has no such plugin any more" for name in gone]
        if lines:
            raise ConfigurationError(f"{path} is stale.", *lines, "update it:  ganvae plugins catalogue")
        note(f"{path} is up to date")
        return
    new = rewritten(text, entries, written, gone)
    if new == text:
        note(f"{path} was up to date")
        return
    path.write_text(new, encoding="utf-8")
    note(f"{len(written)} entries are those of installed plugins")
    click.echo(str(path))


def _of_the_checkout(check: bool) -> Path:
    """ganvae's own registry file.

    Raises:
        ConfigurationError: it is part of an installed wheel and would be written.
    """
    from ganvae_core.plugins.known import registry_path

    path = Path(str(registry_path())).resolve()
    if not check and path.parent.name == "ganvae_core":
        raise ConfigurationError(
            f"{path} is part of the installed ganvae, which is not changed.",
            "use a file of your own, which begins with  version = 1",
            "ganvae plugins catalogue --registry FILE",
        )
    return path
