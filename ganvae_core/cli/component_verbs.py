"""``ganvae components``: lists the installed components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ganvae_core.cli.frame import current_catalogue
from ganvae_core.cli.output import note, print_json, table

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ganvae_core.plugins import ComponentSpec


def complete_kind(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str | CompletionItem]:
    """The kinds that begin with the given text."""
    from ganvae_core.plugins import KINDS

    return [kind for kind in KINDS if kind.startswith(incomplete)]


@click.command()
@click.argument("kind", required=False, shell_complete=complete_kind)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def components(kind: str | None, as_json: bool) -> None:
    """List the installed components by their full names, or those of one KIND, such as objective."""
    found = [(id, component) for id, component, _ in current_catalogue().components(kind)]
    if as_json:
        print_json([as_plain(id, component) for id, component in found])
        return
    # One width for all kinds, so that the summaries stand under each other.
    width = max((len(id) for id, _ in found), default=0)
    for number, shown in enumerate(dict.fromkeys(component.kind for _, component in found)):
        if number:
            click.echo()
        rows = [(id.ljust(width), component.summary) for id, component in found if component.kind == shown]
        table(rows, (shown, ""))
    if not found:
        note(f"no {kind or 'component'} is installed")


def as_plain(id: str, component: ComponentSpec) -> dict[str, str | list[str]]:
    """A component as JSON values, without its target, which may change."""
    values: dict[str, str | list[str]] = {"kind": component.kind, "id": id, "summary": component.summary}
    return values | ({"reads": list(component.reads)} if component.reads else {})
