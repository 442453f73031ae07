"""``ganvae interpolate``: paths between codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.output import counted
from ganvae_core.errors import ConfigurationError
from ganvae_latent.giving import FILES, RESIZE, ROWS, Given, Request, requested

if TYPE_CHECKING:
    from torch import Tensor


@click.command()
@click.option("-n", "--count", type=WholeNumber(min=1), default=8, metavar="N", help="Paths between samples.")
@click.option(
    "--steps",
    type=WholeNumber(min=2),
    metavar="N",
    help="Codes on each path; by default 10, or 24 of a film.",
)
@click.option(
    "--path",
    "kind",
    default="auto",
    metavar="P",
    type=click.Choice(["auto", "linear", "spherical", "prior"]),
    help="linear, spherical, prior (along a sphere or through a flow's noise), or auto.",
)
@requested(FILES, ROWS, RESIZE)
def interpolate(
    request: Request,
    count: int,
    steps: int | None,
    kind: Any,
) -> None:
    """Draw paths through the latent space: from sample to sample, or from row to row.

    Without rows each path joins two samples. With --rows, or with FILEs (pictures, or data), the path passes through
    the codes of all of them in turn; a model without an encoder looks for them by optimisation. The ending of the
    output says how it is written: .png, a .gif or .webp film of images, .csv or .parquet for tables, .npz or .npy.

    \b
    ganvae interpolate runs/vae-digits-1 -o paths.png
    ganvae interpolate runs/vae-digits-1 --rows 0,7,12 -o film.gif
    """
    import numpy as np
    import torch

    from ganvae_core import latent
    from ganvae_core.views.files import ending_of
    from ganvae_latent.showing import FILMS, output_for, write, write_film

    run = request.run
    output = output_for(request, "interpolations", films=True)
    film = ending_of(output) in FILMS
    length = steps or (24 if film else 10)
    if request.names_rows or request.data is not None:
        chosen = request.chosen()
        if sum(len(each.indices) for each in chosen) < 2:
            raise ConfigurationError("a path needs two rows at least.", "give more files, or  --rows 0,1")
        given = request.codes(chosen)
        start, end = given.some(slice(None, -1)), given.some(slice(1, None))
    else:
        given = request.samples(2 * count)
        start, end = given.some(slice(None, count)), given.some(slice(count, None))
    with torch.no_grad():
        codes = latent.interpolate(run.model, start.z, end.z, length, path=kind, condition=start.condition)
        conditions = _conditions(start, end, length)
        made = torch.stack(
            [
                run.model(code, None if conditions is None else conditions[step])
                for step, code in enumerate(codes)
            ]
        )  # (steps, paths, *X)
    if film:
        one_after_another = given.x is not None
        frames = made.transpose(0, 1).flatten(0, 1)[:, None] if one_after_another else made
        write_film(run, frames, output)
    else:
        number = np.repeat(np.arange(len(start.z)), length)
        share = np.tile(np.linspace(0, 1, length), len(start.z))
        of_lines = None if conditions is None else conditions.transpose(0, 1).flatten(0, 1)
        write(run, made.transpose(0, 1).flatten(0, 1), output, columns=length, condition=of_lines,
              further={"path": number, "share": share})  # fmt: skip
    request.written(output, f"{counted(len(start.z), 'path')} of {length} codes")


def _conditions(start: Given, end: Given, steps: int) -> Tensor | None:
    """(steps, B, *K) conditions on the straight line between those of both ends."""
    import torch

    if start.condition is None or end.condition is None:
        return None
    shares = torch.linspace(0, 1, steps, device=start.z.device)
    return torch.lerp(start.condition, end.condition, shares.reshape(-1, *[1] * start.condition.dim()))
