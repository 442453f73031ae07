"""Missing entries of rows, drawn given those that were observed."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ganvae_core.errors import ConfigurationError
from ganvae_core.latent.inversion import invert
from ganvae_core.model import Model

Method = Literal["auto", "conditional", "optimise"]
METHODS: tuple[Method, ...] = get_args(Method)
WARM_UP = 0.5
"""Share of the steps of iterated conditional sampling in which all proposals are accepted."""


@torch.no_grad()
def complete(
    model: Model,
    x: Tensor,
    mask: Tensor,
    condition: Tensor | None = None,
    *,
    draws: int = 8,
    method: Method = "auto",
    steps: int = 100,
    noise: bool = False,
) -> Tensor:
    """(draws, B, *X) rows whose missing entries are filled in; observed entries are as in x.

    ``conditional`` is iterated conditional sampling: z from the encoder's posterior given the completed row, then the
    missing entries from the observation given z (Rezende et al. 2014, appendix F). After a warm-up a code is accepted
    with the probability of Metropolis within Gibbs (Mattei and Frellsen 2018), so that the chain's limit is the model's
    own conditional distribution and not the encoder's. ``optimise`` finds, from other starts for each draw, the codes
    that explain the observed entries best (``invert``), for any model. ``auto`` is ``conditional`` where the posterior
    and the observation have a density. Random numbers are torch's.

    Args:
        model: in evaluation mode.
        x: (B, *X); entries where the mask is false are not looked at.
        mask: (B, *X) bool, true where x was observed.
        condition: (B, *K).
        draws: completions of each row.
        method: how.
        steps: of the chain, or of the optimisation.
        noise: draw missing entries from the observation instead of taking its mean.

    Raises:
        ConfigurationError: there is no such method, or this model has none of the densities that it needs; the mask
            has another shape.
    """
    if mask.shape != x.shape:
        raise ConfigurationError(f"the mask has shape {tuple(mask.shape)}, and the rows {tuple(x.shape)}.")
    if method not in METHODS:
        raise ConfigurationError(f"there is no method '{method}'.", f"methods: {', '.join(METHODS)}")
    can = model.encoder is not None and not model.encoder.deterministic and model.observation.has_likelihood
    if method == "conditional" and not can:
        raise ConfigurationError(
            "iterated conditional sampling takes an encoder whose posterior has a density, and an observation that has"
            " one.",
            "take  optimise, which any model can do",
        )
    observed = x.where(mask, 0)
    rows, seen = _repeat(observed, draws), _repeat(mask, draws)
    given = None if condition is None else _repeat(condition, draws)
    if method == "optimise" or not can:
        found = invert(model, rows, given, mask=seen, starts=3, steps=steps).z
        made = _filled(model, found, given, noise=noise)
    else:
        made = _chain(model, rows, seen, given, steps, noise=noise)
    return torch.where(seen, rows, made).unflatten(0, (draws, len(x)))


def _chain(
    model: Model, x: Tensor, mask: Tensor, condition: Tensor | None, steps: int, *, noise: bool
) -> Tensor:
    """(S · B, *X) the model's entries at the end of as many chains."""
    z = model.prior.sample(len(x), condition)
    full = torch.where(mask, x, model(z, condition))
    for step in range(steps):
        posterior = model.encode(full, condition)
        proposed = posterior.rsample()
        if step < WARM_UP * steps:
            z = proposed
        else:
            gain = model.decode(proposed, condition).log_prob(full) - model.decode(z, condition).log_prob(
                full
            )
            gain = gain + model.log_prior(proposed, condition) - model.log_prior(z, condition)
            gain = gain + posterior.log_prob(z) - posterior.log_prob(proposed)
            accepted = torch.rand_like(gain).log() < gain
            z = torch.where(accepted.reshape(-1, *[1] * (z.dim() - 1)), proposed, z)
        full = torch.where(mask, x, _filled(model, z, condition, noise=noise))
    return full


def _filled(model: Model, z: Tensor, condition: Tensor | None, *, noise: bool) -> Tensor:
    observed = model.decode(z, condition)
    return observed.sample() if noise else observed.mean


def _repeat(values: Tensor, draws: int) -> Tensor:
    """(B, …) -> (draws · B, …)."""
    return values.repeat(draws, *[1] * (values.dim() - 1))
