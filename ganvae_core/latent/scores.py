"""How unusual rows are to a model."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import MatchedPrior
from ganvae_core.latent.inversion import invert, squared_errors
from ganvae_core.model import Model

Scoring = Literal["likelihood", "reconstruction", "inversion"]


def scorings_of(model: Model) -> list[Scoring]:
    """The kinds of scores that a model has, the preferred one first."""
    encoder = model.encoder
    has_bound = (
        encoder is not None
        and not encoder.deterministic
        and model.observation.has_likelihood
        and not isinstance(model.prior, MatchedPrior)  # its density costs an integration for each draw
    )
    return [
        *(["likelihood"] if has_bound else []),
        *(["reconstruction"] if encoder is not None else []),
        "inversion",
    ]


@torch.no_grad()
def anomaly_scores(
    model: Model,
    x: Tensor,
    condition: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    method: Scoring | None = None,
    draws: int = 50,
) -> Tensor:
    """(B,) how unusual rows are: the higher, the less a model can account for them.

    ``likelihood`` is -log p(x) in nats, by the importance-weighted bound with so many draws of the posterior; An and
    Cho (Variational Autoencoder based Anomaly Detection, 2015) take the reconstruction's part of it.
    ``reconstruction`` is the mean squared error of the reconstruction. ``inversion`` is that of the row that decodes
    from the code which ``invert`` finds, for models without an encoder (AnoGAN, Schlegl et al. 2017). Both are over
    the observed entries of x. Random numbers are torch's. A likelihood may be high for data that lies far from what
    was learned, if that data is smooth or constant (Nalisnick et al. 2019).

    Args:
        model: in evaluation mode.
        x: (B, *X).
        condition: (B, *K).
        mask: (B, *X) bool, true where x was observed; everywhere by default.
        method: by default the first that ``scorings_of`` the model gives.
        draws: of the bound.

    Raises:
        ConfigurationError: the model has no such scores.
    """
    possible = scorings_of(model)
    method = possible[0] if method is None else method
    if method not in possible:
        raise ConfigurationError(
            f"this model has no scores by {method}: likelihood takes an encoder whose posterior has a density, an"
            " observation and a prior that have one; reconstruction takes an encoder.",
            f"it has scores by {', '.join(possible)}",
        )
    if method == "likelihood":
        return -model.log_likelihood_bound(x, condition, samples=draws, mask=mask, rows_at_once=len(x))
    if method == "inversion":
        return invert(model, x, condition, mask=mask).error.square()
    return squared_errors(model.reconstruct(x, condition), x, mask)
