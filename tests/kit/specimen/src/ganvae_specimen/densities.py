"""A prior and an observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core import ConfigurationError, DataSpec, LatentPrior, Observation, ObservedData, sum_event


@final
class Logistic(LatentPrior):
    """p(z) = exp(-z) / (1 + exp(-z))² in every coordinate."""

    support: ClassVar = "real"
    placement: Tensor

    def __init__(self, latent_shape: Sequence[int]) -> None:
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        self.register_buffer("placement", torch.empty(0), persistent=False)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        shape = (count, *self.latent_shape)
        unit = torch.rand(shape, dtype=self.placement.dtype, device=self.placement.device)
        return unit.clamp(1e-6, 1 - 1e-6).logit()

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        flat = z.flatten(1)
        return (-flat - 2 * F.softplus(-flat)).sum(1)


@final
@dataclass(frozen=True, eq=False)
class LaplaceData(ObservedData):
    """Laplace distributions around location (B, *X), of one scale ()."""

    location: Tensor
    log_scale: Tensor

    @property
    def mean(self) -> Tensor:
        return self.location

    def sample(self) -> Tensor:
        unit = torch.rand_like(self.location) - 0.5
        noise = -unit.sign() * torch.log1p(-2 * unit.abs().clamp(max=0.4999999))
        return self.location + self.log_scale.exp() * noise

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        distance = (x - self.location).abs() * (-self.log_scale).exp()
        return sum_event(-distance - self.log_scale - math.log(2), self.location.dim() - 1, mask)


@final
class Laplace(Observation):
    """A Laplace distribution around the mean, for data without bounds."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        if data.range is not None:
            raise ConfigurationError("laplace is for data without bounds.", "take  observation=bernoulli")
        self.log_scale = nn.Parameter(torch.zeros(()))

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return data.shape

    def forward(self, raw: Tensor) -> LaplaceData:
        return LaplaceData(raw, self.log_scale)
