"""Posteriors, torch's distributions as posterior, prior and observed data, and divergences from a prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence

from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import FactorisedPosterior, LatentPrior, ObservedData, Posterior, Support

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


@dataclass(frozen=True, eq=False)
class FromTorch:
    """A torch distribution of which each row of a batch has one.

    All dimensions but the first are an event, those of ``batch_shape`` included: ``Normal(location, scale)`` with
    parameters (B, *Z) needs no ``Independent``. Convert the output of a network in bf16 with ``.float()``.

    Args:
        distribution: with ``batch_shape + event_shape`` (B, …).
    """

    distribution: Distribution

    def __post_init__(self) -> None:
        object.__setattr__(self, "distribution", _by_entry(self.distribution))

    @property
    def mean(self) -> Tensor:
        """(B, …)."""
        return self.distribution.mean


@final
@dataclass(frozen=True, eq=False)
class TorchPosterior(FromTorch, Posterior):
    """A torch distribution as a posterior over codes.

    Args:
        distribution: over (B, *Z), with reparameterised draws (``has_rsample``).
        code: (B, *Z) the code to use in place of the mean, for distributions without a mean, such as flows.
    """

    code: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        return self.distribution.mean if self.code is None else self.code

    def rsample(self, shape: tuple[int, ...] = ()) -> Tensor:
        return self.distribution.rsample(shape)

    def log_prob(self, z: Tensor) -> Tensor:
        return _log_prob(self.distribution, z, 1)


@final
@dataclass(frozen=True, eq=False)
class TorchObserved(FromTorch, ObservedData):
    """A torch distribution as observed data.

    Where the distribution has an event of its own (one-hot categories, a multivariate normal), the event counts only if
    all of its entries were observed.

    Args:
        distribution: over (B, *X).
    """

    def sample(self) -> Tensor:
        return self.distribution.sample()

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return _log_prob(self.distribution, x, 1, mask)


@final
class TorchPrior(LatentPrior):
    """A torch distribution as a prior.

    A distribution has fixed parameters, which stay on their device. A module that returns one, such as a flow of zuko's
    (``zuko.flows.NSF(16)``), moves and is trained with the model: it is called with the flattened condition, or with
    nothing.

    Args:
        distribution: over one code, or a module that makes one; with a condition, one for each row of it.
        latent_shape: *Z; by default that of the distribution, which a module is called for once, without a condition.
        support: where codes live.
    """

    def __init__(
        self,
        distribution: Distribution | nn.Module,
        latent_shape: Sequence[int] | None = None,
        *,
        support: Support = "real",
    ) -> None:
        super().__init__()
        self.distribution = distribution
        self.support = support
        if latent_shape is None:
            made = self.made(None)
            latent_shape = made.batch_shape + made.event_shape
        self.latent_shape = tuple(latent_shape)

    def made(self, condition: Tensor | None) -> Distribution:
        """The distribution over one code, or with a condition (B, *K) over (B, *Z)."""
        if isinstance(self.distribution, Distribution):
            return _by_entry(self.distribution)
        given = () if condition is None else (condition.flatten(1),)
        return _by_entry(self.distribution(*given))

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        made = self.made(condition)
        shape = torch.Size() if self._by_row(condition) else torch.Size((count,))
        drawn = made.rsample(shape) if made.has_rsample else made.sample(shape)
        return drawn.reshape(count, *self.latent_shape)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        made, rows = self.made(condition), int(self._by_row(condition))
        event = made.batch_shape[rows:] + made.event_shape
        return _log_prob(made, z.reshape(z.shape[0], *event), rows)

    def _by_row(self, condition: Tensor | None) -> bool:
        return condition is not None and isinstance(self.distribution, nn.Module)


def _by_entry(distribution: Distribution) -> Distribution:
    """Without ``Independent`` around it, so that a mask finds every entry."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def _log_prob(distribution: Distribution, value: Tensor, rows: int, mask: Tensor | None = None) -> Tensor:
    """Nats, summed over all of the batch shape but the first ``rows`` dimensions."""
    if mask is not None and distribution.event_shape:
        mask = mask.flatten(-len(distribution.event_shape)).all(-1)
    return sum_event(distribution.log_prob(value), len(distribution.batch_shape) - rows, mask)


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

    In closed form where one is registered for the pair of types, with ``register_kl`` or for two torch distributions in
    ``torch.distributions.kl``; else the one-sample estimate ``log q(z|x) - log p(z)``, which is unbiased and may be
    negative.

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
    if isinstance(posterior, TorchPosterior) and isinstance(prior, TorchPrior):
        try:
            terms = kl_divergence(posterior.distribution, prior.made(condition))
            return sum_event(terms, terms.dim() - 1)
        except NotImplementedError:
            pass  # torch has no closed form for this pair
    z = posterior.rsample() if z is None else z
    return posterior.log_prob(z) - prior.log_prob(z, condition)


def sum_event(values: Tensor, event_dimensions: int, mask: Tensor | None = None) -> Tensor:
    """Sums the last ``event_dimensions`` dimensions, which may be none, over the entries where the mask is true."""
    if mask is not None:
        values = values.where(mask, 0)
    return values.sum(tuple(range(-event_dimensions, 0))) if event_dimensions else values


Reconstruction = Literal["squared-error", "likelihood"]
"""How an objective measures reconstructions: its option ``reconstruction``."""


def reconstruction_error(
    observed: ObservedData, x: Tensor, mask: Tensor | None, how: Reconstruction
) -> Tensor:
    """() the squared error of the mean, or -log p(x|z) in nats, averaged over the batch; see ``squared_error``."""
    if how == "likelihood":
        return -observed.log_prob(x, mask).mean()
    return squared_error(observed, x, mask)


def squared_error(observed: ObservedData, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """() ||x - mean||², summed over the entries that were observed and averaged over the batch.

    Args:
        observed: a distribution over (B, *X).
        x: (B, *X).
        mask: (B, *X) bool, true where x was observed; None where all of it was.
    """
    squares = (observed.mean - x).square()
    return sum_event(squares, squares.dim() - 1, mask).mean()
