"""Priors of discrete choices, and of other priors side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn

from ganvae_core.builtin.option_checks import in_range, positive_number, positive_sizes
from ganvae_core.builtin.priors.continuous import PlacedPrior
from ganvae_core.distributions import LOG_2_PI
from ganvae_core.errors import ConfigurationError, name_of
from ganvae_core.interfaces import FittedPrior, LatentPrior, MixturePrior, Support


@final
class Categorical(PlacedPrior):
    """p(z) uniform over K classes, each of which is a one-hot code: the categorical code of Chen et al. 2016 (InfoGAN).

    ``log_prob`` is -log K for one-hot codes and -inf for all others.

    Args:
        latent_shape: (K,).

    Raises:
        ConfigurationError: the latent shape is not one positive whole number.
    """

    support: Support = "discrete"

    def __init__(self, latent_shape: Sequence[int]) -> None:
        super().__init__(latent_shape)
        if len(self.latent_shape) != 1:
            raise ConfigurationError(
                f"the latent shape of a categorical prior is its number of classes, not {list(latent_shape)}.",
                "for ten classes it is  [10]",
            )

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        (classes,) = self.latent_shape
        chosen = torch.randint(classes, (count, 1), device=self.placement.device)
        codes = torch.zeros(count, classes, **self.placed)
        return codes.scatter_(1, chosen, 1.0)

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, K) standard normal -> (B, K) draws: the class whose noise is largest."""
        return (noise == noise.amax(1, keepdim=True)).to(noise.dtype)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        one_hot = ((z == 0) | (z == 1)).all(1) & (z.sum(1) == 1)
        return z.new_full((len(z),), -math.log(z.shape[1])).where(one_hot, -math.inf)


@final
class Mixture(MixturePrior):
    """p(z) = 1/K sum over k of N(means[k], diag(scales[k]²)), whose means and scales are trained with the model.

    A draw is ``means[k] + scales[k] * noise`` for a k that is drawn uniformly, so that gradients reach the means and
    scales through codes as well as through ``log_prob``: in a GAN the generator's phase trains them (Gurumurthy et al.
    2017, DeLiGAN; Ben-Yosef and Weinshall 2018), in a VAE the KL divergence does. The scales begin at 1. The prior
    ``gaussian-mixture`` is fitted to an encoder's codes after training instead.

    Args:
        latent_shape: *Z.
        components: number of Gaussians, K.
        spread: standard deviation of the initial means, in units of the initial scale of each Gaussian.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    support: Support = "real"

    def __init__(self, latent_shape: Sequence[int], *, components: int = 10, spread: float = 1.0) -> None:
        super().__init__()
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        in_range(least=1, components=components)
        self.components = components
        shape = (components, math.prod(self.latent_shape))
        self.means = nn.Parameter(torch.randn(shape) * positive_number("spread", spread))  # (K, D)
        self.log_scales = nn.Parameter(torch.zeros(shape))  # (K, D)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        chosen = torch.randint(self.components, (count,), device=self.means.device)
        means, scales = self.means[chosen], self.log_scales[chosen].exp()  # (count, D)
        z = torch.addcmul(means, scales, torch.randn_like(means))
        return z.reshape(count, *self.latent_shape)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.joint_log_prob(z).logsumexp(1)

    def joint_log_prob(self, z: Tensor) -> Tensor:
        whitened = (z.flatten(1).unsqueeze(1) - self.means) * (-self.log_scales).exp()  # (B, K, D)
        densities = -0.5 * (whitened.square() + LOG_2_PI) - self.log_scales
        return densities.sum(2) - math.log(self.components)


@final
class Composite(LatentPrior):
    """Independent priors side by side: a code is the parts' codes, flattened and laid end to end.

    The latent space of InfoGAN (Chen et al. 2016) is one: noise, a categorical code and a few continuous ones. In a
    configuration each part says what shape it has:

        latent: {shape: [74]}
        prior:
          name: composite
          parts:
            - {name: normal, latent_shape: [62]}
            - {name: categorical, latent_shape: [10]}
            - {name: uniform, latent_shape: [2]}

    ``support`` is that of the parts where they share one, else mixed; spheres side by side are no sphere, so they
    are mixed. ``parts`` holds the priors, ``sizes`` the number of values of a code that belong to each, and
    ``has_meaning`` which of them have a meaning and which are noise.

    Args:
        latent_shape: (D,), the sum of the sizes.
        parts: priors, each with its own latent_shape, in the order in which their codes lie.
        meaning: for each part, whether it has a meaning (InfoGAN) or is noise, such as [false, true, true]; null:
            discrete and bounded parts have one.

    Raises:
        ConfigurationError: there is no part, one must be fitted after training, the sizes do not add up to D, or
            ``meaning`` has not one value for each part.
    """

    own_latent_shape: ClassVar[tuple[str, ...]] = ("parts",)
    support: Support

    def __init__(
        self,
        latent_shape: Sequence[int],
        *,
        parts: list[LatentPrior],
        meaning: tuple[bool, ...] | None = None,
    ) -> None:
        super().__init__()
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        if not parts:
            raise ConfigurationError(
                "a composite prior has no parts.", "for example:  parts=[{name: normal, latent_shape: [16]}]"
            )
        for part in parts:
            if isinstance(part, FittedPrior):
                raise ConfigurationError(
                    f"{name_of(part)} is fitted to whole codes after training, so it cannot be a part.",
                    "take another part, like  mixture, whose Gaussians are trained with the model",
                )
        self.parts = cast("Sequence[LatentPrior]", nn.ModuleList(parts))
        self.shapes = [_shape_of(part) for part in parts]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        if self.latent_shape != (sum(self.sizes),):
            total = f"{' + '.join(map(str, self.sizes))} = {sum(self.sizes)}"
            raise ConfigurationError(
                f"the parts of a composite prior have {total} values, and the latent shape is {list(latent_shape)}.",
                f"set it to their sum:  latent.shape=[{sum(self.sizes)}]",
            )
        if meaning is not None and len(meaning) != len(parts):
            raise ConfigurationError(
                f"meaning: {len(meaning)} values are given for the {len(parts)} parts of a composite prior.",
                "say true or false for each part:  prior.meaning=[false, true, true]",
            )
        self.has_meaning = meaning or tuple(part.support in ("discrete", "bounded") for part in parts)
        supports: set[Support] = {part.support for part in parts}
        shared = supports.pop() if len(supports) == 1 else "mixed"
        self.support = "mixed" if shared == "sphere" and len(parts) > 1 else shared

    def split(self, z: Tensor) -> list[Tensor]:
        """(B, D) -> the codes of each part, (B, size)."""
        return list(torch.split(z, self.sizes, dim=1))

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        return torch.cat([part.sample(count, condition).flatten(1) for part in self.parts], dim=1)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        total = z.new_zeros(len(z))
        for part, shape, code in zip(self.parts, self.shapes, self.split(z), strict=True):
            total = total + part.log_prob(code.reshape(-1, *shape), condition)
        return total

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, D) standard normal -> (B, D) draws, where each part is made of noise.

        Raises:
            ConfigurationError: a part is not.
        """
        codes: list[Tensor] = []
        for part, shape, given in zip(self.parts, self.shapes, self.split(noise), strict=True):
            make = getattr(part, "from_noise", None)
            if make is None:
                raise ConfigurationError(f"the part {name_of(part)} of the prior is not a function of noise.")
            codes.append(make(given.reshape(-1, *shape), condition).flatten(1))
        return torch.cat(codes, dim=1)


def _shape_of(part: LatentPrior) -> tuple[int, ...]:
    """The latent shape of a prior: its attribute, else that of a draw."""
    stated = getattr(part, "latent_shape", None)
    if stated is not None:
        return tuple(stated)
    with torch.random.fork_rng(devices=[]):  # what is drawn later does not depend on this
        return tuple(part.sample(1).shape[1:])
