"""Priors that are trained on standardised codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ganvae_core.builtin.option_checks import positive_sizes
from ganvae_core.interfaces import LatentPrior


class StandardisedPrior(LatentPrior):
    """A prior over flattened codes in units of their mean and deviation, by coordinate.

    Codes have a scale of their own, which networks and splines do not suit. An objective that trains the prior on codes
    calls ``standardise`` in its phase's ``after``.

    Args:
        latent_shape: *Z.

    Raises:
        ConfigurationError: the latent shape holds something else than positive whole numbers.
    """

    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(self, latent_shape: Sequence[int]) -> None:
        super().__init__()
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        size = math.prod(self.latent_shape)
        self.register_buffer("mean", torch.zeros(size))  # of the codes so far, by coordinate
        self.register_buffer("square", torch.ones(size))
        self.register_buffer("batches", torch.zeros(()))

    def standardise(self, mean: Tensor, square: Tensor) -> None:
        """Take one more batch of codes into the averages by which codes are standardised.

        Args:
            mean: (D,) of the batch's flattened codes.
            square: (D,) mean of their squares.
        """
        self.batches += 1
        self.mean.lerp_(mean, 1 / self.batches)
        self.square.lerp_(square, 1 / self.batches)

    def deviation(self) -> Tensor:
        """(D,), 1 before the first batch; a coordinate that never varies gets a small one."""
        return (self.square - self.mean.square()).clamp(min=1e-8).sqrt()
