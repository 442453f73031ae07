"""Bernoulli and normal observations, points, and the choice among them that follows from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core.builtin.fields import Fields, chosen_fields, layout_of
from ganvae_core.builtin.observations.further import bounds_of
from ganvae_core.builtin.option_checks import one_of, positive_number
from ganvae_core.distributions import LOG_2_PI, sum_event
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import NormalData, Observation, ObservedData
from ganvae_core.types import DataSpec

# As in sigma-VAE: a scale below exp(-6) only measures how exactly constant values are reproduced.
LOWEST_LOG_SCALE = -6.0


@final
@dataclass(frozen=True, eq=False)
class BernoulliData(ObservedData):
    """Independent draws of ``low`` or ``high``, with logits (B, *X)."""

    logits: Tensor
    low: float
    high: float

    @property
    def mean(self) -> Tensor:
        return _from_unit(self.logits.sigmoid(), self.low, self.high)

    def sample(self) -> Tensor:
        return _from_unit(self.logits.sigmoid().bernoulli(), self.low, self.high)

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        target = x if (self.low, self.high) == (0, 1) else (x - self.low) / (self.high - self.low)
        logits = self.logits if x.dim() == self.logits.dim() else self.logits.expand_as(x)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return -sum_event(cross_entropy, self.logits.dim() - 1, mask)


@final
class Bernoulli(Observation):
    """Each value is the highest of the range with probability sigmoid(raw), else the lowest.

    As in Kingma and Welling 2013. For values in between ``log_prob`` is the negative cross-entropy, as is
    usual for grey levels, and then no normalised density.

    Args:
        data: what the data is; values from 0 to 1 by default.

    Raises:
        ConfigurationError: the data has no bounds.
    """

    def __init__(self, data: DataSpec | None = None) -> None:
        super().__init__()
        refuse_choices(data)
        self.low, self.high = bounds_of(data, "a Bernoulli")

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return data.shape

    def forward(self, raw: Tensor) -> BernoulliData:
        return BernoulliData(raw, self.low, self.high)


@final
@dataclass(frozen=True, eq=False)
class GaussianData(NormalData):
    """N(location, exp(log_scale)²), coordinate by coordinate.

    Args:
        location: (B, *X).
        log_scale: () for one scale, (*X) or (B, *X).
        bounds: of the data, where it has any.
    """

    location: Tensor
    log_scale: Tensor
    bounds: tuple[float, float] | None

    @property
    def mean(self) -> Tensor:
        return self.location

    def sample(self) -> Tensor:
        draw = torch.addcmul(self.location, torch.randn_like(self.location), self.log_scale.exp())
        return draw if self.bounds is None else draw.clamp(*self.bounds)

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        event = self.location.dim() - 1
        if self.log_scale.dim():
            whitened = (x - self.location) * (-self.log_scale).exp()
            return sum_event(-0.5 * (whitened.square() + LOG_2_PI) - self.log_scale, event, mask)
        squared_distance = sum_event((x - self.location).square(), event, mask)
        values = math.prod(self.location.shape[1:]) if mask is None else sum_event(mask.to(x.dtype), event)
        return (
            -0.5 * squared_distance * (-2 * self.log_scale).exp()
            - values * self.log_scale
            - 0.5 * values * LOG_2_PI
        )


@final
class Gaussian(Observation):
    """A normal distribution around the mean, with one scale for all values or one for each, in units of x.

    The mean is raw for unbounded data. For bounded data it is sigmoid(raw) mapped to the range, as in
    Kingma and Welling 2013, so that the mean is within it. ``sample`` clips its draws to the range, and the
    density ignores the bounds.

    Args:
        data: what the data is; unbounded by default.
        scale: standard deviation; where it is learned, what it starts from.
        learn_scale: learn the scale too, never below exp(-6) (sigma-VAE, Rybkin et al. 2021).
        scales: shared by all values, per-dimension (learned, one for each value of x), or predicted by the generator
            for each value of each row, as Kingma and Welling did.

    Raises:
        ConfigurationError: the scale is not positive, or one for each value of data that is not known.
    """

    log_scale: Tensor

    def __init__(
        self,
        data: DataSpec | None = None,
        *,
        scale: float = 1.0,
        learn_scale: bool = False,
        scales: Literal["shared", "per-dimension", "predicted"] = "shared",
    ) -> None:
        super().__init__()
        positive_number("scale", scale)
        refuse_choices(data)
        self.bounds = None if data is None else data.range
        one_of("scales", scales, ("shared", "per-dimension", "predicted"))
        if scales == "per-dimension" and data is None:
            raise ConfigurationError(
                "a scale for each dimension needs the data's specification.", "Gaussian(data)"
            )
        self.predicts = scales == "predicted"
        self.learn_scale = learn_scale = learn_scale or scales == "per-dimension"
        if self.predicts or not learn_scale:
            self.register_buffer("log_scale", torch.tensor(math.log(scale)), persistent=False)
            return
        if scale <= math.exp(LOWEST_LOG_SCALE):
            raise ConfigurationError(f"a learned scale must start above {math.exp(LOWEST_LOG_SCALE):.2g}.")
        # forward() gives LOWEST + softplus(log_scale - LOWEST): this is where it equals log(scale).
        excess = math.log(scale) - LOWEST_LOG_SCALE
        shape = data.shape if data is not None and scales == "per-dimension" else ()
        self.log_scale = nn.Parameter(torch.full(shape, LOWEST_LOG_SCALE + math.log(math.expm1(excess))))

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return (2 * data.shape[0], *data.shape[1:]) if self.predicts else data.shape

    def forward(self, raw: Tensor) -> GaussianData:
        log_scale = self.log_scale
        if self.predicts:
            raw, further = raw.chunk(2, 1)
            log_scale = LOWEST_LOG_SCALE + F.softplus(further + log_scale - LOWEST_LOG_SCALE)
        elif self.learn_scale:
            log_scale = LOWEST_LOG_SCALE + F.softplus(log_scale - LOWEST_LOG_SCALE)
        location = raw if self.bounds is None else _from_unit(raw.sigmoid(), *self.bounds)
        return GaussianData(location, log_scale, self.bounds)


@final
@dataclass(frozen=True, eq=False)
class PointData(ObservedData):
    """All mass at one value (B, *X)."""

    location: Tensor

    @property
    def mean(self) -> Tensor:
        return self.location

    def sample(self) -> Tensor:
        return self.location

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        raise ConfigurationError(
            "a point observation has no density, so there is no likelihood.",
            "use observation=bernoulli or observation=gaussian",
        )


@final
class Point(Observation):
    """One value and no likelihood, for GANs: tanh(raw) mapped to the data's range (Radford et al. 2015).

    Categories of a table, spikes and missing cells are drawn, one-hot, and have the gradient of a softmax
    (straight-through Gumbel softmax; Jang et al. 2017, Maddison et al. 2017), so that a critic is shown rows like those
    of the data.

    Args:
        data: what the data is; unbounded by default, and then the value is raw.
        temperature: of that softmax.
    """

    has_likelihood = False

    def __init__(self, data: DataSpec | None = None, *, temperature: float = 0.5) -> None:
        super().__init__()
        positive_number("temperature", temperature)
        self.temperature = temperature
        self.bounds = None if data is None else data.range
        self.layout = layout_of(data) if data is not None and has_choices(data) else None

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return data.shape

    def forward(self, raw: Tensor) -> PointData:
        if self.layout is not None:
            return PointData(chosen_fields(raw, self.layout, self.temperature))
        if self.bounds is None:
            return PointData(raw)
        low, high = self.bounds
        value = raw.tanh()
        if self.bounds != (-1, 1):
            value = value * ((high - low) / 2) + (high + low) / 2
        return PointData(value)


def auto(data: DataSpec) -> Observation:
    """What suits the data: ``Fields`` for a table, ``Bernoulli`` where it has bounds, else ``Gaussian``.

    All scales are learned.

    Args:
        data: what the data is.
    """
    if data.fields:
        return Fields(data)
    return Gaussian(data, learn_scale=True) if data.range is None else Bernoulli(data)


def has_choices(data: DataSpec) -> bool:
    """Whether a column of a table is a category, or has spikes or missing cells."""
    return any(field.choices for field in data.fields or ())


def refuse_choices(data: DataSpec | None) -> None:
    """Refuse a table with a column that is not a plain number, for an observation of plain numbers.

    Raises:
        ConfigurationError: naming the column.
    """
    if data is None or not has_choices(data):
        return
    name = next(field.name for field in data.fields or () if field.choices)
    raise ConfigurationError(
        f"observation: column '{name}' is not a plain number: it has categories, frequent values or missing cells.",
        "use observation=fields (or auto); for a GAN observation=point",
    )


def _from_unit(values: Tensor, low: float, high: float) -> Tensor:
    """Values in [0, 1] mapped to [low, high]."""
    return values if (low, high) == (0, 1) else values * (high - low) + low
