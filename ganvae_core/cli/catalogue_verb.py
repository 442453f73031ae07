"""``ganvae plugins catalogue``: keeps a registry file up to date with what is installed."""

from __future__ import annotations

from pathlib import Path

import click

from ganvae_core.cli.frame import current_catalogue, settings
from ganvae_core.cli.output import note
from ganvae_core.errors import ConfigurationError


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail where the file is stale.")
def catalogue(check: bool) -> None:
    """Write what installed plugins say of themselves into registry.toml, and keep the rest of it.

    The file is the one that --registry or GANVAE_REGISTRY names, else ganvae's own, in a checkout. In your own file
    go the plugins of others; --check of ganvae's own looks at ganvae's plugins alone.
    """
    from ganvae_core.plugins.known import parsed
    from ganvae_core.plugins.overlay import chosen_file
    from ganvae_core.plugins.policy import OWN
    from ganvae_core.plugins.registry_file import rewritten, stale

    installed = current_catalogue()
    mine = chosen_file(settings().registry)
    path = mine or _of_the_checkout(check)
    text = path.read_text(encoding="utf-8")
    import tomllib

    entries = parsed(tomllib.loads(text))
    own = [plugin for plugin in installed.plugins if plugin.distribution == OWN]
    others = [plugin for plugin in installed.ready if plugin.distribution != OWN]
    gone: list[str] = []
    if mine is None:
        for plugin in own:
            installed.plugin(plugin.name)  # an entry of a plugin of ganvae's that is broken cannot be right
        shipped = {plugin.name for plugin in own}
        gone = [name for name, entry in entries.items() if entry.distribution == OWN and name not in shipped]
    if check:
        lines = stale(own if mine is None else others, entries.values())
        lines += [f"{name}: ganvae has no such plugin any more" for name in gone]
        if lines:
            raise ConfigurationError(f"{path} is stale.", *lines, "ganvae plugins catalogue  writes it anew")
        note(f"{path} is up to date")
        return
    written = others if mine is not None else [*own, *others]
    new = rewritten(text, written, gone)
    if new == text:
        note(f"{path} was up to date")
        return
    path.write_text(new, encoding="utf-8")
    note(f"{len(written)} of {len(parsed(tomllib.loads(new)))} entries are those of installed plugins")
    click.echo(str(path))


def _of_the_checkout(check: bool) -> Path:
    """ganvae's own registry file.

    Raises:
        ConfigurationError: it is to be written, and is part of an installed wheel.
    """
    from ganvae_core.plugins.known import registry_path

    path = Path(str(registry_path())).resolve()
    if not check and path.parent.name == "ganvae_core":
        raise ConfigurationError(
            f"{path} is part of the installed ganvae, and is not written to.",
            "keep a file of your own, which begins with  version = 1",
            "ganvae plugins catalogue --registry FILE",
        )
    return path
