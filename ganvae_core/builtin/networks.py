"""Fully connected networks, for data of any shape.

Weights start as PyTorch's own ``Linear`` sets them, uniform within 1/sqrt(fan in): outputs start near zero,
that is at the middle of the data's range and at a posterior near N(0, I), and a hand-written reference
starts alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, final

from torch import Tensor, nn

from ganvae_core.builtin.layers import CriticHead, FeatureCritic, Inputs, posterior_of
from ganvae_core.builtin.option_checks import in_range, one_of, positive_number, positive_sizes
from ganvae_core.distributions import DiagonalNormal, Dirac
from ganvae_core.interfaces import Encoder, Generator
from ganvae_core.types import DataSpec

Activation = Literal["relu", "leaky-relu", "gelu", "silu", "tanh", "maxout"]
Conditioning = Literal["concatenation", "projection"]
MAXOUT_PIECES = 5


@final
class _Maxout(nn.Module):
    """(B, 5 · width) -> (B, width): the largest of five linear pieces (Goodfellow et al. 2013)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, MAXOUT_PIECES)).amax(2)


def _activation(name: str) -> nn.Module:
    known = {
        "relu": nn.ReLU,
        "leaky-relu": lambda: nn.LeakyReLU(0.2),
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "tanh": nn.Tanh,
        "maxout": _Maxout,
    }
    return known[one_of("activation", name, known)]()


def _hidden_layers(
    inputs: int, hidden: Sequence[int], activation: str, *, batch_norm: bool = False, dropout: float = 0.0
) -> tuple[nn.Sequential, int]:
    """The layers before the head, and the width of their output."""
    layers = nn.Sequential()
    pieces = MAXOUT_PIECES if activation == "maxout" else 1
    for width in positive_sizes("hidden", hidden):
        layers.append(nn.Linear(inputs, width * pieces, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width * pieces))
        layers.append(_activation(activation))
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = width
    return layers, inputs


def _initialise(network: nn.Module, scale: float | None) -> None:
    """Weights N(0, scale) and no offsets, or PyTorch's own."""
    if scale is None:
        return
    positive_number("initial_scale", scale)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, scale)
            if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                nn.init.zeros_(module.bias)


@final
class MLPGenerator(Generator):
    """Fully connected layers from a code to the observation's parameters.

    Args:
        latent_shape: *Z.
        raw_shape: *R of the observation.
        condition_shape: *K, or None for an unconditional model.
        hidden: widths of the hidden layers, from the code to the output.
        activation: between layers.
        batch_norm: normalise each hidden layer over the batch, before its activation.
        initial_scale: standard deviation of the initial weights; null is PyTorch's own initialisation.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        raw_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        hidden: tuple[int, ...] = (400,),
        activation: Activation = "relu",
        batch_norm: bool = False,
        initial_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.raw_shape = tuple(raw_shape)
        self.inputs = Inputs(positive_sizes("the latent shape", latent_shape), condition_shape)
        self.layers, width = _hidden_layers(self.inputs.size, hidden, activation, batch_norm=batch_norm)
        self.head = nn.Linear(width, math.prod(self.raw_shape))
        _initialise(self, initial_scale)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        raw = self.head(self.layers(self.inputs(z, condition)))
        return raw.reshape(z.shape[0], *self.raw_shape)


@final
class MLPEncoder(Encoder):
    """Fully connected layers from data, centred at its mean, to a posterior over codes.

    Data without a mean in its specification is centred in the middle of its range. Inputs whose mean is far from zero
    make the first layer slow to learn (LeCun et al., Efficient BackProp, 1998): of binarised MNIST, whose mean is 0.13,
    ten passes reach 96.1 nats centred at it, and 97.6 centred at 0.5.

    Args:
        data: what the data is.
        latent_shape: *Z.
        condition_shape: *K, or None for an unconditional model.
        hidden: widths of the hidden layers, from the data to the code.
        activation: between layers.
        batch_norm: normalise each hidden layer over the batch, before its activation.
        posterior: normal (a mean and a variance each) or dirac (one code, as in a plain autoencoder).

    Raises:
        ConfigurationError: an option is out of its range.
    """

    def __init__(
        self,
        data: DataSpec,
        latent_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        hidden: tuple[int, ...] = (400,),
        activation: Activation = "relu",
        batch_norm: bool = False,
        posterior: Literal["normal", "dirac"] = "normal",
    ) -> None:
        super().__init__()
        self.deterministic = one_of("posterior", posterior, ("normal", "dirac")) == "dirac"
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        self.inputs = Inputs(data.shape, condition_shape, data.range, mean=data.mean)
        self.layers, width = _hidden_layers(self.inputs.size, hidden, activation, batch_norm=batch_norm)
        self.head = nn.Linear(width, math.prod(self.latent_shape) * (1 if self.deterministic else 2))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal | Dirac:
        parameters = self.head(self.layers(self.inputs(x, condition)))
        return posterior_of(parameters, self.latent_shape, deterministic=self.deterministic)


@final
class MLPCritic(FeatureCritic):
    """Fully connected layers from data, centred to [-1, 1], to a logit.

    Args:
        data: what the data is.
        condition_shape: *K, or None for an unconditional model.
        hidden: widths of the hidden layers; the last one is the width of the features.
        activation: between layers.
        dropout: share of each hidden layer's outputs that is dropped in training.
        initial_scale: standard deviation of the initial weights; null is PyTorch's own initialisation.
        conditioning: concatenation (the condition goes in with the data) or projection (its inner product
            with the features; Miyato and Koyama 2018).

    Raises:
        ConfigurationError: an option is out of its range.
    """

    def __init__(
        self,
        data: DataSpec,
        condition_shape: Sequence[int] | None = None,
        *,
        hidden: tuple[int, ...] = (256, 256),
        activation: Activation = "leaky-relu",
        dropout: float = 0.0,
        initial_scale: float | None = None,
        conditioning: Conditioning = "concatenation",
    ) -> None:
        super().__init__()
        in_range(below=1, dropout=dropout)
        self.projects = one_of("conditioning", conditioning, ("concatenation", "projection")) == "projection"
        self.inputs = Inputs(data.shape, condition_shape, data.range, ignores_condition=self.projects)
        self.layers, self.feature_size = _hidden_layers(self.inputs.size, hidden, activation, dropout=dropout)
        self.head = CriticHead(self.feature_size, condition_shape if self.projects else None)
        _initialise(self, initial_scale)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.layers(self.inputs(x, condition))
