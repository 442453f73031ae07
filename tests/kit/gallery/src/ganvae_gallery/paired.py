"""Components that need one another: they can be tried within the plugin's own recipe alone."""

import math

import torch
from torch import nn

from ganvae_core import (
    ConfigurationError,
    DiagonalNormal,
    Encoder,
    FittedPrior,
    Loss,
    NotFittedError,
    Objective,
    Phase,
)


class CentredEncoder(Encoder):
    """One layer, and a centre that the objective holds near zero."""

    def __init__(self, data, latent_shape, condition_shape=None):
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        size = math.prod(data.shape) + math.prod(condition_shape or (0,))
        self.layer = nn.Linear(size, 2 * math.prod(latent_shape))
        self.centre = nn.Parameter(torch.ones(self.latent_shape))

    def forward(self, x, condition=None):
        seen = x.flatten(1) if condition is None else torch.cat([x.flatten(1), condition.flatten(1)], 1)
        raw = self.layer(seen).reshape(len(x), 2, *self.latent_shape)
        return DiagonalNormal(raw[:, 0] + self.centre, raw[:, 1])


class Centred(Objective):
    """The evidence lower bound with the encoder's centre held near zero: no other encoder has one."""

    needs = frozenset({"prior", "posterior", "likelihood"})

    def __init__(self, model):
        super().__init__()
        if not hasattr(model.encoder, "centre"):
            raise ConfigurationError("it needs an encoder with a centre.", "encoder=gallery/centred")
        self.model = model

    def phases(self):
        return [Phase("bound", self.loss, trains=[self.model])]

    def loss(self, batch):
        bound = self.model.log_likelihood_bound(batch.x, batch.condition).mean()
        return Loss(self.model.encoder.centre.square().sum() - bound, {"bound": bound})


class Counts(FittedPrior):
    """How often each class is set in one-hot codes: codes of any other form are refused."""

    support = "discrete"

    def __init__(self, latent_shape):
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        self.register_buffer("shares", torch.zeros(self.latent_shape[-1]))

    @property
    def fitted(self):
        return bool(self.shares.any())

    def fit(self, codes, condition=None):
        if not torch.equal(codes.sort(-1).values[..., :-1], torch.zeros_like(codes[..., 1:])):
            raise ValueError("a code is not one-hot")
        shares = codes.flatten(0, -2).mean(0) + 1e-3
        self.shares.copy_(shares / shares.sum())

    def _each(self):
        if not self.fitted:
            raise NotFittedError("not fitted yet.")
        return self.shares

    def sample(self, count, condition=None):
        return torch.distributions.OneHotCategorical(self._each()).sample((count, *self.latent_shape[:-1]))

    def log_prob(self, z, condition=None):
        return (z * self._each().log()).flatten(1).sum(1)
