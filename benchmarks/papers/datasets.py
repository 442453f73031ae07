"""The data of the figures: what the library names; MNIST and CIFAR-10 from the folder that the environment names."""

from __future__ import annotations

import functools
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ganvae_core import ConfigurationError, DataError, Source, as_source
from ganvae_core.builtin.sources.idx import read_idx
from ganvae_core.config.build import open_data
from ganvae_core.config.configuration import IN_MEMORY
from ganvae_core.plugins import installed_plugins

DATA_DIR = "GANVAE_DATA_DIR"
MNIST_SIDE = 28
CIFAR = "cifar10-jpg-test.tar.gz"
OF_MNIST = ("side", "binarised", "draws")
Part = Literal["train", "test"]


def settings_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """A figure's data as the library's settings; nothing is read.

    ``{name: mnist, side: 32}`` is MNIST with a border of zeros, which ``in_memory`` reads, and with ``binarised: true``
    it is black and white, in as many draws as ``draws`` says, one after the other; ``mnist`` within another source's
    options is the file of images, where the environment names its folder. ``cifar10`` is CIFAR-10's test images, which
    ``in_memory`` reads too. Anything else is the library's own.
    """
    if _is_mnist(data) or _is_cifar(data):
        return {**{key: value for key, value in data.items() if key not in OF_MNIST}, "name": IN_MEMORY}
    return {key: _with_path(value) if key == "source" else value for key, value in data.items()}


def in_memory(data: Mapping[str, Any]) -> Source | None:
    """A figure's data where it lies in memory, or None where its settings say all.

    Raises:
        DataError: it cannot be read.
    """
    if _is_mnist(data):
        return _mnist_source("train", data)
    return _cifar() if _is_cifar(data) else None


def test_source(data: Mapping[str, Any]) -> Source:
    """MNIST's test images, as a figure's data has its training images.

    Raises:
        ConfigurationError: the data is not MNIST.
        DataError: it cannot be read.
    """
    if not _is_mnist(data):
        raise ConfigurationError("measures: MNIST's test images are measured, and this row has other data.")
    return _mnist_source("test", {**data, "draws": 1})


def real_source(data: Mapping[str, Any]) -> Source:
    """A figure's data, opened.

    Raises:
        ConfigurationError, DataError: there is no such source, or it cannot be read.
    """
    return in_memory(data) or open_data(installed_plugins(), {"data": settings_of(data)})[1].source


@functools.cache
def mnist(part: Part = "train") -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 28, 28) uint8 and labels (N,): from the folder that GANVAE_DATA_DIR names, else downloaded.

    Raises:
        DataError: they cannot be read.
    """
    folder = os.environ.get(DATA_DIR)
    if folder:
        stem = "train" if part == "train" else "t10k"
        images = read_idx(_file(folder, f"{stem}-images-idx3-ubyte.gz"))
        return images[:, None], read_idx(_file(folder, f"{stem}-labels-idx1-ubyte.gz")).astype(np.int64)
    _, data = open_data(installed_plugins(), {"data": {"name": "mnist", "part": part}})
    rows = data.source.rows(slice(None))
    assert rows.labels is not None
    return rows.x, rows.labels.astype(np.int64)


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """(N, C, H, H) -> (N, C, side, side): the middle, or the images with a border of zeros around them."""
    border = (side - images.shape[-1]) // 2
    if border >= 0:
        return np.pad(images, ((0, 0), (0, 0), (border, border), (border, border)))
    return images[..., -border:border, -border:border]


def binarised(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Images of 0 and 255 that are drawn once, each pixel white with a probability of its value over 255.

    Such a fixed draw is the protocol of statically binarised MNIST. It is not the draw of Larochelle and Murray (2011).
    """
    drawn = np.random.default_rng(seed).random(images.shape, np.float32) * 255
    return np.where(drawn < images, 255, 0).astype(np.uint8)


def _mnist_source(part: Part, data: Mapping[str, Any]) -> Source:
    return _drawn_mnist(
        part,
        int(data.get("side", MNIST_SIDE)),
        int(data.get("draws", 1)) if data.get("binarised", False) else 0,
    )


@functools.cache
def _drawn_mnist(part: Part, side: int, draws: int) -> Source:
    """MNIST as it is, or as many draws of it in black and white, one after the other."""
    images, labels = mnist(part)
    images = resized(images, side)
    if draws:
        seeds = [int(part == "test"), *range(2, draws + 1)]
        images = np.concatenate([binarised(images, seed) for seed in seeds])
        labels = np.tile(labels, draws)
    return as_source(images, labels)


@functools.cache
def _cifar() -> Source:
    """CIFAR-10's 10,000 test images: from the archive of JPEGs in the folder, where it is there, else downloaded."""
    archive = Path(os.environ.get(DATA_DIR, "")) / CIFAR
    if archive.is_file():
        with tarfile.open(archive) as packed:
            found = {
                member.name: np.asarray(Image.open(packed.extractfile(member)))  # pyright: ignore[reportArgumentType]
                for member in packed
                if member.isfile()
            }
        return as_source(np.stack([found[name] for name in sorted(found)]).transpose(0, 3, 1, 2))
    _, data = open_data(installed_plugins(), {"data": {"name": "cifar10", "part": "test"}})
    return as_source(data.source.rows(slice(None)).x)


def _is_cifar(data: Mapping[str, Any]) -> bool:
    return data.get("name") == "cifar10"


def _is_mnist(data: Mapping[str, Any]) -> bool:
    return data.get("name") == "mnist"


def _with_path(source: Any) -> Any:
    folder = os.environ.get(DATA_DIR)
    if source != "mnist" or not folder:
        return source
    return {"name": "idx", "path": str(_file(folder, "train-images-idx3-ubyte.gz"))}


def _file(folder: str, name: str) -> Path:
    file = Path(folder) / "mnist" / name
    if not file.is_file():
        raise DataError(f"there is no file '{file}'.", f"{DATA_DIR} names a folder that holds mnist/{name}",
                        f"or unset {DATA_DIR}, and MNIST is downloaded")  # fmt: skip
    return file
