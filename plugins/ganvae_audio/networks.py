"""One-dimensional convolutional networks for sounds: (channels, length), which are waveforms or spectrograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

from ganvae_core import (
    ConfigurationError,
    CriticHead,
    DataSpec,
    DiagonalNormal,
    Dirac,
    Encoder,
    FeatureCritic,
    Generator,
    Inputs,
    centred,
    check_condition,
    posterior_of,
    with_channels,
)

SHORTEST = 16
"""The length is divided until it is at most this."""
MOST_DOUBLINGS = 3
SLOPE = 0.2


@final
class ConvolutionalGenerator(Generator):
    """A projection of the code, then transposed convolutions over time (WaveGAN, Donahue et al. 2019).

    Args:
        latent_shape: *Z; flattened.
        raw_shape: (channels, length).
        condition_shape: *K, or None for an unconditional model; appended to the code.
        filters: channels next to the sound; doubled with each stage away from it, up to eightfold.
        kernel: positions that a convolution spans, an odd number; 25 in WaveGAN.
        stride: by which each stage lengthens; 4 in WaveGAN.
        batch_norm: normalise the hidden layers.

    Raises:
        ConfigurationError: no sounds, or an option is not possible.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        raw_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 32,
        kernel: int = 25,
        stride: int = 4,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        lengths, widths = _stages(raw_shape, filters, kernel, stride)
        self.lengths, self.first_shape = lengths[-2::-1], (widths[-1], lengths[-1])
        self.inputs = Inputs(latent_shape, condition_shape)
        self.project = nn.Linear(self.inputs.size, math.prod(self.first_shape))
        self.first = _normalised(widths[-1], batch_norm, nn.ReLU())
        self.layers = nn.ModuleList()
        for stage in reversed(range(len(lengths) - 1)):
            up = nn.ConvTranspose1d(
                widths[stage + 1], widths[stage], kernel, stride, kernel // 2, output_padding=stride - 1
            )
            self.layers.append(
                nn.Sequential(up, _normalised(widths[stage], batch_norm, nn.ReLU())) if stage else up
            )

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.first(self.project(self.inputs(z, condition)).unflatten(1, self.first_shape))
        for layer, length in zip(self.layers, self.lengths, strict=True):
            x = layer(x)[..., :length]
        return x


class _Trunk(nn.Module):
    """What critic and encoder share: strided convolutions over time, to (B, F). The condition is constant channels."""

    def __init__(
        self,
        data: DataSpec,
        condition_shape: Sequence[int] | None,
        filters: int,
        kernel: int,
        stride: int,
        *,
        batch_norm: bool = False,
        appends: bool = True,
        shuffle: int = 0,
    ) -> None:
        super().__init__()
        lengths, widths = _stages(data.shape, filters, kernel, stride)
        if not 0 <= shuffle < lengths[-1]:
            raise ConfigurationError(f"phase_shuffle: from 0 to {lengths[-1] - 1} here, not {shuffle}.")
        self.range, self.shuffle = data.range, shuffle
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.appends = appends and condition_shape is not None
        widths[0] += math.prod(condition_shape or ()) if self.appends else 0
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(widths[stage], widths[stage + 1], kernel, stride, kernel // 2),
                _normalised(widths[stage + 1], batch_norm, nn.LeakyReLU(SLOPE)),
            )
            for stage in range(len(lengths) - 1)
        )
        self.feature_size = widths[-1] * lengths[-1]

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        check_condition(condition, self.condition_shape)
        x = with_channels(centred(x, self.range), condition if self.appends else None)
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if self.shuffle and self.training and number < len(self.layers) - 1:
                x = shuffled_phases(x, self.shuffle)
        return x.flatten(1)


@final
class ConvolutionalCritic(FeatureCritic):
    """Strided convolutions over time with leaky ReLU, then one logit (WaveGAN, Donahue et al. 2019).

    Args:
        data: what the data is: (channels, length).
        condition_shape: *K, or None for an unconditional model.
        filters: channels of the first layer; doubled with each stage, up to eightfold.
        kernel: positions that a convolution spans, an odd number; 25 in WaveGAN.
        stride: by which each stage shortens; 4 in WaveGAN.
        phase_shuffle: positions by which each layer's output is moved at most, at random, while training; 2 in WaveGAN.
        conditioning: concatenation (constant channels beside the sound) or projection (its inner product with the
            features; Miyato and Koyama 2018).

    Raises:
        ConfigurationError: no sounds, or an option is not possible.
    """

    def __init__(
        self,
        data: DataSpec,
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 32,
        kernel: int = 25,
        stride: int = 4,
        phase_shuffle: int = 0,
        conditioning: Literal["concatenation", "projection"] = "projection",
    ) -> None:
        super().__init__()
        projects = conditioning == "projection"
        self.trunk = _Trunk(
            data, condition_shape, filters, kernel, stride, appends=not projects, shuffle=phase_shuffle
        )
        self.feature_size = self.trunk.feature_size
        self.head = CriticHead(self.feature_size, condition_shape if projects else None)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.trunk(x, condition)


@final
class ConvolutionalEncoder(Encoder):
    """The mirror of the generator: strided convolutions over time, then a posterior over codes.

    Args:
        data: what the data is: (channels, length).
        latent_shape: *Z.
        condition_shape: *K, or None for an unconditional model; given to the first layer as constant channels.
        filters: channels of the first layer; doubled with each stage, up to eightfold.
        kernel: positions that a convolution spans, an odd number.
        stride: by which each stage shortens.
        batch_norm: normalise the hidden layers.
        posterior: normal (a mean and a variance each) or dirac (one code, as in a plain autoencoder).

    Raises:
        ConfigurationError: no sounds, or an option is not possible.
    """

    def __init__(
        self,
        data: DataSpec,
        latent_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 32,
        kernel: int = 25,
        stride: int = 4,
        batch_norm: bool = False,
        posterior: Literal["normal", "dirac"] = "normal",
    ) -> None:
        super().__init__()
        self.deterministic = posterior == "dirac"
        self.latent_shape = tuple(latent_shape)
        self.trunk = _Trunk(data, condition_shape, filters, kernel, stride, batch_norm=batch_norm)
        outputs = math.prod(latent_shape) * (1 if self.deterministic else 2)
        self.head = nn.Linear(self.trunk.feature_size, outputs)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal | Dirac:
        parameters = self.head(self.trunk(x, condition))
        return posterior_of(parameters, self.latent_shape, deterministic=self.deterministic)


def shuffled_phases(x: Tensor, most: int) -> Tensor:
    """(B, C, L), each row moved in time by up to ``most`` positions at random, and reflected at its ends.

    So a critic cannot tell a generator by the phase of its artefacts (phase shuffle, Donahue et al. 2019).
    """
    count, _, length = x.shape
    moved = torch.randint(-most, most + 1, (count, 1), device=x.device)
    at = (torch.arange(length, device=x.device) + moved).abs()
    at = (length - 1) - ((length - 1) - at).abs()
    return x.gather(2, at[:, None].expand_as(x))


def _stages(shape: Sequence[int], filters: int, kernel: int, stride: int) -> tuple[list[int], list[int]]:
    """Lengths and channels after each stage, from the sound on."""
    if len(shape) != 2:
        raise ConfigurationError(
            f"conv1d networks are for sounds, (channels, length), and this data has shape {tuple(shape)}.",
            "take networks for data of any shape:  generator=mlp  (and encoder=mlp or critic=mlp)",
        )
    if filters < 1 or stride < 2 or kernel < stride or kernel % 2 == 0:
        raise ConfigurationError(
            "conv1d: filters must be positive, stride 2 or more, kernel an odd number of at least the stride."
        )
    lengths = [shape[1]]
    while lengths[-1] > SHORTEST or len(lengths) == 1:
        lengths.append(-(-lengths[-1] // stride))
    return lengths, [shape[0], *(filters * 2 ** min(at, MOST_DOUBLINGS) for at in range(len(lengths) - 1))]


def _normalised(channels: int, batch_norm: bool, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm1d(channels), activation) if batch_norm else nn.Sequential(activation)
