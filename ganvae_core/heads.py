"""The last layer of a critic, for every plugin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn


@final
class CriticHead(nn.Module):
    """Features to a logit; a condition enters by projection (Miyato and Koyama, cGANs with Projection Discriminator).

    ``C(x) = w · f(x) + b``, and with a condition y in addition ``f(x) · V y``: how well the features agree with what
    they should show.

    Args:
        feature_size: F, width of the features.
        condition_shape: *K, or None for a critic that is told nothing here.
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
            self.projection(condition.reshape(len(features), -1).to(features.dtype)) * features
        ).sum(1)
