"""``ganvae invert``: the codes of given rows, by optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.output import counted, said_if_slow
from ganvae_core.errors import ConfigurationError
from ganvae_latent.features import NETS, features_of
from ganvae_latent.giving import FILES, RESIZE, ROWS, Request, requested

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ganvae_core.runs.loading import Run


DIFFERENTIABLE = tuple(name for name in ("critic", *NETS) if name != "inception")
"""Spaces whose features have a gradient: Inception takes pixels that are rounded."""


@click.command()
@click.option("--samples", "own", is_flag=True, help="Find the run's own samples again.")
@click.option(
    "-n", "--count", type=WholeNumber(min=1), default=16, metavar="N", help="Held-out rows, or samples."
)
@click.option(
    "--starts", type=WholeNumber(min=0), default=8, metavar="N", help="Draws of the prior to start from."
)
@click.option("--steps", type=WholeNumber(min=1), default=300, metavar="N", help="Of the optimisation.")
@click.option("--prior-weight", type=click.FloatRange(min=0), default=0.01, metavar="W",
              help="How much the prior's density counts; that of latent-flow is left out.")  # fmt: skip
@click.option("--feature-weight", type=click.FloatRange(min=0), metavar="W",
              help="How much a distance of features counts, 1 with --features.")  # fmt: skip
@click.option("--features", "space", type=click.Choice(DIFFERENTIABLE), metavar="S",
              help="Of the run's critic (by default), of a judge (a small classifier of the data's labels), or of"
              " efficientnet-lite0.")  # fmt: skip
@requested(FILES, ROWS, RESIZE)
def invert(
    request: Request,
    own: bool,
    count: int,
    starts: int,
    steps: int,
    prior_weight: float,
    feature_weight: float | None,
    space: str | None,
) -> None:
    """Find the codes of pictures or rows, by optimisation from several starts, and from the encoder's code.

    Takes FILEs, --rows of the data, the run's own --samples, or held-out rows. A .png shows originals and what the
    codes decode to; .npz has both, and the codes.

    \b
    ganvae invert runs/gan-digits-1 --samples -n 64 -o found.png
    ganvae invert runs/gan-digits-1 --rows 3,5 -o codes.npz
    """
    import torch

    from ganvae_core import latent
    from ganvae_core.data.randomness import seeded
    from ganvae_core.types import Drawing
    from ganvae_core.views.showing import show, shown_rows
    from ganvae_latent.showing import output_for

    run = request.run
    output = output_for(request, "inversions")
    if own and (request.names_rows or request.data is not None):
        raise ConfigurationError(
            "--samples inverts the run's own samples: leave out files, --rows and --data."
        )
    weight = float(space is not None) if feature_weight is None else feature_weight
    mask = None
    if own:
        given = request.samples(count)
        with torch.no_grad():
            x, conditions = run.model(given.z, given.condition), given.condition
    else:
        batch = request.batch(request.chosen(held_out=count))
        x, conditions, mask = batch.x, batch.condition, batch.mask
    with said_if_slow("looking for codes"), seeded(run.device, request.seed + 1):
        found = latent.invert(
            run.model, x, conditions, mask=mask, starts=starts, steps=steps, prior_weight=prior_weight,
            features=_features(run, space or "critic", x, conditions) if weight else None, feature_weight=weight,
        )  # fmt: skip
    drawing = Drawing(
        shown_rows(found.x, run.spec, run.view), "inversions", originals=shown_rows(x, run.spec, run.view)
    )
    show(run.view, drawing, run.spec, output, {"code": found.z.cpu().numpy()})
    if run.view.quantities:
        error = found.error.median().item()
        said = f"median error {error:.3g}{_decibels(error, run.spec.range)}"
    else:
        differs = found.x != x if mask is None else (found.x != x)[mask]
        said = f"{differs.float().mean().item():.0%} of the tokens differ"
    request.written(output, counted(len(x), "code"), f": {said}")


def _features(run: Run, space: str, x: Tensor, condition: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Features in units of their root mean square over rows x.

    Raises:
        ConfigurationError: there are none, or those of the critic depend on the condition.
    """
    import torch

    if space == "critic" and condition is not None:
        raise ConfigurationError("the critic's features depend on the condition.", "take  --features judge")
    features = features_of(run, space)
    with torch.no_grad():
        scale = features(x, None).square().mean().sqrt()
    return lambda made: features(made, None) / scale


def _decibels(error: float, bounds: tuple[float, float] | None) -> str:
    """The peak signal-to-noise ratio of a root mean squared error, where the data has bounds."""
    import math

    return (
        ""
        if bounds is None
        else f", PSNR {20 * math.log10((bounds[1] - bounds[0]) / max(error, 1e-8)):.1f} dB"
    )
