"""Observations of values between bounds, of categories and of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.distributions import OneHotCategorical
from torch.nn import functional as F

from ganvae_core.distributions import TorchObserved, sum_event
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Observation, ObservedData
from ganvae_core.types import DataSpec

LARGEST_LOGIT = 20.0
SERIES_BELOW = 0.5
"""Logits of a continuous Bernoulli below which a power series replaces differences of nearly equal numbers."""


@final
@dataclass(frozen=True, eq=False)
class ContinuousBernoulliData(ObservedData):
    """Independent values from low to high with densities proportional to λ^x (1 - λ)^(1 - x), and logits (B, *X)."""

    logits: Tensor
    low: float
    high: float

    @property
    def mean(self) -> Tensor:
        logits = self.logits
        small = logits.abs() < SERIES_BELOW
        far = torch.where(small, 1.0, logits)
        series = 0.5 + logits / 12 - logits**3 / 720 + logits**5 / 30240
        unit = torch.where(small, series, -1 / (-far).expm1() - 1 / far)
        return self.low + (self.high - self.low) * unit

    def sample(self) -> Tensor:
        size = self.logits.detach().abs().clamp(min=1e-3)  # nearer to 0 the draws are uniform
        above = (torch.rand_like(size) * size.expm1()).log1p() / size
        unit = torch.where(self.logits < 0, 1 - above, above)
        return self.low + (self.high - self.low) * unit

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        unit = (x - self.low) / (self.high - self.low)
        values = self.logits * (unit - 0.5) - self._log_constant - math.log(self.high - self.low)
        return sum_event(values, self.logits.dim() - 1, mask)

    @property
    def _log_constant(self) -> Tensor:
        """(B, *X) logarithm of the integral of exp(η (x - 1/2)) over 0 to 1, which is sinh(η / 2) / (η / 2)."""
        size = self.logits.abs()
        small = size < SERIES_BELOW
        far = torch.where(small, 1.0, size)
        series = size**2 / 24 - size**4 / 2880 + size**6 / 181440
        return torch.where(small, series, far / 2 + (-(-far).expm1()).log() - far.log())


@final
class ContinuousBernoulli(Observation):
    """The density on an interval that a cross-entropy of grey levels lacks (Loaiza-Ganem and Cunningham 2019).

    Logits are held within ± 20.

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
        data: what the data is: (…, K) values from 0 to 1; of a table, one category.

    Raises:
        ConfigurationError: the data is not between 0 and 1, is of images or points, or has other columns.
    """

    shown = "draw"

    def __init__(self, data: DataSpec | None = None) -> None:
        super().__init__()
        if bounds_of(data, "a categorical") != (0, 1) or (data is not None and not _may_be_one_hot(data)):
            raise ConfigurationError(
                "a categorical observation needs one-hot values along the last axis, from 0 to 1.",
                "use observation=auto",
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
    """

    log_mean: Tensor
    log_dispersion: Tensor
    zero_logits: Tensor | None
    offset: Tensor
    scale: Tensor

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
        # The terms are far larger than their sum, so they are added in float64 where the device has it.
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        counts = (self.offset + self.scale * x).round().clamp(min=0).to(wide)
        log_dispersion = self.log_dispersion.to(wide)
        theta = log_dispersion.exp()
        # log θ / (θ + μ) and log μ / (θ + μ), as logits of μ against θ.
        odds = self.log_mean.to(wide) - log_dispersion
        values = (
            (counts + theta).lgamma() - theta.lgamma() - (counts + 1).lgamma()
            + theta * F.logsigmoid(-odds) + counts * F.logsigmoid(odds)
        ).to(self.log_mean)  # fmt: skip
        if self.zero_logits is not None:
            further, rest = F.logsigmoid(self.zero_logits), F.logsigmoid(-self.zero_logits)
            values = torch.where(counts == 0, torch.logaddexp(further, rest + values), rest + values)
        return sum_event(values, self.log_mean.dim() - 1, mask)

    def _as_x(self, counts: Tensor) -> Tensor:
        return (counts - self.offset) / self.scale


@final
class NegativeBinomial(Observation):
    """Counts 0, 1, 2 … that vary more than those of a Poisson distribution, such as reads of genes or purchases.

    The generator gives a mean and a dispersion θ for each value; the variance is mean + mean² / θ. With
    ``zero_inflated`` it also gives the probability of a further zero (Lopez et al., Deep Generative Modeling for
    Single-cell Transcriptomics, 2018). Counts are the source's own values, whatever the scale of x. ``log_prob`` is
    of the nearest whole numbers, those below zero taken as zero.

    Args:
        data: what the data is, without bounds.
        zero_inflated: with further zeros.

    Raises:
        ConfigurationError: the data has an upper bound, which counts do not have.
    """

    shown = "draw"

    offset: Tensor
    scale: Tensor

    def __init__(self, data: DataSpec | None = None, *, zero_inflated: bool = False) -> None:
        super().__init__()
        if data is not None and data.range is not None:
            raise ConfigurationError(
                "a negative-binomial is for counts without an upper bound, and this data has bounds.",
                "read it as it is:  data.scale=none  or take  observation=auto",
            )
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
            self.offset.to(raw), self.scale.to(raw),
        )  # fmt: skip


def _may_be_one_hot(data: DataSpec) -> bool:
    if data.fields is not None:
        return [(field.kind, field.width) for field in data.fields] == [("category", data.shape[-1])]
    return data.modality not in ("image", "points")


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
