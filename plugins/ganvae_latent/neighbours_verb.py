"""``ganvae neighbours``: the nearest training rows of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.output import counted, note, said_if_slow
from ganvae_core.cli.request import open_data
from ganvae_latent.features import SPACES, features_of
from ganvae_latent.giving import FILES, RESIZE, ROWS, Request, requested

if TYPE_CHECKING:
    from torch import Tensor


@click.command()
@click.option("-n", "--count", type=WholeNumber(min=1), default=8, metavar="N", help="Samples.")
@click.option(
    "-k", "--neighbours", "near", type=WholeNumber(min=1), default=7, metavar="K", help="Rows beside each."
)
@click.option("--space", type=click.Choice(SPACES), default="data", metavar="S",
              help="Where distances are taken: data (rows as the model sees them: pixels, columns, characters), codes,"
              " or features of the run's critic, of a judge (a small classifier of the data's labels), of"
              " efficientnet-lite0 or of inception.")  # fmt: skip
@requested(FILES, ROWS, RESIZE)
def neighbours(
    request: Request,
    count: int,
    near: int,
    space: str,
) -> None:
    """Draw the nearest training rows of samples, or of given rows: is it a copy?

    Each line begins with the sample, and its neighbours follow, the nearest first. A file of rows, such as the
    .csv of a table, has the number of the sample, the number of the training row, and their distance, which of texts is
    the number of characters that differ.

    \b
    ganvae neighbours runs/gan-digits-1 -o neighbours.png
    ganvae neighbours runs/vae-digits-1 --rows 3,5 --space codes
    """
    import numpy as np
    import torch

    from ganvae_core import latent
    from ganvae_latent.showing import output_for, write

    run = request.run
    output = output_for(request, "neighbours", f"{space}-seed-{request.seed}")
    with said_if_slow("comparing with the training rows"), torch.no_grad():
        features = features_of(run, space)
        if request.names_rows:
            batch = request.batch(request.chosen())
            queries, of_queries = batch.x, batch.condition
        else:
            given = request.samples(count)
            queries, of_queries = run.model(given.z, given.condition), given.condition
        split = open_data(run, None if request.files else request.data)
        among = split.training[:]
        batches = [run.batch(split, part) for part in np.array_split(among, max(1, len(among) // 256))]
        known = torch.cat([features(batch.x, batch.condition) for batch in batches])
        distances, places = latent.nearest(
            features(queries, of_queries), known, near, differing=space == "data" and not run.view.quantities
        )
        chosen = among[places.cpu().numpy()]  # (N, K)
        found = run.batch(split, chosen.reshape(-1))

    def lines(of_queries: Tensor, of_found: Tensor) -> Tensor:
        return torch.cat([of_queries[:, None], of_found.unflatten(0, chosen.shape)], 1).flatten(0, 1)

    of_lines = None if of_queries is None or found.condition is None else lines(of_queries, found.condition)
    none = np.full((len(queries), 1), np.nan)  # of the sample itself
    further = {
        "sample_number": np.repeat(np.arange(len(queries)), near + 1),
        "row": np.concatenate([none, chosen], 1).reshape(-1),
        "distance": np.concatenate([none, distances.cpu().numpy()], 1).reshape(-1),
    }
    write(run, lines(queries, found.x), output, columns=near + 1, condition=of_lines, further=further)
    note(
        f"{counted(len(queries), 'row')} beside {near} of {counted(len(among), 'training row')}, by distance of {space}"
    )
    click.echo(str(output))
