"""Networks of windows (B, T, C): 1-D convolutions, or a gated recurrent unit over the times."""

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
    in_range,
    posterior_of,
)

Network = Literal["convolution", "recurrent"]


class _Features(nn.Module):
    """Windows (B, T, C) to features (B, size)."""

    def __init__(self, shape: Sequence[int], network: Network, filters: int, stages: int) -> None:
        super().__init__()
        length, width = shape
        self.network = network
        if network == "recurrent":
            self.unit = nn.GRU(width, 4 * filters, batch_first=True, bidirectional=True)
            self.size = 8 * filters
            return
        self.layers, self.size = halving_convolutions(length, width, filters, stages)

    def forward(self, x: Tensor) -> Tensor:
        if self.network == "recurrent":
            outputs, _ = self.unit(x)
            forward, backward = outputs.chunk(2, -1)
            return torch.cat([forward[:, -1], backward[:, 0]], 1)
        return self.layers(x.transpose(1, 2)).flatten(1)


def halving_convolutions(length: int, width: int, filters: int, stages: int) -> tuple[nn.Sequential, int]:
    """Convolutions over (B, width, length) whose channels double as the length is halved, and the values they give."""
    layers = nn.Sequential()
    for stage in range(stages):
        layers.append(nn.Conv1d(width, filters * 2**stage, 5, stride=2, padding=2))
        layers.append(nn.SiLU())
        length, width = (length + 1) // 2, filters * 2**stage
    return layers, length * width


@final
class SeriesEncoder(Encoder):
    """Features of a window, and a linear layer to a Gaussian posterior.

    Args:
        data: what the data is: rows (T, C).
        latent_shape: *Z.
        condition_shape: *K, or None for an unconditional model.
        network: convolution (each of stride 2) or recurrent (a GRU of width 4 · filters, in both directions).
        filters: channels of the first convolution; doubled with each of the others.
        stages: convolutions.

    Raises:
        ConfigurationError: rows are no windows, or an option is out of range.
    """

    def __init__(
        self, data: DataSpec, latent_shape: Sequence[int], condition_shape: Sequence[int] | None = None, *,
        network: Network = "convolution", filters: int = 32, stages: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        _check("encoder", data.shape, network, filters, stages)
        self.latent_shape, self.bounds = tuple(latent_shape), data.range
        self.features = _Features(data.shape, network, filters, stages)
        self.inputs = Inputs((self.features.size,), condition_shape)
        self.head = nn.Linear(self.inputs.size, 2 * math.prod(self.latent_shape))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal | Dirac:
        features = self.inputs(self.features(centred(x, self.bounds)), condition)
        return posterior_of(self.head(features), self.latent_shape)


@final
class SeriesCritic(FeatureCritic):
    """Features of a window, and a logit of them; a condition enters by projection.

    Args:
        data: what the data is: rows (T, C).
        condition_shape: *K, or None for an unconditional critic.
        network, filters, stages: as of ``SeriesEncoder``.

    Raises:
        ConfigurationError: rows are no windows, or an option is out of range.
    """

    def __init__(
        self, data: DataSpec, condition_shape: Sequence[int] | None = None, *,
        network: Network = "convolution", filters: int = 32, stages: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        _check("critic", data.shape, network, filters, stages)
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.bounds = data.range
        self.layers = _Features(data.shape, network, filters, stages)
        self.feature_size = self.layers.size
        self.head = CriticHead(self.feature_size, condition_shape)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        check_condition(condition, self.condition_shape)
        return self.layers(centred(x, self.bounds))


@final
class SeriesGenerator(Generator):
    """A code to a window (B, T, C): convolutions that double its length, or a GRU that is given the code at each time.

    Args:
        latent_shape: *Z.
        raw_shape: *R of the observation: (T, C).
        condition_shape: *K, or None for an unconditional model.
        network: convolution or recurrent (of width 4 · filters).
        filters: channels of the last hidden convolution; those before have twice as many each.
        stages: doublings.
        fine: channels that the code gives to each time directly, beside those that come from the convolutions, since
            what was doubled is smooth; for convolutions alone.

    Raises:
        ConfigurationError: rows are no windows, or an option is out of range.
    """

    def __init__(
        self, latent_shape: Sequence[int], raw_shape: Sequence[int], condition_shape: Sequence[int] | None = None, *,
        network: Network = "convolution", filters: int = 32, stages: int = 3, fine: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        _check("generator", raw_shape, network, filters, stages)
        if fine < 0 or (fine and network == "recurrent"):
            raise ConfigurationError(
                f"generator.fine={fine} is for convolutions, and not negative.", "generator.fine=0"
            )
        self.raw_shape, self.network = tuple(raw_shape), network
        self.inputs = Inputs(latent_shape, condition_shape)
        inputs = self.inputs.size
        length, channels = self.raw_shape
        if network == "recurrent":
            width = 4 * filters
            self.begin = nn.Linear(inputs, width)
            self.places = nn.Parameter(0.1 * torch.randn(length, width))
            self.unit = nn.GRU(width, width, batch_first=True)
            self.last = nn.Linear(width, channels)
            return
        width, shortest = filters * 2 ** (stages - 1), math.ceil(length / 2**stages)
        self.begin = nn.Linear(inputs, width * shortest)
        self.shortest = (width, shortest)
        self.layers = nn.Sequential()
        for stage in reversed(range(stages)):
            following = filters * 2 ** max(stage - 1, 0)
            self.layers.extend(
                [nn.SiLU(), nn.Upsample(scale_factor=2.0), nn.Conv1d(width, following, 5, padding=2)]
            )
            width = following
        self.fine = nn.Linear(inputs, fine * length) if fine else None
        self.layers.extend([nn.SiLU(), nn.Conv1d(width + fine, channels, 5, padding=2)])

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        inputs = self.inputs(z, condition)
        begun = self.begin(inputs)
        if self.network == "recurrent":
            return self.last(self.unit(begun[:, None] + self.places)[0])
        hidden = self.layers[:-1](begun.unflatten(1, self.shortest))[..., : self.raw_shape[0]]
        if self.fine is not None:
            hidden = torch.cat([hidden, self.fine(inputs).unflatten(1, (-1, self.raw_shape[0]))], 1)
        return self.layers[-1](hidden).transpose(1, 2)


def _check(what: str, shape: Sequence[int], network: str, filters: int, stages: int) -> None:
    if len(shape) != 2:
        raise ConfigurationError(
            f"{what} 'series' is for windows (T, C), and rows have the shape {tuple(shape)}.",
            "windows of a table or an array:  data=series data.path=FILE",
        )
    if network not in ("convolution", "recurrent"):
        raise ConfigurationError(f"{what}.network={network} is not possible: it is convolution or recurrent.")
    in_range(f"{what}.", least=1, filters=filters, stages=stages)
