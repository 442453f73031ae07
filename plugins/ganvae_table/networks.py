"""The generator of CTGAN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core import ConfigurationError, DataSpec, Generator, Inputs
from ganvae_table.vectors import Columns


@final
class ConditionalVectorGenerator(Generator):
    """Layers that are given the input of the one before once more, from a code and a conditional vector.

    The last two coordinates of a code say which category of which column the row has (CTGAN's conditional vector, Xu
    et al., Modeling Tabular Data using Conditional GAN, 2019), as often as the categories are in the data. So a code
    still determines a row, and codes are drawn from an ordinary prior.

    Args:
        data: what the data is.
        latent_shape: *Z, of at least three numbers.
        raw_shape: *R of the observation.
        condition_shape: *K, or None for an unconditional model.
        hidden: widths of the hidden layers.

    Raises:
        ConfigurationError: the latent shape is too small, or a width is not positive.
    """

    def __init__(
        self,
        data: DataSpec,
        latent_shape: Sequence[int],
        raw_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        hidden: tuple[int, ...] = (256, 256),
    ) -> None:
        super().__init__()
        if len(latent_shape) != 1 or latent_shape[0] < 3 or min(hidden, default=1) < 1:
            raise ConfigurationError(
                "generator: a conditional vector needs codes of three numbers or more, and positive widths.",
                "latent.shape=[128]",
            )
        self.raw_shape = tuple(raw_shape)
        self.columns = Columns(data)
        self.inputs = Inputs((latent_shape[0] - 2 + self.columns.size,), condition_shape)
        width = self.inputs.size
        self.layers = nn.ModuleList()
        for size in hidden:
            self.layers.append(nn.Sequential(nn.Linear(width, size), nn.BatchNorm1d(size), nn.ReLU()))
            width += size
        self.head = nn.Linear(width, math.prod(self.raw_shape))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.given(z, self.columns.at(torch.special.ndtr(z[:, -2:])), condition)

    def given(self, z: Tensor, vector: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z), (B, V), (B, *K)? -> (B, *R): rows of the category that the vector asks for."""
        x = self.inputs(torch.cat([z[:, :-2], vector], 1), condition)
        for layer in self.layers:
            x = torch.cat([layer(x), x], 1)
        return self.head(x).reshape(z.shape[0], *self.raw_shape)
