"""Parts of networks: a critic's last layer, centred data, checked conditions."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

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
        self.projection = (
            None
            if condition_shape is None
            else nn.Linear(math.prod(condition_shape), feature_size, bias=False)
        )

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
