"""Convolutional networks for images of any size, with residual blocks and group norm.

A stage halves each side that is longer than asked for, rounded down. A flat code (D,) meets the image where its
sides are from four to seven; a code (D, h, w) is a grid over the image, and stages go on while the sides stay at
least those of the grid. The generator runs the same stages backwards, so it meets every size exactly.

The autoencoders of latent diffusion are built likewise (Rombach et al. 2022), with more blocks and wider.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, final

from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core.builtin.layers import (
    CriticHead,
    FeatureCritic,
    Inputs,
    centred,
    check_condition,
    posterior_of,
    with_channels,
)
from ganvae_core.builtin.option_checks import in_range, one_of, positive_sizes
from ganvae_core.distributions import DiagonalNormal, Dirac
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Encoder, Generator
from ganvae_core.types import DataSpec

Size = tuple[int, int]
LONGEST_FLAT_SIDE = 7
MOST_WIDENING = 4
GROUPS = 8


@final
class ResidualBlock(nn.Module):
    """x + f(x), where f is twice norm, SiLU and a convolution of 3 × 3 (He et al. 2016, pre-activated).

    The second convolution begins at zero, so that a new block changes nothing.

    Args:
        width: channels.
        norm: with group norm (Wu and He 2018), which ties no rows together.
    """

    def __init__(self, width: int, *, norm: bool = True) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(
            *_activated(width, norm), nn.Conv2d(width, width, 3, padding=1), *_activated(width, norm), last
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


@final
class ResNetGenerator(Generator):
    """Transposed convolutions and residual blocks from a code to an image.

    Args:
        latent_shape: *Z: (D,), or (D, h, w) for a grid over the image.
        raw_shape: (channels, height, width), what the observation asks for.
        condition_shape: *K, or None for an unconditional model; appended to the code.
        filters: channels next to the image; doubled with each stage away from it, up to fourfold.
        blocks: residual blocks of each stage.

    Raises:
        ConfigurationError: the observation asks for no image, or an option is out of its range.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        raw_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 64,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        channels, size = _image(raw_shape)
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        self.inputs = Inputs(self.latent_shape, condition_shape)
        sizes = _sizes(size, self.latent_shape)
        widths = [channels, *_widths(filters, blocks, len(sizes) - 1)]
        self.first = (widths[-1], *sizes[-1])
        self.grid = len(self.latent_shape) == 3
        planes = self.latent_shape[0] + self.inputs.size - math.prod(self.latent_shape)
        self.project: nn.Module = (
            nn.Conv2d(planes, widths[-1], 1)
            if self.grid
            else nn.Linear(self.inputs.size, math.prod(self.first))
        )
        self.layers = nn.Sequential()
        for stage in reversed(range(len(sizes) - 1)):
            width = widths[stage + 1]
            self.layers.extend([ResidualBlock(width) for _ in range(blocks)])
            self.layers.extend(_activated(width, True))
            self.layers.append(_up(width, widths[stage], sizes[stage + 1], sizes[stage]))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        if not self.grid:
            return self.layers(self.project(self.inputs(z, condition)).reshape(z.shape[0], *self.first))
        check_condition(condition, self.inputs.condition_shape)
        hidden = self.project(with_channels(z, condition))
        if hidden.shape[2:] != self.first[1:]:
            hidden = F.interpolate(hidden, size=self.first[1:])
        return self.layers(hidden)


@final
class _Trunk(nn.Module):
    """What encoder and critic share: an image, centred to [-1, 1], and the condition as planes, to (B, C, h, w)."""

    def __init__(
        self,
        data: DataSpec,
        condition_shape: Sequence[int] | None,
        latent_shape: Sequence[int],
        *,
        filters: int,
        blocks: int,
        norm: bool,
        ignores_condition: bool = False,
    ) -> None:
        super().__init__()
        channels, size = _image(data.shape)
        self.range = data.range
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.appends = self.condition_shape is not None and not ignores_condition
        sizes = _sizes(size, latent_shape)
        planes = math.prod(self.condition_shape or ()) if self.appends else 0
        widths = [channels + planes, *_widths(filters, blocks, len(sizes) - 1)]
        self.layers = nn.Sequential()
        for stage in range(len(sizes) - 1):
            if stage:
                self.layers.extend(_activated(widths[stage], norm))
            self.layers.append(_down(widths[stage], widths[stage + 1], sizes[stage], sizes[stage + 1]))
            self.layers.extend([ResidualBlock(widths[stage + 1], norm=norm) for _ in range(blocks)])
        self.layers.extend(_activated(widths[-1], norm))
        self.shape = (widths[-1], *sizes[-1])

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        x = centred(x, self.range)
        check_condition(condition, self.condition_shape)
        return self.layers(with_channels(x, condition if self.appends else None))


@final
class ResNetEncoder(Encoder):
    """Strided convolutions and residual blocks from an image to a posterior over codes.

    Args:
        data: what the data is: images.
        latent_shape: *Z: (D,), or (D, h, w) for a grid over the image.
        condition_shape: *K, or None for an unconditional model; given to the first layer as constant planes.
        filters: channels of the first layer; doubled with each stage, up to fourfold.
        blocks: residual blocks of each stage.
        posterior: normal (a mean and a variance each) or dirac (one code, as in a plain autoencoder).

    Raises:
        ConfigurationError: the data is no images, or an option is out of its range.
    """

    def __init__(
        self,
        data: DataSpec,
        latent_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 64,
        blocks: int = 1,
        posterior: Literal["normal", "dirac"] = "normal",
    ) -> None:
        super().__init__()
        self.deterministic = one_of("posterior", posterior, ("normal", "dirac")) == "dirac"
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        self.trunk = _Trunk(
            data, condition_shape, self.latent_shape, filters=filters, blocks=blocks, norm=True
        )
        self.grid = len(self.latent_shape) == 3
        numbers = 1 if self.deterministic else 2
        self.head: nn.Module = (
            nn.Conv2d(self.trunk.shape[0], numbers * self.latent_shape[0], 1)
            if self.grid
            else nn.Linear(math.prod(self.trunk.shape), numbers * math.prod(self.latent_shape))
        )

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal | Dirac:
        hidden = self.trunk(x, condition)
        if not self.grid:
            hidden = hidden.flatten(1)
        elif tuple(hidden.shape[2:]) != self.latent_shape[1:]:
            hidden = F.adaptive_avg_pool2d(hidden, (self.latent_shape[1], self.latent_shape[2]))
        return posterior_of(self.head(hidden), self.latent_shape, deterministic=self.deterministic)


@final
class ResNetCritic(FeatureCritic):
    """Strided convolutions and residual blocks from an image to a logit, without normalisation.

    So gradient penalties go with it (Huang et al. 2024, whose critic has none either).

    Args:
        data: what the data is: images.
        condition_shape: *K, or None for an unconditional model.
        filters: channels of the first layer; doubled with each stage, up to fourfold.
        blocks: residual blocks of each stage.
        conditioning: concatenation (constant planes beside the image) or projection (its inner
            product with the features; Miyato and Koyama 2018).

    Raises:
        ConfigurationError: the data is no images, or an option is out of its range.
    """

    def __init__(
        self,
        data: DataSpec,
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 64,
        blocks: int = 1,
        conditioning: Literal["concatenation", "projection"] = "concatenation",
    ) -> None:
        super().__init__()
        projects = one_of("conditioning", conditioning, ("concatenation", "projection")) == "projection"
        self.trunk = _Trunk(
            data,
            condition_shape,
            (1,),
            filters=filters,
            blocks=blocks,
            norm=False,
            ignores_condition=projects,
        )
        self.feature_size = math.prod(self.trunk.shape)
        self.head = CriticHead(self.feature_size, condition_shape if projects else None)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.trunk(x, condition).flatten(1)


def _activated(width: int, norm: bool) -> list[nn.Module]:
    return [*([nn.GroupNorm(math.gcd(GROUPS, width), width)] if norm else []), nn.SiLU()]


def _image(shape: Sequence[int]) -> tuple[int, Size]:
    """Channels and (height, width), or an error that says what these networks can take."""
    if len(shape) != 3:
        raise ConfigurationError(
            f"convolutional networks are for images, (channels, height, width), and not for the shape {tuple(shape)}.",
            "take networks for data of any shape:  generator=mlp encoder=mlp critic=mlp",
        )
    return shape[0], (shape[1], shape[2])


def _sizes(size: Size, latent_shape: Sequence[int]) -> list[Size]:
    """(height, width) of the image and after each stage; there is always one, which may keep the size."""
    if len(latent_shape) == 3:
        least = (latent_shape[1], latent_shape[2])
        if least[0] > size[0] or least[1] > size[1]:
            raise ConfigurationError(
                f"the grid of codes has {least[0]} × {least[1]} places, more than an image of {size[0]} × {size[1]}.",
                f"take fewer:  latent.shape=[{latent_shape[0]}, {max(1, size[0] // 4)}, {max(1, size[1] // 4)}]",
            )
        limits = (2 * least[0] - 1, 2 * least[1] - 1)
    else:
        limits = (LONGEST_FLAT_SIDE, LONGEST_FLAT_SIDE)
    sizes = [size]
    while any(side > limit for side, limit in zip(sizes[-1], limits, strict=True)):
        (height, width) = sizes[-1]
        sizes.append(
            (height // 2 if height > limits[0] else height, width // 2 if width > limits[1] else width)
        )
    return sizes if len(sizes) > 1 else [size, size]


def _widths(filters: int, blocks: int, stages: int) -> list[int]:
    """Channels after each stage, from the image on."""
    in_range(least=1, filters=filters)
    in_range(blocks=blocks)
    return [filters * min(2**stage, MOST_WIDENING) for stage in range(stages)]


def _geometry(large: Size, small: Size) -> tuple[Size, Size]:
    """Kernel and stride of a stage: 4 and 2 where a side is halved, else 3 and 1."""
    strides = (1 + (large[0] != small[0]), 1 + (large[1] != small[1]))
    return (strides[0] + 2, strides[1] + 2), strides


def _down(inputs: int, outputs: int, large: Size, small: Size) -> nn.Conv2d:
    kernel, stride = _geometry(large, small)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=1)


def _up(inputs: int, outputs: int, small: Size, large: Size) -> nn.ConvTranspose2d:
    """The reverse of ``_down``: an odd side needs the row that halving dropped."""
    kernel, stride = _geometry(large, small)
    dropped = (large[0] - stride[0] * small[0], large[1] - stride[1] * small[1])
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding=1, output_padding=dropped)
