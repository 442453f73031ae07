"""Networks with noise, statistics, buffers and weights that begin at zero."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from ganvae_core import ConfigurationError, Critic, DiagonalNormal, Encoder, Generator, Posterior


def flat(x, condition):
    x = x.flatten(1)
    return x if condition is None else torch.cat([x, condition.flatten(1)], 1)


@dataclass(frozen=True, eq=False)
class LaplacePosterior(Posterior):
    """Laplace distributions."""

    location: torch.Tensor
    log_scale: torch.Tensor

    @property
    def mean(self):
        return self.location

    def _each(self):
        return torch.distributions.Laplace(self.location, self.log_scale.exp())

    def rsample(self, shape=()):
        return self._each().rsample(shape)

    def log_prob(self, z):
        return self._each().log_prob(z).flatten(-(self.location.dim() - 1)).sum(-1)


class LaplaceEncoder(Encoder):
    """One layer, dropout in training, and a posterior of its own."""

    def __init__(self, data, latent_shape, condition_shape=None):
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        self.drop = nn.Dropout(0.2)
        self.layer = nn.Linear(
            math.prod(data.shape) + math.prod(condition_shape or (0,)), 2 * math.prod(latent_shape)
        )

    def forward(self, x, condition=None):
        raw = self.layer(self.drop(flat(x, condition))).reshape(len(x), 2, *self.latent_shape)
        return LaplacePosterior(raw[:, 0], raw[:, 1].tanh())


class NoisyEncoder(Encoder):
    """Adds noise to what it sees, in evaluation mode, too; batch norm between two layers."""

    def __init__(self, data, latent_shape, condition_shape=None):
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        size = math.prod(data.shape) + math.prod(condition_shape or (0,))
        self.layers = nn.Sequential(
            nn.Linear(size, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 2 * math.prod(latent_shape))
        )

    def forward(self, x, condition=None):
        seen = flat(x + 0.1 * torch.randn_like(x), condition)
        raw = self.layers(seen).reshape(len(x), 2, *self.latent_shape)
        return DiagonalNormal(raw[:, 0], raw[:, 1])


class Convolutions(Generator):
    """Transposed convolutions, for images alone, with spectral norm and noise in every image."""

    def __init__(self, data, latent_shape, raw_shape, condition_shape=None):
        super().__init__()
        if data.modality != "image":
            raise ConfigurationError("convolutions are for images.")
        self.raw_shape = tuple(raw_shape)
        size = math.prod(latent_shape) + math.prod(condition_shape or (0,))
        self.first = nn.Linear(size, 4 * (raw_shape[1] // 2) * (raw_shape[2] // 2))
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(4, raw_shape[0], 4, 2, 1))

    def forward(self, z, condition=None):
        hidden = self.first(flat(z, condition)).reshape(
            len(z), 4, self.raw_shape[1] // 2, self.raw_shape[2] // 2
        )
        hidden = self.norm(hidden).relu()
        noise = torch.randn(len(z), 1, *hidden.shape[2:], dtype=z.dtype, device=z.device)
        return self.last(hidden + 0.1 * noise)


class FromZero(Generator):
    """A residual layer whose last weights begin at zero, and a fixed buffer of frequencies."""

    def __init__(self, latent_shape, raw_shape, condition_shape=None):
        super().__init__()
        self.raw_shape = tuple(raw_shape)
        self.register_buffer("frequencies", 2.0 ** torch.arange(3), persistent=False)
        size = math.prod(latent_shape) + math.prod(condition_shape or (0,))
        self.inner = nn.Linear(3 * size, 8)
        self.outer = nn.Linear(8, math.prod(raw_shape))
        self.offset = nn.Parameter(torch.zeros(math.prod(raw_shape)), requires_grad=False)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, z, condition=None):
        waves = (flat(z, condition).unsqueeze(2) * self.frequencies).sin().flatten(1)
        return (self.outer(self.inner(waves).tanh()) + self.offset).reshape(-1, *self.raw_shape)


class BatchStatistics(Critic):
    """Tells the standard deviation over the batch to each row (Karras et al. 2018); an older spectral norm."""

    def __init__(self, data, condition_shape=None):
        super().__init__()
        size = math.prod(data.shape) + math.prod(condition_shape or (0,))
        self.layer = nn.utils.parametrizations.weight_norm(nn.Linear(size, 6))
        self.feature_size = 7
        self.head = nn.Linear(7, 1)

    def features(self, x, condition=None):
        hidden = nn.functional.silu(self.layer(flat(x, condition)))
        spread = hidden.std(0, unbiased=False).mean() + 1e-6
        return torch.cat([hidden, spread.expand(len(x), 1)], 1)

    def forward(self, x, condition=None):
        return self.head(self.features(x, condition)).squeeze(1)
