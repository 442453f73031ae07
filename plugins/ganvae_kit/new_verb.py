"""``ganvae plugins new``: a plugin to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganvae_core.cli.frame import PathName, settings
from ganvae_core.cli.output import note
from ganvae_core.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_kind(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str | CompletionItem]:
    """The kinds that a plugin can begin with and that begin like what was typed."""
    from ganvae_kit.scaffold import NEW_KINDS

    return [kind for kind in NEW_KINDS if kind.startswith(incomplete)]


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--kind",
    default="objective",
    metavar="KIND",
    shell_complete=complete_kind,
    help="What it offers: objective (by default), generator, encoder, critic, prior, "
    "observation, source, view, metric or callback.",
)
@click.option("--out", type=PathName(), metavar="DIR", help="The folder itself; by default ganvae-NAME.")
def new(name: str, kind: str, out: Path | None) -> None:
    """Write a plugin called NAME: a distribution that works, to edit, with its tests.

    \b
    ganvae plugins new my-loss
    ganvae plugins new ring --kind prior
    """
    from ganvae_core.plugins import KINDS
    from ganvae_core.plugins.known import user_registry
    from ganvae_kit.scaffold import NEW_KINDS, package_of, write_plugin

    if kind not in NEW_KINDS:
        problem = (
            f"there is no template for the kind '{kind}'." if kind in KINDS else f"there is no kind '{kind}'."
        )
        raise ConfigurationError(
            f"--kind: {problem}{did_you_mean(kind, NEW_KINDS)}", f"templates: {', '.join(NEW_KINDS)}"
        )
    folder = write_plugin(name, kind, out, user_registry(settings().registry).known())
    note(f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} that works; change it in"
         f" {folder / 'src' / package_of(name) / kind}.py")  # fmt: skip
    click.echo(str(folder))
    note(f"next:  ganvae plugins install -e {shlex.quote(str(folder))}")
    note(f"       ganvae plugins check {name}")
    note(f"       ganvae run --plugin {name}")
