"""Posteriors that encoders return, and the Kullback-Leibler divergence between a posterior and a prior."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import FactorisedPosterior, LatentPrior, Posterior

LOG_2_PI = math.log(2 * math.pi)
LOG_VARIANCE_BOUND = 20.0


@final
@dataclass(frozen=True, eq=False)
class DiagonalNormal(FactorisedPosterior):
    """q(z|x) = N(location, diag(exp(log_variance))), as in Kingma and Welling 2013.

    The log-variance is held within ±20, since its exponential overflows on one bad step of a large learning
    rate. Its gradient passes the bound unchanged, so that a coordinate beyond it can come back.

    Args:
        location: (B, *Z).
        log_variance: (B, *Z) logarithm of the variance.
    """

    location: Tensor
    log_variance: Tensor

    def __post_init__(self) -> None:
        log_variance = self.log_variance
        bounded = log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)
        object.__setattr__(self, "log_variance", log_variance + (bounded - log_variance).detach())

    @property
    def mean(self) -> Tensor:
        return self.location

    def rsample(self, shape: tuple[int, ...] = ()) -> Tensor:
        noise = torch.randn(
            shape + self.location.shape, dtype=self.location.dtype, device=self.location.device
        )
        return torch.addcmul(self.location, noise, (0.5 * self.log_variance).exp())

    def coordinate_log_prob(self, z: Tensor) -> Tensor:
        squared_distance = (z - self.location).square() * (-self.log_variance).exp()
        return -0.5 * (squared_distance + self.log_variance + LOG_2_PI)


@final
@dataclass(frozen=True, eq=False)
class Dirac(Posterior):
    """All mass at one code: what a plain autoencoder's encoder returns.

    Args:
        location: (B, *Z).
    """

    location: Tensor

    @property
    def mean(self) -> Tensor:
        return self.location

    def rsample(self, shape: tuple[int, ...] = ()) -> Tensor:
        return self.location.expand(shape + self.location.shape)

    def log_prob(self, z: Tensor) -> Tensor:
        raise ConfigurationError(
            "a deterministic encoder gives one code for each x, which has no density and no KL.",
            "give the encoder a density (encoder.posterior=normal), or use an objective that needs none",
        )


P = TypeVar("P", bound=Posterior)
R = TypeVar("R", bound=LatentPrior)
_closed_forms: dict[
    tuple[type[Posterior], type[LatentPrior]], Callable[[Any, Any, Tensor | None], Tensor]
] = {}


def register_kl(
    posterior: type[P], prior: type[R]
) -> Callable[[Callable[[P, R, Tensor | None], Tensor]], Callable[[P, R, Tensor | None], Tensor]]:
    """Decorates the closed form of KL(q||p) for these two types: (posterior, prior, condition) -> (B,) nats.

    Types are matched exactly, since every class that implements an interface is final.

    Raises:
        ConfigurationError: the pair has a closed form already.
    """

    def register(
        closed_form: Callable[[P, R, Tensor | None], Tensor],
    ) -> Callable[[P, R, Tensor | None], Tensor]:
        if (posterior, prior) in _closed_forms:
            raise ConfigurationError(
                f"KL({posterior.__name__} || {prior.__name__}) has a closed form already."
            )
        _closed_forms[posterior, prior] = closed_form
        return closed_form

    return register


def kl(
    posterior: Posterior, prior: LatentPrior, z: Tensor | None = None, condition: Tensor | None = None
) -> Tensor:
    """KL(q(z|x) || p(z)) -> (B,) nats, differentiable.

    In closed form where ``register_kl`` knows the pair of types, else the one-sample estimate
    ``log q(z|x) - log p(z)``, which is unbiased and may be negative.

    Args:
        posterior: q, over (B, *Z).
        prior: p.
        z: (B, *Z) the draw from q that the caller uses already; a fresh one by default.
        condition: (B, *K) for a prior that depends on it.

    Raises:
        ConfigurationError: the posterior has no density (``Dirac``).
    """
    closed_form = _closed_forms.get((type(posterior), type(prior)))
    if closed_form is not None:
        return closed_form(posterior, prior, condition)
    z = posterior.rsample() if z is None else z
    return posterior.log_prob(z) - prior.log_prob(z, condition)


def sum_event(values: Tensor, event_dimensions: int, mask: Tensor | None = None) -> Tensor:
    """Sums the last ``event_dimensions`` dimensions, which may be none, over the entries where the mask is true."""
    if mask is not None:
        values = values.where(mask, 0)
    return values.flatten(-event_dimensions).sum(-1) if event_dimensions else values
