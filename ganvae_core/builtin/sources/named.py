"""Data sets that are known by name: downloaded once, then read from the user's cache."""

from __future__ import annotations

import abc
from typing import final

import numpy as np

from ganvae_core.builtin.sources.cifar import read_batches
from ganvae_core.builtin.sources.describe import describe
from ganvae_core.builtin.sources.downloads import fetch
from ganvae_core.builtin.sources.idx import read_idx
from ganvae_core.builtin.sources.labels import Labels
from ganvae_core.builtin.sources.published import (
    CIFAR10,
    FASHION_MNIST,
    KMNIST,
    MNIST,
    Collection,
    Part,
)
from ganvae_core.builtin.sources.stored import StoredSource
from ganvae_core.errors import DataError
from ganvae_core.types import DataSpec

CIFAR10_BATCHES: dict[Part, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
CIFAR10_BATCH_RECORDS = 10_000


class NamedSource(StoredSource):
    """Labelled images of a published data set, in memory as bytes.

    Args:
        part: which of the published parts; rows to hold out are taken from it
        mirror: a folder, or the address of one on a server, to get the files from in place of the published ones
    """

    @abc.abstractmethod
    def __init__(self, x: np.ndarray, spec: DataSpec, labels: Labels) -> None:
        super().__init__(x, spec, labels)


@final
class Mnist(NamedSource):
    """MNIST: 60,000 + 10,000 handwritten digits of 28 × 28 pixels, grey.

    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998).
    """

    def __init__(self, *, part: Part = "train", mirror: str | None = None) -> None:
        super().__init__(*idx_images(MNIST, part, mirror))


@final
class FashionMnist(NamedSource):
    """Fashion-MNIST: 60,000 + 10,000 pictures of clothes of 28 × 28 pixels, grey.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms"
    (2017).
    """

    def __init__(self, *, part: Part = "train", mirror: str | None = None) -> None:
        super().__init__(*idx_images(FASHION_MNIST, part, mirror))


@final
class Kmnist(NamedSource):
    """Kuzushiji-MNIST: 60,000 + 10,000 handwritten hiragana of 28 × 28 pixels, grey.

    Clanuwat et al., "Deep Learning for Classical Japanese Literature" (2018); published under CC BY-SA 4.0.
    """

    def __init__(self, *, part: Part = "train", mirror: str | None = None) -> None:
        super().__init__(*idx_images(KMNIST, part, mirror))


@final
class Cifar10(NamedSource):
    """CIFAR-10: 50,000 + 10,000 photographs of 32 × 32 pixels, in colour.

    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """

    def __init__(self, *, part: Part = "train", mirror: str | None = None) -> None:
        super().__init__(*cifar_images(CIFAR10, part, mirror, CIFAR10_BATCH_RECORDS))


def idx_images(collection: Collection, part: Part, mirror: str | None) -> tuple[np.ndarray, DataSpec, Labels]:
    """Images (N, 1, H, W) and labels of a data set whose parts are two IDX files.

    Raises:
        DataError: a file cannot be had, or is damaged; or the labels do not match.
    """
    images, labels = fetch(collection, part, mirror)
    described = describe(read_idx(images), f"'{images}'")
    return described.x, described.spec, named_labels(read_idx(labels), collection, len(described.x))


def cifar_images(
    collection: Collection, part: Part, mirror: str | None, records: int
) -> tuple[np.ndarray, DataSpec, Labels]:
    """Images (N, 3, 32, 32) and labels of a data set in CIFAR-10's binary format.

    Args:
        collection: whose parts are one and the same archive.
        part: which batches of it.
        mirror: where to get it in place of the published addresses.
        records: in each batch.

    Raises:
        DataError: the archive cannot be had, or is damaged; or a label is of no class.
    """
    (archive,) = fetch(collection, part, mirror)
    x, labels = read_batches(archive, CIFAR10_BATCHES[part], records)
    return x, describe(x, f"'{archive}'").spec, named_labels(labels, collection, len(x))


def named_labels(values: np.ndarray, collection: Collection, count: int) -> Labels:
    """Labels (N,) of 0, 1, 2, … with the names of their classes.

    Raises:
        DataError: there is not one for each row, or one is of no class.
    """
    if values.shape != (count,):
        raise DataError(
            f"labels do not match: '{collection.name}' has labels of shape {values.shape} for {count:,} rows."
        )
    if values.max() >= len(collection.classes):
        raise DataError(
            f"labels do not match: '{collection.name}' has {len(collection.classes)} classes,"
            f" and the label {values.max()}."
        )
    return Labels(values.astype(np.int64), collection.classes)
