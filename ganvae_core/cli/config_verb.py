"""``ganvae config``: the complete configuration, commented."""

from __future__ import annotations

from pathlib import Path

import click

from ganvae_core.cli.choosing import chosen_configuration, configuration_options, typed_layer
from ganvae_core.cli.frame import current_catalogue
from ganvae_core.cli.output import print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, without comments.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def config(
    as_json: bool,
    overrides: tuple[str, ...],
    plugin: str | None,
    recipe: str | None,
    file: Path | None,
    **short: str | None,
) -> None:
    """Print the complete configuration, with a comment on each setting.

    \b
    ganvae config --plugin vae objective.beta=2 > my.yaml
    ganvae run --config my.yaml
    """
    catalogue = current_catalogue()

    from ganvae_core.config.build import Builder
    from ganvae_core.config.render import render_commented

    configuration = chosen_configuration(catalogue, plugin, recipe, file, typed_layer(overrides, short))
    Builder(configuration, catalogue).check()
    if as_json:
        print_json(configuration.as_dict())
    else:
        click.echo(render_commented(configuration, catalogue), nl=False)


configuration_options(config)
