"""Convolutional networks for images of any size from 8 to 128 (DCGAN, Radford et al. 2015).

Each stage halves the sides, rounded down, until none is over five and there are two stages: 28 -> 14 -> 7 -> 3,
8 -> 4 -> 2. (With a single stage the critic of tiny images sees no shape.) A side that is small already keeps its
length while the other goes on, so height and width are independent and may be odd. The generator runs the same
stages backwards, and so meets every size exactly.

With fewer ``stages`` and a ``dense`` layer they have the shape of InfoGAN's networks for MNIST (Chen et al. 2016): two
stages of 64 and 128 filters, and 1,024 units between them and everything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, final

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

SMALLEST_SIDE, LARGEST_SIDE, MOST_CHANNELS = 8, 128, 4
LARGEST_LAST_SIDE = 5
FEWEST_STAGES = 2
Size = tuple[int, int]

_OTHERS = (
    "take networks for data of any shape:  generator=mlp critic=mlp  (and encoder=mlp, where there is one)"
)


@final
class DCGANGenerator(Generator):
    """A projection of the code, then transposed convolutions with batch norm and ReLU.

    Args:
        latent_shape: *Z; flattened.
        raw_shape: (channels, height, width), what the observation asks for.
        condition_shape: *K, or None for an unconditional model; appended to the code.
        filters: channels next to the image; doubled with each stage away from it, up to eightfold.
        stages: how often the sides are doubled; by default from sides of at most five.
        dense: units of a fully connected layer between the code and the projection; 0 for none.

    Raises:
        ConfigurationError: no image of 1 to 4 channels and sides from 8 to 128, or an option is not possible for it.
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        raw_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 64,
        stages: int | None = None,
        dense: int = 0,
    ) -> None:
        super().__init__()
        channels, *size = _image_shape(raw_shape, "generator")
        sizes = _sizes((size[0], size[1]), stages)
        widths = [channels, *_widths(filters, len(sizes) - 1)]
        self.first_shape = (widths[-1], *sizes[-1])
        self.inputs = Inputs((_latent_size(latent_shape),), condition_shape)
        self.dense, inputs = _dense_layer(self.inputs.size, dense, nn.ReLU(inplace=True))
        self.project = nn.Linear(inputs, math.prod(self.first_shape), bias=False)
        self.layers = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
        for stage in reversed(range(len(sizes) - 1)):
            is_last = stage == 0
            self.layers.append(
                _up(widths[stage + 1], widths[stage], sizes[stage + 1], sizes[stage], bias=is_last)
            )
            if not is_last:
                self.layers.extend([nn.BatchNorm2d(widths[stage]), nn.ReLU(inplace=True)])
        self.apply(_initialise)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        projected = self.project(self.dense(self.inputs(z, condition)))
        return self.layers(projected.reshape(z.shape[0], *self.first_shape))


class _Trunk(nn.Module):
    """What critic and encoder share: strided convolutions of an image, centred to [-1, 1], to (B, F)."""

    def __init__(
        self,
        data: DataSpec,
        condition_shape: Sequence[int] | None,
        kind: Literal["critic", "encoder"],
        *,
        filters: int,
        stages: int | None,
        dense: int,
        batch_norm: bool = True,
        ignores_condition: bool = False,
    ) -> None:
        super().__init__()
        channels, *size = _image_shape(data.shape, kind)
        sizes = _sizes((size[0], size[1]), stages)
        self.range = data.range
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.appends = condition_shape is not None and not ignores_condition
        planes = math.prod(condition_shape or ()) if self.appends else 0
        widths = [channels + planes, *_widths(filters, len(sizes) - 1)]
        self.layers = nn.Sequential()
        for stage in range(len(sizes) - 1):
            normalised = batch_norm and stage > 0
            self.layers.append(
                _down(widths[stage], widths[stage + 1], sizes[stage], sizes[stage + 1], bias=not normalised)
            )
            if normalised:
                self.layers.append(nn.BatchNorm2d(widths[stage + 1]))
            self.layers.append(nn.LeakyReLU(0.2, inplace=True))
        flat = widths[-1] * math.prod(sizes[-1])
        self.dense, self.feature_size = _dense_layer(
            flat, dense, nn.LeakyReLU(0.2, inplace=True), batch_norm=batch_norm
        )

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        check_condition(condition, self.condition_shape)
        x = with_channels(centred(x, self.range), condition if self.appends else None)
        return self.dense(self.layers(x).flatten(1))


@final
class DCGANCritic(FeatureCritic):
    """Strided convolutions with batch norm and leaky ReLU, then one logit.

    Args:
        data: what the data is: images.
        condition_shape: *K, or None for an unconditional model.
        filters: channels of the first layer; doubled with each stage, up to eightfold.
        stages: how often the sides are halved; by default until none is over five.
        dense: units of a fully connected layer after the stages; 0 for none.
        batch_norm: normalise all layers but the first; turn it off for gradient penalties, which it spoils.
        conditioning: concatenation (constant planes beside the image) or projection (its inner
            product with the features; Miyato and Koyama 2018).

    Raises:
        ConfigurationError: no images with sides from 8 to 128, or an option is not possible for them. There is no limit
            to the channels: a pack of images has those of all of them.
    """

    def __init__(
        self,
        data: DataSpec,
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 64,
        stages: int | None = None,
        dense: int = 0,
        batch_norm: bool = True,
        conditioning: Literal["concatenation", "projection"] = "concatenation",
    ) -> None:
        super().__init__()
        if conditioning not in ("concatenation", "projection"):
            raise ConfigurationError(
                f"conditioning cannot be '{conditioning}'.", "it is one of: concatenation, projection"
            )
        projects = conditioning == "projection"
        self.trunk = _Trunk(
            data,
            condition_shape,
            "critic",
            filters=filters,
            stages=stages,
            dense=dense,
            batch_norm=batch_norm,
            ignores_condition=projects,
        )
        self.feature_size = self.trunk.feature_size
        self.head = CriticHead(self.feature_size, condition_shape if projects else None)
        self.apply(_initialise)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.trunk(x, condition)


@final
class DCGANEncoder(Encoder):
    """The mirror of the generator: the critic's convolutions, then a posterior over codes.

    Args:
        data: what the data is: images.
        latent_shape: *Z.
        condition_shape: *K, or None for an unconditional model; given to the first layer as constant planes.
        filters: channels of the first layer; doubled with each stage, up to eightfold.
        stages: how often the sides are halved; by default until none is over five.
        dense: units of a fully connected layer after the stages; 0 for none.
        posterior: normal (a mean and a variance each) or dirac (one code, as in a plain autoencoder).

    Raises:
        ConfigurationError: no images of 1 to 4 channels and sides from 8 to 128, or an option is wrong.
    """

    def __init__(
        self,
        data: DataSpec,
        latent_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 64,
        stages: int | None = None,
        dense: int = 0,
        posterior: Literal["normal", "dirac"] = "normal",
    ) -> None:
        super().__init__()
        if posterior not in ("normal", "dirac"):
            raise ConfigurationError(f"posterior cannot be '{posterior}'.", "it is one of: normal, dirac")
        self.deterministic = posterior == "dirac"
        self.latent_shape = tuple(latent_shape)
        self.trunk = _Trunk(data, condition_shape, "encoder", filters=filters, stages=stages, dense=dense)
        outputs = _latent_size(latent_shape) * (1 if self.deterministic else 2)
        self.head = nn.Linear(self.trunk.feature_size, outputs)
        self.apply(_initialise)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal | Dirac:
        parameters = self.head(self.trunk(x, condition))
        return posterior_of(parameters, self.latent_shape, deterministic=self.deterministic)


def _image_shape(shape: Sequence[int], kind: str) -> tuple[int, int, int]:
    """(channels, height, width), or an error that says what these networks can take."""
    if len(shape) != 3:
        raise ConfigurationError(
            f"dcgan networks are for images, and this data has shape {tuple(shape)}.", _OTHERS
        )
    channels, height, width = shape
    if kind != "critic" and not 1 <= channels <= MOST_CHANNELS:  # a critic may judge packs of images
        raise ConfigurationError(
            f"dcgan networks take images of 1 to {MOST_CHANNELS} channels, and these have {channels}.",
            _OTHERS,
        )
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width)):
        raise ConfigurationError(
            f"dcgan networks take images with sides from {SMALLEST_SIDE} to {LARGEST_SIDE}, "
            f"and these are {height} × {width}.",
            _OTHERS,
            "or, where they come from a folder, resize them:  data.resize=64",
        )
    return channels, height, width


def _latent_size(shape: Sequence[int]) -> int:
    if any(side < 1 for side in shape):
        raise ConfigurationError(f"the latent shape must be positive whole numbers, not {list(shape)}.")
    return math.prod(shape)


def _dense_layer(
    inputs: int, units: int, activation: nn.Module, *, batch_norm: bool = True
) -> tuple[nn.Module, int]:
    """A fully connected layer of so many units, and the size of its output; without units, nothing."""
    if units < 0:
        raise ConfigurationError(f"dense must be a whole number of units, or 0 for none, not {units}.")
    if units == 0:
        return nn.Identity(), inputs
    norm = [nn.BatchNorm1d(units)] if batch_norm else []
    return nn.Sequential(nn.Linear(inputs, units, bias=not batch_norm), *norm, activation), units


def _sizes(size: Size, stages: int | None) -> list[Size]:
    """(height, width) of the image and after each stage: as many as are asked for, or as there can be."""
    sizes = _all_sizes(size)
    most = len(sizes) - 1
    if stages is not None and not 1 <= stages <= most:
        raise ConfigurationError(f"stages: images of {size[0]} × {size[1]} have 1 to {most}, not {stages}.")
    return sizes if stages is None else sizes[: stages + 1]


def _all_sizes(size: Size) -> list[Size]:
    sizes = [size]
    while max(sizes[-1]) > LARGEST_LAST_SIDE or len(sizes) <= FEWEST_STAGES:
        height, width = sizes[-1]
        # Only images of up to eleven pixels get here with sides of five or less, and then both are halved again.
        longest_kept = min(LARGEST_LAST_SIDE, max(height, width) - 1)
        sizes.append((_halved(height, longest_kept), _halved(width, longest_kept)))
    return sizes


def _halved(side: int, longest_kept: int) -> int:
    return side // 2 if side > longest_kept else side


def _widths(filters: int, stages: int) -> list[int]:
    """Channels after each stage, from the image on."""
    if filters < 1:
        raise ConfigurationError(f"filters must be a positive whole number, not {filters}.")
    return [filters * min(2**stage, 8) for stage in range(stages)]


def _geometry(large: Size, small: Size) -> tuple[Size, Size]:
    """Kernel and stride of a stage: 4 and 2 where a side is halved, else 3 and 1."""
    strides = [2 if before != after else 1 for before, after in zip(large, small, strict=True)]
    return (strides[0] + 2, strides[1] + 2), (strides[0], strides[1])


def _down(inputs: int, outputs: int, large: Size, small: Size, *, bias: bool) -> nn.Conv2d:
    kernel, stride = _geometry(large, small)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=bias)


def _up(inputs: int, outputs: int, small: Size, large: Size, *, bias: bool) -> nn.ConvTranspose2d:
    """The reverse of ``_down``: an odd side needs the row that halving dropped."""
    kernel, stride = _geometry(large, small)
    dropped = (large[0] - stride[0] * small[0], large[1] - stride[1] * small[1])
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding=1, output_padding=dropped, bias=bias)


def _initialise(module: nn.Module) -> None:
    """Weights N(0, 0.02), scales of batch norms N(1, 0.02), no offsets (Radford et al. 2015)."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
