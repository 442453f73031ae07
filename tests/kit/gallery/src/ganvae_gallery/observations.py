"""Observations with raw shapes of their own."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from ganvae_core import ConfigurationError, Observation, ObservedData, sum_event

LEVELS = 16


@dataclass(frozen=True, eq=False)
class LevelsData(ObservedData):
    """A discretised logistic distribution over LEVELS values from low to high, with location and log_scale (B, *X)."""

    location: torch.Tensor
    log_scale: torch.Tensor
    low: float
    high: float

    def _edges(self, x):
        step = (self.high - self.low) / (LEVELS - 1)
        scale = (-self.log_scale).exp()
        upper = torch.sigmoid((x + step / 2 - self.location) * scale)
        lower = torch.sigmoid((x - step / 2 - self.location) * scale)
        upper = torch.where(x > self.high - step / 2, torch.ones_like(upper), upper)
        return torch.where(x < self.low + step / 2, torch.zeros_like(lower), lower), upper

    def _probabilities(self):
        levels = torch.linspace(
            self.low, self.high, LEVELS, dtype=self.location.dtype, device=self.location.device
        )
        each = levels.reshape(-1, *[1] * self.location.dim()).expand(-1, *self.location.shape)
        lower, upper = self._edges(each)
        return levels, upper - lower

    @property
    def mean(self):
        levels, shares = self._probabilities()
        value = (levels.reshape(-1, *[1] * self.location.dim()) * shares).sum(0)
        return value.clamp(self.low, self.high)

    def sample(self):
        levels, shares = self._probabilities()
        chosen = torch.multinomial(shares.flatten(1).T.clamp(min=0), 1).squeeze(1)
        return levels[chosen].reshape(self.location.shape)

    def log_prob(self, x, mask=None):
        lower, upper = self._edges(x)
        return sum_event((upper - lower).clamp(min=1e-12).log(), self.location.dim() - 1, mask)


class Levels(Observation):
    """Grey levels with a probability each: raw numbers are a location and a scale for every value."""

    def __init__(self, data):
        super().__init__()
        if data.range is None:
            raise ConfigurationError("levels are for data with bounds.")
        self.low, self.high = data.range

    def raw_shape(self, data):
        return (2 * data.shape[0], *data.shape[1:])

    def forward(self, raw):
        location, log_scale = raw.chunk(2, dim=1)
        width = self.high - self.low
        return LevelsData(
            location.sigmoid() * width + self.low,
            log_scale.tanh() + math.log(0.1 * width),
            self.low,
            self.high,
        )


@dataclass(frozen=True, eq=False)
class TwoNumbersData(ObservedData):
    """N(location, exp(log_scale)²), each value with a scale of its own."""

    location: torch.Tensor
    log_scale: torch.Tensor

    @property
    def mean(self):
        return self.location

    def sample(self):
        return torch.normal(self.location, self.log_scale.exp())

    def log_prob(self, x, mask=None):
        z = (x - self.location) * (-self.log_scale).exp()
        terms = -0.5 * z.square() - self.log_scale - 0.5 * math.log(2 * math.pi)
        return sum_event(terms, self.location.dim() - 1, mask)


class TwoNumbers(Observation):
    """A mean and a scale for every value."""

    def __init__(self, data):
        super().__init__()
        if data.range is not None:
            raise ConfigurationError("two numbers are for data without bounds.")
        self.offset = nn.Parameter(torch.zeros(()))

    def raw_shape(self, data):
        return (2, *data.shape)

    def forward(self, raw):
        return TwoNumbersData(raw[:, 0], raw[:, 1].tanh() + self.offset)


@dataclass(frozen=True, eq=False)
class BetweenData(ObservedData):
    """Beta distributions between low and high."""

    first: torch.Tensor
    second: torch.Tensor
    low: float
    width: float

    @property
    def mean(self):
        return self.low + self.width * self.first / (self.first + self.second)

    def sample(self):
        return self.low + self.width * torch.distributions.Beta(self.first, self.second).sample()

    def log_prob(self, x, mask=None):
        unit = ((x - self.low) / self.width).clamp(1e-6, 1 - 1e-6)
        each = torch.distributions.Beta(self.first, self.second).log_prob(unit)
        return sum_event(each - math.log(self.width), self.first.dim() - 1, mask)


class Between(Observation):
    """A Beta distribution for every value, whose density has no atoms at the bounds."""

    def __init__(self, data):
        super().__init__()
        if data.range is None:
            raise ConfigurationError("between is for data with bounds.")
        self.low, self.width = data.range[0], data.range[1] - data.range[0]

    def raw_shape(self, data):
        return (2, *data.shape)

    def forward(self, raw):
        first, second = (nn.functional.softplus(raw) + 1).unbind(1)
        return BetweenData(first, second, self.low, self.width)
