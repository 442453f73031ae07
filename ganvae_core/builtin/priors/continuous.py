"""Continuous priors without parameters. Those made of discrete choices or of other priors are in ``codes.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict, final

import torch
from torch import Tensor

from ganvae_core.builtin.option_checks import positive_number, positive_sizes
from ganvae_core.distributions import LOG_2_PI, DiagonalNormal, register_kl, sum_event
from ganvae_core.interfaces import LatentPrior, Normals, NormalsPrior, Support


class Placement(TypedDict):
    """Where and in which type draws are made."""

    dtype: torch.dtype
    device: torch.device


class PlacedPrior(LatentPrior):
    """A prior without parameters, which draws where the module lies and in its type all the same.

    Args:
        latent_shape: *Z.

    Raises:
        ConfigurationError: the latent shape holds something else than positive whole numbers.
    """

    placement: Tensor

    def __init__(self, latent_shape: Sequence[int]) -> None:
        super().__init__()
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        # Empty: it moves with the module, and is not stored.
        self.register_buffer("placement", torch.empty(0), persistent=False)

    @property
    def placed(self) -> Placement:
        """The type and device of draws, for torch's factory functions."""
        return {"dtype": self.placement.dtype, "device": self.placement.device}


@final
class StandardNormal(PlacedPrior, NormalsPrior):
    """p(z) = N(0, I), the prior of Kingma and Welling 2013.

    Args:
        latent_shape: *Z.

    Raises:
        ConfigurationError: the latent shape holds something else than positive whole numbers.
    """

    support: Support = "real"

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        return torch.randn((count, *self.latent_shape), **self.placed)

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) standard normal -> (B, *Z) draws: the noise itself."""
        return noise

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        z = z.flatten(1)
        return -0.5 * (z.square().sum(1) + z.shape[1] * LOG_2_PI)

    def normals(self) -> Normals:
        size = math.prod(self.latent_shape)
        unit = torch.eye(size, **self.placed)[None]
        return Normals(unit.new_ones(1), unit.new_zeros(1, size), unit)


@final
class Uniform(PlacedPrior):
    """p(z) uniform on [-1, 1] in every coordinate, the prior of Radford et al. 2015.

    ``log_prob`` is -inf outside, where the density is zero.

    Args:
        latent_shape: *Z.

    Raises:
        ConfigurationError: the latent shape holds something else than positive whole numbers.
    """

    support: Support = "bounded"

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        unit = torch.rand((count, *self.latent_shape), **self.placed)
        return unit * 2 - 1

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) standard normal -> (B, *Z) draws: 2 Φ(noise) - 1."""
        return torch.erf(noise / math.sqrt(2))

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        z = z.flatten(1)
        inside = (z.abs() <= 1).all(1)
        return z.new_full((len(z),), -z.shape[1] * math.log(2)).where(inside, -math.inf)


@final
class TruncatedNormal(PlacedPrior):
    """p(z) = N(0, 1) in every coordinate, given that it lies within [-bound, bound].

    Codes that are far out are what a generator has practised least; Brock et al. 2019 (the truncation trick of BigGAN)
    draw none. Sampled through the inverse of the distribution function,

        z = sqrt(2) erfinv(u erf(bound / sqrt(2))),  u uniform on [-1, 1].

    ``log_prob`` is -inf outside, where the density is zero.

    Args:
        latent_shape: *Z.
        bound: largest absolute value of a coordinate, in standard deviations before the truncation.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    support: Support = "bounded"

    def __init__(self, latent_shape: Sequence[int], *, bound: float = 2.0) -> None:
        super().__init__(latent_shape)
        self.bound = positive_number("bound", bound)
        self.mass = math.erf(bound / math.sqrt(2))  # of a normal distribution within the bound

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        return self._from_unit(torch.rand((count, *self.latent_shape), **self.placed) * 2 - 1)

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) standard normal -> (B, *Z) draws, through u = 2 Φ(noise) - 1."""
        return self._from_unit(torch.erf(noise / math.sqrt(2)))

    def _from_unit(self, u: Tensor) -> Tensor:
        # The mass of a wide bound is 1 once it is rounded, and erfinv(1) is infinite.
        limit = 1 - torch.finfo(u.dtype).eps
        z = math.sqrt(2) * torch.erfinv((u * self.mass).clamp(-limit, limit))
        return z.clamp(-self.bound, self.bound)  # rounding may have crossed it

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        z = z.flatten(1)
        inside = (z.abs() <= self.bound).all(1)
        density = -0.5 * z.square().sum(1) - z.shape[1] * (0.5 * LOG_2_PI + math.log(self.mass))
        return density.where(inside, -math.inf)


@final
class Hypersphere(PlacedPrior):
    """p(z) uniform on a sphere around the origin, in the space of flattened codes.

    All codes are equally long, as those of a normal distribution nearly are in many dimensions (Karras et al. 2018 for
    GANs, Davidson et al. 2018 for VAEs). ``log_prob`` is with respect to area on the sphere: minus the logarithm of the
    sphere's area, and -inf off it. A code is off it when its norm differs from the radius by more than rounding
    could do, the square root of the type's precision (0.0003 of the radius in fp32).

    Args:
        latent_shape: *Z.
        radius: of the sphere.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    support: Support = "sphere"

    def __init__(self, latent_shape: Sequence[int], *, radius: float = 1.0) -> None:
        super().__init__(latent_shape)
        self.radius = positive_number("radius", radius)

    @property
    def log_area(self) -> float:
        """log(2 pi^(d/2) radius^(d-1) / Gamma(d/2)) for d dimensions; two points for d = 1."""
        size = math.prod(self.latent_shape)
        unit = math.log(2) + 0.5 * size * math.log(math.pi) - math.lgamma(0.5 * size)
        return unit + (size - 1) * math.log(self.radius)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        z = torch.randn((count, math.prod(self.latent_shape)), **self.placed)
        # In one dimension a draw is exactly 0 once in some twenty million times, and has no direction: it gets one.
        z = z.where(z.any(1, keepdim=True), 1.0)
        z = self.radius * z / z.norm(dim=1, keepdim=True)
        return z.reshape(count, *self.latent_shape)

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) standard normal -> (B, *Z) draws: the direction of the noise."""
        flat = noise.flatten(1)
        return (self.radius * flat / flat.norm(dim=1, keepdim=True)).reshape(noise.shape)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        norm = z.flatten(1).norm(dim=1)
        tolerance = math.sqrt(torch.finfo(z.dtype).eps) * self.radius
        on_it = (norm - self.radius).abs() <= tolerance
        return torch.full_like(norm, -self.log_area).where(on_it, -math.inf)


@register_kl(DiagonalNormal, StandardNormal)
def _normal_to_standard_normal(
    posterior: DiagonalNormal, prior: StandardNormal, condition: Tensor | None
) -> Tensor:
    """0.5 sum(mean² + variance - 1 - log variance) (Kingma and Welling 2013, appendix B)."""
    log_variance = posterior.log_variance
    terms = posterior.location.square() + log_variance.exp() - log_variance - 1
    return 0.5 * sum_event(terms, terms.dim() - 1)
