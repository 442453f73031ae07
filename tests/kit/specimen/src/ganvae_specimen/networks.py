"""Networks of one or two layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core import Critic, DataSpec, DiagonalNormal, Encoder, Generator, check_condition


def joined(values: Tensor, condition: Tensor | None) -> Tensor:
    """(B, …) and (B, *K)? -> (B, all of it)."""
    flat = values.flatten(1)
    return flat if condition is None else torch.cat([flat, condition.flatten(1).to(flat.dtype)], dim=1)


@final
class Plain(Generator):
    """Two layers with one matrix between equally wide ones, used twice.

    Args:
        width: of the hidden layers.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        raw_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        width: int = 12,
    ) -> None:
        super().__init__()
        self.raw_shape = tuple(raw_shape)
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.first = nn.Linear(math.prod(latent_shape) + math.prod(condition_shape or (0,)), width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)
        self.third.weight = self.second.weight
        self.head = nn.Linear(width, math.prod(raw_shape))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        check_condition(condition, self.condition_shape)
        hidden = torch.tanh(self.first(joined(z, condition)))
        hidden = torch.tanh(self.third(torch.tanh(self.second(hidden))))
        return self.head(hidden).reshape(-1, *self.raw_shape)


@final
class PlainEncoder(Encoder):
    """One layer to a Gaussian posterior."""

    def __init__(
        self, data: DataSpec, latent_shape: Sequence[int], condition_shape: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        size = math.prod(data.shape) + math.prod(condition_shape or (0,))
        self.layer = nn.Linear(size, 2 * math.prod(latent_shape))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal:
        location, log_variance = self.layer(joined(x, condition)).chunk(2, dim=1)
        shape = (-1, *self.latent_shape)
        return DiagonalNormal(location.reshape(shape), log_variance.reshape(shape))


@final
class PlainCritic(Critic):
    """Two layers to a logit, the first of them without a bias where data is centred.

    Args:
        width: of the features.
    """

    def __init__(
        self, data: DataSpec, condition_shape: Sequence[int] | None = None, *, width: int = 12
    ) -> None:
        super().__init__()
        self.feature_size = width
        self.layer = nn.Linear(math.prod(data.shape) + math.prod(condition_shape or (0,)), width)
        self.head = nn.Linear(width, 1)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return nn.functional.leaky_relu(self.layer(joined(x, condition)), 0.2)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head(self.features(x, condition)).squeeze(1)
