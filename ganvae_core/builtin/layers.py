"""Parts of networks: inputs with their condition, centred data, the last layers of critics and encoders."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core.distributions import DiagonalNormal, Dirac
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Critic


@final
class CriticHead(nn.Module):
    """Features to a logit; a condition enters by projection (Miyato and Koyama, cGANs with Projection Discriminator).

    ``C(x) = w · f(x) + b``, and with a condition y in addition ``f(x) · V y``: the agreement of features and condition.

    Args:
        feature_size: F, width of the features.
        condition_shape: *K, or None for features that contain the condition already, or where there is none.
    """

    def __init__(self, feature_size: int, condition_shape: Sequence[int] | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_size, 1)
        self.projection = None
        if condition_shape is not None:
            self.projection = nn.Linear(math.prod(condition_shape), feature_size, bias=False)

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, F), (B, *K)? -> (B,) logits."""
        logits = self.linear(features).squeeze(1)
        if self.projection is None or condition is None:
            return logits
        return logits + (
            self.projection(condition.reshape(features.shape[0], -1).to(features.dtype)) * features
        ).sum(1)


class FeatureCritic(Critic):
    """A critic whose logits are computed from its features by ``head``. A subclass implements ``features``.

    Its constructor sets ``feature_size``, F, and ``head``, in most cases ``CriticHead(F, condition_shape)``.
    """

    head: CriticHead

    @abc.abstractmethod
    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X), (B, *K)? -> (B, F)."""

    @final
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X), (B, *K)? -> (B,) logits, larger for rows judged real."""
        return self.head(self.features(x, condition), condition)


def centred(x: Tensor, bounds: tuple[float, float] | None, middle: float | None = None) -> Tensor:
    """Data within its range scaled to a width of 2 around 0; data without bounds, such as a standardised table, stays.

    Args:
        x: of any shape.
        bounds: lowest and highest value.
        middle: the value that becomes 0; by default that in the middle of the bounds, so that x is in [-1, 1].
    """
    if bounds is None:
        return x
    low, high = bounds
    scale = 2 / (high - low)
    offset = scale * ((high + low) / 2 if middle is None else middle)
    return x if (scale, offset) == (1, 0) else x * scale - offset


@final
class Inputs:
    """Rows flattened and centred, with the condition appended: what fully connected layers are given.

    Args:
        shape: of a row.
        condition_shape: *K, or None for an unconditional model.
        bounds: lowest and highest value of rows, which are centred between them; None leaves rows as they are.
        mean: where bounded rows are centred instead.
        ignores_condition: the condition is checked and not appended, because it enters elsewhere.

    Attributes:
        size: of a row with its condition.
    """

    def __init__(
        self,
        shape: Sequence[int],
        condition_shape: Sequence[int] | None,
        bounds: tuple[float, float] | None = None,
        *,
        mean: float | None = None,
        ignores_condition: bool = False,
    ) -> None:
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.bounds, self.mean = bounds, mean
        self.appends = self.condition_shape is not None and not ignores_condition
        self.size = math.prod(shape) + (math.prod(self.condition_shape or ()) if self.appends else 0)

    def __call__(self, rows: Tensor, condition: Tensor | None) -> Tensor:
        """(B, *X), (B, *K)? -> (B, size)."""
        flat = centred(rows.flatten(1), self.bounds, self.mean)
        check_condition(condition, self.condition_shape)
        if condition is None or not self.appends:
            return flat
        return torch.cat([flat, condition.reshape(flat.shape[0], -1).to(flat.dtype)], 1)


def with_channels(x: Tensor, condition: Tensor | None) -> Tensor:
    """(B, C, *S), (B, *K)? -> (B, C + prod(K), *S): the condition as constant channels beside those of x."""
    if condition is None:
        return x
    channels = condition.to(x.dtype).reshape(x.shape[0], -1, *[1] * (x.dim() - 2))
    return torch.cat([x, channels.expand(-1, -1, *x.shape[2:])], 1)


def posterior_of(
    parameters: Tensor, latent_shape: tuple[int, ...], *, deterministic: bool = False
) -> DiagonalNormal | Dirac:
    """The last layer of an encoder (B, …), means and log variances or codes, as a posterior over (B, *Z)."""
    if deterministic:
        return Dirac(parameters.reshape(parameters.shape[0], *latent_shape))
    location, log_variance = parameters.reshape(parameters.shape[0], 2, *latent_shape).unbind(1)
    return DiagonalNormal(location, log_variance)


def check_condition(condition: Tensor | None, shape: tuple[int, ...] | None) -> None:
    """Check that a condition (B, *K) has the *K that a network was built for.

    Raises:
        ConfigurationError: it is missing, superfluous or of another shape.
    """
    given = None if condition is None else tuple(condition.shape[1:])
    if given != shape:
        raise ConfigurationError(
            f"this network was built for {_in_words(shape)}, and was given {_in_words(given)}.",
            "set condition_shape when the network is made, or data.condition in a run",
        )


def _in_words(shape: tuple[int, ...] | None) -> str:
    return "no condition" if shape is None else f"a condition of shape {shape}"
