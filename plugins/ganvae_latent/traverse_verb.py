"""``ganvae traverse``: one dimension at a time."""

from __future__ import annotations

from typing import Any

import click

from ganvae_core.cli.frame import PathName, WholeNumber
from ganvae_core.cli.output import counted, note, said_if_slow, table
from ganvae_core.cli.request import open_data
from ganvae_core.errors import DataError, RunError
from ganvae_latent.giving import RESIZE, ROWS, Request, requested

RANKED_ROWS = 2_000
"""Rows by whose posterior dimensions are ranked."""
CHANGED_CODES = 16
"""Codes at which the change of the output is measured."""
FILE = click.argument("files", required=False, metavar="[FILE]", type=PathName(),
                      callback=lambda context, parameter, file: () if file is None else (file,))  # fmt: skip


@click.command()
@click.option("-n", "--count", type=WholeNumber(min=1), default=10, metavar="N", help="Dimensions to draw.")
@click.option("--steps", type=WholeNumber(min=2), default=10, metavar="N", help="Values of each dimension.")
@click.option("--by", type=click.Choice(["kl", "change"]), metavar="R",
              help="Rank by kl (from the prior, of each dimension) or by change (of the output).")  # fmt: skip
@requested(FILE, ROWS, RESIZE)
def traverse(
    request: Request,
    count: int,
    steps: int,
    by: Any,
) -> None:
    """Draw what each dimension of the latent space does, those that matter most first.

    Each line of the picture is one dimension, which takes values from its 2nd to its 98th percentile under the prior;
    everything else stays as in one sample, or as in the row that --rows or FILE gives. Categorical parts have a line
    with all their classes. Dimensions are ranked by their KL divergence from the prior where there are an encoder and
    data, and otherwise by the change of the output.

    \b
    ganvae traverse runs/vae-digits-1 -o dimensions.png
    ganvae traverse runs/gan-digits-1 -n 5 --steps 12
    """
    import numpy as np
    import torch

    from ganvae_core import latent
    from ganvae_core.data.randomness import seeded
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.views.files import ending_of
    from ganvae_latent.showing import output_for, write

    run = request.run
    output = output_for(request, "traversals")
    several = request.samples(CHANGED_CODES)
    base = (request.codes(request.chosen()) if request.names_rows else several).some(slice(1))
    x = None
    if run.model.encoder is not None and by != "change" and several.condition is None:
        try:
            split = open_data(run, request.data)
            x = run.batch(split, evenly(split.training, RANKED_ROWS)).x
        except (DataError, RunError) as error:
            note(f"note: ranked by the change of the output: {error.message}")
    with said_if_slow("ranking dimensions"), seeded(run.device, request.seed):
        found = latent.axes(run.model, several.z, steps=steps, x=x, condition=several.condition, by=by)
    shown = found[:count]
    columns = max(len(axis.values) for axis in shown)
    drawn = run.view.as_grid and ending_of(output) == ".png"
    lines: list[torch.Tensor] = []
    for axis in shown:
        made = latent.traverse(run.model, base.z, axis, base.condition)[0]
        blank = made.new_full(
            (columns - len(made), *made.shape[1:]), run.spec.range[1] if run.spec.range else 0.0
        )
        lines.append(torch.cat([made, blank]) if drawn else made)
    values = np.concatenate([axis.values.argmax(1).cpu().numpy() if axis.discrete
                             else axis.values[:, 0].cpu().numpy() for axis in shown])  # fmt: skip
    further = {} if drawn else {
        "dimension": np.concatenate([np.full(len(axis.values), axis.start) for axis in shown]), "value": values,
    }  # fmt: skip
    of_lines = (
        None if base.condition is None else base.condition.expand(len(values), *base.condition.shape[1:])
    )
    write(run, torch.cat(lines), output, columns=columns, condition=of_lines, further=further)
    unit = "KL, nats" if shown[0].measure == "kl" else "change of x"
    table([[number + 1, axis.name, f"{axis.score:.3g}"] for number, axis in enumerate(shown)],
          ["line", "what", unit])  # fmt: skip
    request.written(output, f"{len(shown)} of {counted(len(found), 'dimension')}")
