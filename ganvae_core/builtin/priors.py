"""Priors without parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from ganvae_core.builtin.checks import positive_sizes
from ganvae_core.distributions import LOG_2_PI, DiagonalNormal, register_kl
from ganvae_core.interfaces import LatentPrior, Support


@final
class StandardNormal(LatentPrior):
    """p(z) = N(0, I), the prior of Kingma and Welling 2013.

    Args:
        latent_shape: *Z.

    Raises:
        ConfigurationError: the latent shape holds something else than positive whole numbers.
    """

    support: ClassVar[Support] = "real"
    placement: Tensor

    def __init__(self, latent_shape: Sequence[int]) -> None:
        super().__init__()
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        # Empty: it moves with the module, so that draws are made where it lies and in its type; not stored.
        self.register_buffer("placement", torch.empty(0), persistent=False)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        return torch.randn(
            (count, *self.latent_shape), dtype=self.placement.dtype, device=self.placement.device
        )

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        z = z.flatten(1)
        return -0.5 * (z.square().sum(1) + z.shape[1] * LOG_2_PI)


@final
class Uniform(LatentPrior):
    """p(z) uniform on [-1, 1] in every coordinate, the prior of Radford et al. 2015.

    ``log_prob`` is -inf outside, where the density is zero.

    Args:
        latent_shape: *Z.

    Raises:
        ConfigurationError: the latent shape holds something else than positive whole numbers.
    """

    support: ClassVar[Support] = "bounded"
    placement: Tensor

    def __init__(self, latent_shape: Sequence[int]) -> None:
        super().__init__()
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        self.register_buffer("placement", torch.empty(0), persistent=False)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        unit = torch.rand(
            (count, *self.latent_shape), dtype=self.placement.dtype, device=self.placement.device
        )
        return unit * 2 - 1

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        z = z.flatten(1)
        inside = (z.abs() <= 1).all(1)
        return torch.where(inside, -z.shape[1] * math.log(2), -math.inf).to(z.dtype)


@register_kl(DiagonalNormal, StandardNormal)
def _normal_to_standard_normal(
    posterior: DiagonalNormal, prior: StandardNormal, condition: Tensor | None
) -> Tensor:
    """0.5 sum(mean² + variance - 1 - log variance) (Kingma and Welling 2013, appendix B)."""
    log_variance = posterior.log_variance
    terms = posterior.location.square() + log_variance.exp() - log_variance - 1
    return 0.5 * terms.flatten(1).sum(1)
