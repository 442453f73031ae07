"""Priors of every support."""

import math

import torch
from torch import nn
from torch.distributions import VonMises

from ganvae_core import FittedPrior, LatentPrior, NotFittedError


class Vamp(LatentPrior):
    """A mixture of the encoder's posteriors at learned inputs (Tomczak and Welling 2018).

    Args:
        inputs: how many.
    """

    support = "real"

    def __init__(self, data, encoder, condition_shape=None, *, inputs: int = 3):
        super().__init__()
        self.encoder = (encoder,)  # not registered: the model stores it already
        self.inputs = nn.Parameter(torch.rand(inputs, *data.shape))
        self.condition_shape = condition_shape

    def _posterior(self, condition):
        condition = (
            None
            if self.condition_shape is None
            else self.inputs.new_zeros(len(self.inputs), *self.condition_shape)
        )
        return self.encoder[0](self.inputs, condition)

    def sample(self, count, condition=None):
        chosen = torch.randint(len(self.inputs), (count,), device=self.inputs.device)
        drawn = self._posterior(condition).rsample((count,))
        return drawn[torch.arange(count, device=chosen.device), chosen]

    def log_prob(self, z, condition=None):
        each = self._posterior(condition).log_prob(z.unsqueeze(1))  # (B, K)
        return each.logsumexp(1) - math.log(len(self.inputs))


class Ring(LatentPrior):
    """Uniform on a ring in the plane."""

    support = "bounded"

    def __init__(self, latent_shape):
        from ganvae_core import ConfigurationError

        super().__init__()
        if tuple(latent_shape) != (2,):
            raise ConfigurationError("a ring has two coordinates.", "set:  latent.shape=[2]")
        self.register_buffer("place", torch.empty(0), persistent=False)

    def sample(self, count, condition=None):
        angle, share = torch.rand(2, count, dtype=self.place.dtype, device=self.place.device)
        radius = (0.25 + 0.75 * share).sqrt()
        angle = angle * 2 * math.pi
        return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)

    def log_prob(self, z, condition=None):
        radius = z.square().sum(1)
        inside = (radius >= 0.25 - 1e-6) & (radius <= 1 + 1e-6)
        return torch.full_like(radius, -math.log(0.75 * math.pi)).where(inside, -math.inf)


class Circle(LatentPrior):
    """A von Mises distribution on the circle, by torch's own distribution."""

    support = "sphere"

    def __init__(self, latent_shape):
        from ganvae_core import ConfigurationError

        super().__init__()
        if tuple(latent_shape) != (2,):
            raise ConfigurationError("a circle has two coordinates.")
        self.concentration = nn.Parameter(torch.tensor(1.5))

    def sample(self, count, condition=None):
        angle = VonMises(self.concentration.new_zeros(count), self.concentration.expand(count)).sample()
        return torch.stack([angle.cos(), angle.sin()], 1)

    def log_prob(self, z, condition=None):
        angle = torch.atan2(z[:, 1], z[:, 0])
        return VonMises(torch.zeros_like(angle), self.concentration.to(z.dtype)).log_prob(angle)


class Bits(LatentPrior):
    """Independent bits, each set with a learned probability."""

    support = "discrete"

    def __init__(self, latent_shape):
        super().__init__()
        self.logits = nn.Parameter(torch.full(tuple(latent_shape), -0.5))

    def sample(self, count, condition=None):
        return torch.bernoulli(self.logits.sigmoid().expand(count, *self.logits.shape))

    def log_prob(self, z, condition=None):
        return (
            -nn.functional.binary_cross_entropy_with_logits(
                self.logits.expand_as(z), z.to(self.logits.dtype), reduction="none"
            )
            .flatten(1)
            .sum(1)
        )


class ByCondition(LatentPrior):
    """A normal distribution whose mean is a function of the condition."""

    support = "real"

    def __init__(self, latent_shape, condition_shape):
        super().__init__()
        self.shape = tuple(latent_shape)
        self.mean = nn.Linear(math.prod(condition_shape), math.prod(self.shape))

    def _normal(self, condition):
        return torch.distributions.Normal(self.mean(condition.flatten(1)).reshape(-1, *self.shape), 1.0)

    def sample(self, count, condition=None):
        return self._normal(condition).rsample()

    def log_prob(self, z, condition=None):
        return self._normal(condition.to(z.dtype)).log_prob(z).flatten(1).sum(1)


class HalfNormal(LatentPrior):
    """|N(0, 1)| in every coordinate: a density that ends where it is highest."""

    support = "bounded"

    def __init__(self, latent_shape):
        super().__init__()
        self.shape = tuple(latent_shape)
        self.register_buffer("place", torch.empty(0), persistent=False)

    def sample(self, count, condition=None):
        return torch.randn(count, *self.shape, dtype=self.place.dtype, device=self.place.device).abs()

    def log_prob(self, z, condition=None):
        flat = z.flatten(1)
        value = (-0.5 * flat.square() + 0.5 * math.log(2 / math.pi)).sum(1)
        return value.where((flat >= 0).all(1), -math.inf)


class MeanAndScale(FittedPrior):
    """A normal distribution with the mean and scale of the codes."""

    support = "real"

    def __init__(self, latent_shape):
        super().__init__()
        self.register_buffer("mean", torch.zeros(tuple(latent_shape)))
        self.register_buffer("scale", torch.ones(tuple(latent_shape)))
        self.register_buffer("is_fitted", torch.tensor(False))

    @property
    def fitted(self):
        return bool(self.is_fitted)

    def fit(self, codes, condition=None):
        self.mean.copy_(codes.mean(0))
        self.scale.copy_(codes.std(0))
        self.is_fitted.fill_(True)

    def _normal(self):
        if not self.fitted:
            raise NotFittedError("not fitted yet.")
        return torch.distributions.Normal(self.mean, self.scale)

    def sample(self, count, condition=None):
        return self._normal().sample((count,))

    def log_prob(self, z, condition=None):
        return self._normal().log_prob(z).flatten(1).sum(1)
