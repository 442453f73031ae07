"""The networks that follow from the data: convolutional for images of 16 pixels and more, else fully connected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ganvae_core.builtin.networks import MLPCritic, MLPEncoder, MLPGenerator
from ganvae_core.builtin.resnet import ResNetCritic, ResNetEncoder, ResNetGenerator
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Critic, Encoder, Generator
from ganvae_core.types import DataSpec

SHORTEST_SIDE = 16
HIDDEN = (512, 512)
FILTERS = 32


def auto_generator(
    data: DataSpec,
    latent_shape: Sequence[int],
    raw_shape: Sequence[int],
    condition_shape: Sequence[int] | None = None,
    *,
    hidden: tuple[int, ...] | None = None,
    filters: int | None = None,
    blocks: int = 0,
) -> Generator:
    """``resnet`` for images whose sides have 16 pixels or more, else ``mlp``.

    Args:
        data: what the data is.
        latent_shape: *Z.
        raw_shape: *R of the observation.
        condition_shape: *K, or None for an unconditional model.
        hidden: widths of fully connected layers; given, these are taken for images too. Default: 512, 512.
        filters: channels next to the image of a convolutional network; given, it is one. Default: 32.
        blocks: residual blocks of each stage of a convolutional network.

    Raises:
        ConfigurationError: both hidden and filters are given, or an option does not go with the data.
    """
    if _convolves(data, hidden, filters) and len(raw_shape) == 3:
        return ResNetGenerator(
            latent_shape, raw_shape, condition_shape, filters=filters or FILTERS, blocks=blocks
        )
    return MLPGenerator(latent_shape, raw_shape, condition_shape, hidden=HIDDEN if hidden is None else hidden)


def auto_encoder(
    data: DataSpec,
    latent_shape: Sequence[int],
    condition_shape: Sequence[int] | None = None,
    *,
    hidden: tuple[int, ...] | None = None,
    filters: int | None = None,
    blocks: int = 0,
    posterior: Literal["normal", "dirac"] = "normal",
) -> Encoder:
    """``resnet`` for images whose sides have 16 pixels or more, else ``mlp``.

    Args:
        data: what the data is.
        latent_shape: *Z.
        condition_shape: *K, or None for an unconditional model.
        hidden: widths of fully connected layers; given, these are taken for images too. Default: 512, 512.
        filters: channels of the first layer of a convolutional network; given, it is one. Default: 32.
        blocks: residual blocks of each stage of a convolutional network.
        posterior: normal (a mean and a variance each) or dirac (one code, as in a plain autoencoder).

    Raises:
        ConfigurationError: both hidden and filters are given, or an option does not go with the data.
    """
    if _convolves(data, hidden, filters):
        return ResNetEncoder(
            data,
            latent_shape,
            condition_shape,
            filters=filters or FILTERS,
            blocks=blocks,
            posterior=posterior,
        )
    return MLPEncoder(
        data, latent_shape, condition_shape, hidden=HIDDEN if hidden is None else hidden, posterior=posterior
    )


def auto_critic(
    data: DataSpec,
    condition_shape: Sequence[int] | None = None,
    *,
    hidden: tuple[int, ...] | None = None,
    filters: int | None = None,
    blocks: int = 0,
    conditioning: Literal["concatenation", "projection"] = "concatenation",
) -> Critic:
    """``resnet`` for images whose sides have 16 pixels or more, else ``mlp``; neither normalises.

    Args:
        data: what the data is.
        condition_shape: *K, or None for an unconditional model.
        hidden: widths of fully connected layers; given, these are taken for images too. Default: 512, 512.
        filters: channels of the first layer of a convolutional network; given, it is one. Default: 32.
        blocks: residual blocks of each stage of a convolutional network.
        conditioning: concatenation (the condition goes in with the data) or projection (its inner product with the
            features; Miyato and Koyama 2018).

    Raises:
        ConfigurationError: both hidden and filters are given, or an option does not go with the data.
    """
    if _convolves(data, hidden, filters):
        return ResNetCritic(
            data, condition_shape, filters=filters or FILTERS, blocks=blocks, conditioning=conditioning
        )
    return MLPCritic(
        data, condition_shape, hidden=HIDDEN if hidden is None else hidden, conditioning=conditioning
    )


def _convolves(data: DataSpec, hidden: Sequence[int] | None, filters: int | None) -> bool:
    if hidden is not None and filters is not None:
        raise ConfigurationError(
            "hidden is an option of fully connected networks, and filters of convolutional ones: give one of them.",
            "or name the network:  generator=mlp  or  generator=resnet",
        )
    if filters is not None:
        return True
    return hidden is None and data.modality == "image" and min(data.shape[1:], default=0) >= SHORTEST_SIDE
