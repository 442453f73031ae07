"""``ganvae components``: lists the installed components, and the options of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def components(kind: str | None, name: str | None, as_json: bool) -> None:
    """List the installed components by their full names, or those of one KIND, or the options of one by NAME.

    \b
    ganvae components objective
    ganvae components metric frechet
    """
    if kind and name:
        describe_component(kind, name, as_json)
        return
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


def describe_component(kind: str, name: str, as_json: bool) -> None:
    """Print a component with its options, their types and defaults."""
    from ganvae_core.config.options import REQUIRED, component_options

    catalogue = current_catalogue()
    id, spec = catalogue.component(kind, name)
    options = component_options(catalogue.load(spec)).values()
    rows: list[dict[str, Any]] = [
        {
            "option": option.name,
            "type": option.type_name,
            "default": None if option.default is REQUIRED else option.default,
            "summary": option.summary.replace("``", ""),
        }
        for option in options
    ]
    if as_json:
        print_json({**as_plain(id, spec), "options": rows})
        return
    click.echo(f"{id}   {spec.summary}")
    if rows:
        click.echo()
        shown = ["needed" if option.default is REQUIRED else plain_text(option.default) for option in options]
        table(
            [
                (row["option"], row["type"], default, row["summary"])
                for row, default in zip(rows, shown, strict=True)
            ],
            ("option", "type", "default", ""),
        )
    else:
        note("it has no options")


def plain_text(value: Any) -> str:
    """A default as it is typed: ``null``, ``true``, ``[256, 256]``."""
    import yaml

    value = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump([value], default_flow_style=True, width=10_000, allow_unicode=True).strip()[1:-1]


def as_plain(id: str, component: ComponentSpec) -> dict[str, str | list[str]]:
    """A component as JSON values, without its target, which may change."""
    values: dict[str, str | list[str]] = {"kind": component.kind, "id": id, "summary": component.summary}
    return values | ({"reads": list(component.reads)} if component.reads else {})
