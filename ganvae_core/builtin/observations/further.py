"""Observations of values between bounds, of categories and of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import OneHotCategorical
from torch.nn import functional as F

from ganvae_core.distributions import TorchObserved, sum_event
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Observation, ObservedData
from ganvae_core.types import DataSpec

LARGEST_LOGIT = 20.0


@final
@dataclass(frozen=True, eq=False)
class ContinuousBernoulliData(ObservedData):
    """Independent values from low to high with densities proportional to λ^x (1 - λ)^(1 - x), and logits (B, *X)."""

    logits: Tensor
    low: float
    high: float

    @property
    def mean(self) -> Tensor:
        return self.low + (self.high - self.low) * self._unit.mean

    def sample(self) -> Tensor:
        return self.low + (self.high - self.low) * self._unit.sample()

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        values = self._unit.log_prob((x - self.low) / (self.high - self.low)) - math.log(self.high - self.low)
        return sum_event(values, self.logits.dim() - 1, mask)

    @property
    def _unit(self) -> TorchContinuousBernoulli:
        return TorchContinuousBernoulli(logits=self.logits, validate_args=False)


@final
class ContinuousBernoulli(Observation):
    """The density on an interval that a cross-entropy of grey levels lacks (Loaiza-Ganem and Cunningham 2019).

    Logits are held within ± 20, where the density's constant is finite.

    Args:
        data: what the data is; values from 0 to 1 by default.

    Raises:
        ConfigurationError: the data has no bounds.
    """

    def __init__(self, data: DataSpec | None = None) -> None:
        super().__init__()
        self.low, self.high = bounds_of(data, "a continuous Bernoulli")

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return data.shape

    def forward(self, raw: Tensor) -> ContinuousBernoulliData:
        logits = LARGEST_LOGIT * (raw / LARGEST_LOGIT).tanh()
        return ContinuousBernoulliData(logits, self.low, self.high)


@final
class CategoricalObservation(Observation):
    """One-hot categories along the last axis of x, with logits there.

    Args:
        data: what the data is: (…, K) values from 0 to 1.

    Raises:
        ConfigurationError: the data is not between 0 and 1.
    """

    shown = "draw"

    def __init__(self, data: DataSpec | None = None) -> None:
        super().__init__()
        if bounds_of(data, "a categorical") != (0, 1):
            raise ConfigurationError(
                "a categorical observation needs one-hot values, from 0 to 1.", "use observation=auto"
            )

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return data.shape

    def forward(self, raw: Tensor) -> TorchObserved:
        return TorchObserved(OneHotCategorical(logits=raw, validate_args=False))


@final
@dataclass(frozen=True, eq=False)
class NegativeBinomialData(ObservedData):
    """Counts with a mean and a dispersion each, and a probability of a further zero.

    Args:
        log_mean: (B, *X) of the counts, without the further zeros.
        log_dispersion: (B, *X) logarithm of θ: the variance is mean + mean² / θ.
        zero_logits: (B, *X) of a further zero, or None.
        offset: counts are ``offset + scale * x``.
        scale: likewise.
        bounds: of x, where it has any.
    """

    log_mean: Tensor
    log_dispersion: Tensor
    zero_logits: Tensor | None
    offset: Tensor
    scale: Tensor
    bounds: tuple[float, float] | None

    @property
    def mean(self) -> Tensor:
        counts = self.log_mean.exp()
        return self._as_x(counts if self.zero_logits is None else counts * (-self.zero_logits).sigmoid())

    def sample(self) -> Tensor:
        shape = self.log_dispersion.exp()
        rate = torch.distributions.Gamma(shape, shape * (-self.log_mean).exp(), validate_args=False).sample()
        counts = torch.poisson(rate.clamp(max=1e7))
        if self.zero_logits is not None:
            counts = counts * (-self.zero_logits).sigmoid().bernoulli()
        return self._as_x(counts)

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        counts = (self.offset + self.scale * x).round().clamp(min=0)
        theta = self.log_dispersion.exp()
        # log θ / (θ + μ) and log μ / (θ + μ), as logits of μ against θ.
        odds = self.log_mean - self.log_dispersion
        values = (
            (counts + theta).lgamma() - theta.lgamma() - (counts + 1).lgamma()
            + theta * F.logsigmoid(-odds) + counts * F.logsigmoid(odds)
        )  # fmt: skip
        if self.zero_logits is not None:
            further, rest = F.logsigmoid(self.zero_logits), F.logsigmoid(-self.zero_logits)
            values = torch.where(counts == 0, torch.logaddexp(further, rest + values), rest + values)
        return sum_event(values, self.log_mean.dim() - 1, mask)

    def _as_x(self, counts: Tensor) -> Tensor:
        x = (counts - self.offset) / self.scale
        return x if self.bounds is None else x.clamp(*self.bounds)


@final
class NegativeBinomial(Observation):
    """Counts 0, 1, 2 … that vary more than those of a Poisson distribution, such as reads of genes or purchases.

    The generator gives a mean and a dispersion θ for each value; the variance is mean + mean² / θ. With
    ``zero_inflated`` it also gives the probability of a further zero (Lopez et al., Deep Generative Modeling for
    Single-cell Transcriptomics, 2018). Counts are the source's own values, whatever the scale of x. ``log_prob`` is
    of the nearest whole numbers, those below zero taken as zero.

    Args:
        data: what the data is.
        zero_inflated: with further zeros.
    """

    shown = "draw"

    offset: Tensor
    scale: Tensor

    def __init__(self, data: DataSpec | None = None, *, zero_inflated: bool = False) -> None:
        super().__init__()
        self.bounds = None if data is None else data.range
        self.parts = 3 if zero_inflated else 2
        offset, scale = ((0.0,), (1.0,)) if data is None else (data.units.offset, data.units.scale)
        self.register_buffer("offset", torch.tensor(offset), persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return (self.parts * data.shape[0], *data.shape[1:])

    def forward(self, raw: Tensor) -> NegativeBinomialData:
        log_mean, log_dispersion, *zero = raw.chunk(self.parts, 1)
        return NegativeBinomialData(
            log_mean.clamp(max=15), log_dispersion.clamp(-10, 10), zero[0] if zero else None,
            self.offset.to(raw), self.scale.to(raw), self.bounds,
        )  # fmt: skip


def bounds_of(data: DataSpec | None, name: str) -> tuple[float, float]:
    """The data's range; (0, 1) where there is no data.

    Raises:
        ConfigurationError: the data has no bounds.
    """
    bounds = (0.0, 1.0) if data is None else data.range
    if bounds is None:
        raise ConfigurationError(
            f"{name} observation needs data between two bounds, and this data has none.",
            "use observation=gaussian",
        )
    return bounds
