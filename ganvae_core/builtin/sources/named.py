"""Data sets by name: downloaded once, then read from the user's cache."""

from __future__ import annotations

import abc
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import final

import numpy as np

from ganvae_core.builtin.sources.describe import describe
from ganvae_core.builtin.sources.downloads import Collection, Part, fetch
from ganvae_core.builtin.sources.idx import read_idx
from ganvae_core.builtin.sources.stored import Labels, StoredSource

RECORD_BYTES = 1 + 3 * 32 * 32
"""The label, then the red, the green and the blue plane, each row by row (cs.toronto.edu/~kriz/cifar.html)."""

_IDX_FILES: dict[Part, Sequence[str]] = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}

# The hashes are those of tensorflow-datasets' url_checksums; torchvision's prototype data sets have the same ones.
# Those of MNIST's contents were computed from its images, and are published elsewhere for the unpacked files.
# yann.lecun.com, where MNIST came from, often refuses downloads: torchvision and tensorflow-datasets use one each of
# the mirrors here.
MNIST = Collection(
    "mnist",
    ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
    _IDX_FILES,
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    tuple("0123456789"),
    {
        "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

FASHION_MNIST = Collection(
    "fashion-mnist",
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
    _IDX_FILES,
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
)

KMNIST = Collection(
    "kmnist",
    ("https://codh.rois.ac.jp/kmnist/dataset/kmnist",),
    _IDX_FILES,
    {
        "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    },
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)

# Both addresses are the authors' own, and the first is the older one. The hash is tensorflow-datasets', too.
CIFAR10 = Collection(
    "cifar10",
    ("https://www.cs.toronto.edu/~kriz", "https://cave.cs.toronto.edu/kriz"),
    {"train": ("cifar-10-binary.tar.gz",), "test": ("cifar-10-binary.tar.gz",)},
    {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

CIFAR10_BATCHES: dict[Part, Sequence[str]] = {
    "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["test_batch.bin"],
}


class NamedSource(StoredSource):
    """Labelled images of a published data set, in memory as bytes.

    Args:
        part: which of the published parts; rows to hold out are taken from it
        mirror: a folder, or the address of one on a server, to get the files from in place of the published ones
    """

    @abc.abstractmethod
    def __init__(self, collection: Collection, x: np.ndarray, labels: np.ndarray) -> None:
        described = describe(x, f"'{collection.name}'")
        super().__init__(*described, labels=Labels(labels.astype(np.int64), collection.classes))


@final
class Mnist(NamedSource):
    """MNIST: 60,000 + 10,000 handwritten digits of 28 × 28 pixels, grey.

    LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998).
    """

    def __init__(self, *, part: Part = "train", mirror: str | None = None) -> None:
        super().__init__(MNIST, *map(read_idx, fetch(MNIST, part, mirror)))


@final
class FashionMnist(NamedSource):
    """Fashion-MNIST: 60,000 + 10,000 pictures of clothes of 28 × 28 pixels, grey.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms"
    (2017).
    """

    def __init__(self, *, part: Part = "train", mirror: str | None = None) -> None:
        super().__init__(FASHION_MNIST, *map(read_idx, fetch(FASHION_MNIST, part, mirror)))


@final
class Kmnist(NamedSource):
    """Kuzushiji-MNIST: 60,000 + 10,000 handwritten hiragana of 28 × 28 pixels, grey.

    Clanuwat et al., "Deep Learning for Classical Japanese Literature" (2018); published under CC BY-SA 4.0.
    """

    def __init__(self, *, part: Part = "train", mirror: str | None = None) -> None:
        super().__init__(KMNIST, *map(read_idx, fetch(KMNIST, part, mirror)))


@final
class Cifar10(NamedSource):
    """CIFAR-10: 50,000 + 10,000 photographs of 32 × 32 pixels, in colour.

    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """

    def __init__(self, *, part: Part = "train", mirror: str | None = None) -> None:
        (archive,) = fetch(CIFAR10, part, mirror)
        super().__init__(CIFAR10, *read_batches(archive, CIFAR10_BATCHES[part]))


def read_batches(archive: Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,), both uint8, of the named batches in CIFAR-10's binary archive.

    Args:
        archive: a gzipped tar file, whose hash has been verified.
        names: of the members with the batches, in the order of their rows.
    """
    records: dict[str, np.ndarray] = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            name, stream = PurePosixPath(member.name).name, tar.extractfile(member)
            if name in names and stream is not None:
                records[name] = np.frombuffer(stream.read(), np.uint8).reshape(-1, RECORD_BYTES)
    x = np.concatenate([records[name][:, 1:] for name in names])
    return x.reshape(-1, 3, 32, 32), np.concatenate([records[name][:, 0] for name in names])
