"""``ganvae plugins new``: a plugin to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ganvae_core.cli.frame import PathName, settings
from ganvae_core.cli.output import note
from ganvae_kit.scaffold import NEW_KINDS, package_of, write_plugin


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--kind", default="objective", type=click.Choice(NEW_KINDS), metavar="KIND", show_default=True,
              help=f"What it offers: {', '.join(NEW_KINDS)}.")  # fmt: skip
@click.option("--out", type=PathName(), metavar="DIR", help="The folder itself; by default ganvae-NAME.")
def new(name: str, kind: str, out: Path | None) -> None:
    """Write a plugin called NAME: a distribution that works, to edit, with its tests.

    \b
    ganvae plugins new my-loss
    ganvae plugins new ring --kind prior
    """
    from ganvae_core.plugins.known import user_registry

    folder = write_plugin(name, kind, out, user_registry(settings().registry).known())
    note(f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} that works; change it in"
         f" {folder / 'src' / package_of(name) / kind}.py")  # fmt: skip
    click.echo(str(folder))
    note(f"next:  ganvae plugins install -e {shlex.quote(str(folder))}")
    note(f"       ganvae plugins check {name}")
    note(f"       ganvae run --plugin {name}")
