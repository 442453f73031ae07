"""Observations of evenly spaced levels, such as those of 8-bit images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvae_core.builtin.observations.further import bounds_of
from ganvae_core.builtin.option_checks import in_range
from ganvae_core.distributions import sum_event
from ganvae_core.interfaces import Observation, ObservedData
from ganvae_core.types import DataSpec

LOWEST_LOG_SCALE = -7.0


@final
@dataclass(frozen=True, eq=False)
class LogisticLevels(ObservedData):
    """A mixture of logistic distributions over [-1, 1], each value rounded to one of a number of levels.

    C channels of P pixels; K components, which the channels of a pixel share.

    Args:
        log_weights: (B, K, P) normalised.
        means: (B, K, C, P).
        log_scales: (B, K, C, P).
        coefficients: (B, K, C, C, P) by which a channel's mean follows the channels before it, or None.
        levels: number of levels.
        shape: *X.
        bounds: of x.
    """

    log_weights: Tensor
    means: Tensor
    log_scales: Tensor
    coefficients: Tensor | None
    levels: int
    shape: tuple[int, ...]
    bounds: tuple[float, float]

    @property
    def mean(self) -> Tensor:
        """(B, *X): where channels follow each other, with their means in the place of their values."""
        channels: list[Tensor] = []
        for channel in range(self.means.shape[2]):
            channels.append(self._location(channel, channels).clamp(-1, 1))
        each = torch.stack(channels, 2)  # (B, K, C, P)
        return self._as_x((self.log_weights.exp().unsqueeze(2) * each).sum(1))

    def sample(self) -> Tensor:
        batch, components, channels, pixels = self.means.shape
        chosen = torch.multinomial(self.log_weights.exp().transpose(1, 2).reshape(-1, components), 1)
        chosen = chosen.reshape(batch, 1, pixels)
        drawn: list[Tensor] = []
        for channel in range(channels):
            location = self._location(channel, [one.unsqueeze(1) for one in drawn]).gather(1, chosen)[:, 0]
            scale = self.log_scales[:, :, channel].gather(1, chosen)[:, 0].exp()
            unit = torch.rand_like(location).clamp(1e-5, 1 - 1e-5)
            value = (location + scale * (unit.log() - (1 - unit).log())).clamp(-1, 1)
            steps = (self.levels - 1) / 2
            drawn.append(((value + 1) * steps).round() / steps - 1)
        return self._as_x(torch.stack(drawn, 1))

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        low, high = self.bounds
        (_, _, channels, pixels), draws = self.means.shape, x.shape[: x.dim() - len(self.shape)]
        y = (2 * (x - low) / (high - low) - 1).reshape(*draws, 1, channels, pixels)
        each = [self._location(channel, list(y[..., :channel, :].unbind(-2))) for channel in range(channels)]
        location = torch.stack([one.expand(*draws, -1, pixels) for one in each], -2)  # (*S, B, K, C, P)
        half, sharpness = 1 / (self.levels - 1), (-self.log_scales).exp()
        above, below = (y - location + half) * sharpness, (y - location - half) * sharpness
        # log(σ(above) - σ(below)), which keeps its digits in both tails.
        inside = (
            F.logsigmoid(above) + F.logsigmoid(-below) + (-(-(above - below)).expm1()).clamp(min=1e-12).log()
        )
        values = torch.where(y < -1 + half, F.logsigmoid(above), inside)
        values = torch.where(y > 1 - half, F.logsigmoid(-below), values)  # (*S, B, K, C, P)
        if mask is not None:
            values = values.where(mask.reshape(-1, 1, channels, pixels), 0)
        return sum_event((values.sum(-2) + self.log_weights).logsumexp(-2), 1)

    def _location(self, channel: int, before: list[Tensor]) -> Tensor:
        """(…, K, P) means of a channel, given the values (…, 1 or K, P) of those before it."""
        location = self.means[:, :, channel]
        if self.coefficients is not None:
            for other, value in enumerate(before):
                location = location + self.coefficients[:, :, channel, other] * value
        return location

    def _as_x(self, y: Tensor) -> Tensor:
        """(B, C, P) in [-1, 1] -> (B, *X)."""
        low, high = self.bounds
        return (low + (high - low) * (y + 1) / 2).clamp(low, high).reshape(y.shape[0], *self.shape)


@final
class DiscretisedLogistic(Observation):
    """Levels of a bounded value, with the probabilities of a logistic distribution or a mixture of them.

    A level has the mass between the middles to its neighbours, the lowest and highest level all that lies beyond
    (Kingma et al. 2016). With several components it is the head of PixelCNN++ (Salimans et al. 2017): the channels
    of a pixel share the component, and the mean of each follows the channels before it. ``log_prob`` is the
    logarithm of a probability in nats: divided by log 2 and the number of values, it is minus the bits per dimension.

    Args:
        data: what the data is, with bounds.
        levels: number of levels; 256 for 8-bit images.
        components: number of logistic distributions.

    Raises:
        ConfigurationError: the data has no bounds, or an option is out of its range.
    """

    has_levels = True

    def __init__(self, data: DataSpec, *, levels: int = 256, components: int = 1) -> None:
        super().__init__()
        self.bounds = bounds_of(data, "a discretised")
        in_range(least=2, hint="8-bit images have 256", levels=levels)
        in_range(least=1, components=components)
        self.components = components
        self.levels, self.shape = levels, data.shape
        self.channels = data.shape[0] if data.modality == "image" and data.shape[0] <= 4 else 1
        self.couples = components > 1 and self.channels > 1
        self.pairs = self.channels * (self.channels - 1) // 2 if self.couples else 0
        self.mixed = int(components > 1)  # a single component has no weight

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        numbers = self.components * (self.mixed + 2 * self.channels + self.pairs)
        return (numbers * data.shape[0] // self.channels, *data.shape[1:])

    def forward(self, raw: Tensor) -> LogisticLevels:
        components, channels = self.components, self.channels
        numbers = self.mixed + 2 * channels + self.pairs
        parts = raw.reshape(raw.shape[0], components, numbers, -1)
        weights, means, log_scales, pairs = parts.split([self.mixed, channels, channels, self.pairs], 2)
        coefficients = None
        if self.couples:
            coefficients = raw.new_zeros(raw.shape[0], components, channels, channels, parts.shape[-1])
            rows, columns = torch.tril_indices(channels, channels, -1)
            coefficients[:, :, rows, columns] = pairs.tanh()
        log_weights = weights[:, :, 0].log_softmax(1) if self.mixed else parts[:, :, 0] * 0
        # Softly above the lowest scale, below which a level has all the mass.
        log_scales = LOWEST_LOG_SCALE + F.softplus(log_scales - 2.0 - LOWEST_LOG_SCALE)
        return LogisticLevels(
            log_weights, means, log_scales, coefficients, self.levels, self.shape, self.bounds
        )


def bits_per_dimension(log_prob: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Nats of an event as bits a value: -log_prob / (D log 2)."""
    return -log_prob / (math.prod(shape) * math.log(2))
