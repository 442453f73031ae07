"""Small random data of each kind, on which components are tried."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.randomness import mixed_seed, purpose
from ganvae_core.data.randomness import seeded as seeded_on
from ganvae_core.data.split import Split, split
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec, Field, Rows, Units

KIT = purpose("the conformance kit")
ROWS = 48
LABELS = ("a", "b", "c")


def numbers(names: str) -> tuple[Field, ...]:
    """A field of numbers for each letter."""
    return tuple(Field(name, start=position) for position, name in enumerate(names))


IMAGE = DataSpec((1, 8, 8), (0.0, 1.0), "image", None, ROWS)
COLOUR = DataSpec((3, 8, 8), (0.0, 1.0), "image", (len(LABELS),), ROWS, classes=LABELS)
POINTS = DataSpec((2,), None, "points", None, ROWS, numbers("xy"))
TABLE = DataSpec((5,), None, "table", (len(LABELS),), ROWS, numbers("vwxyz"), LABELS)
USUAL = {"an image": IMAGE, "a labelled colour image": COLOUR, "points": POINTS, "a labelled table": TABLE}
LARGER = {
    "a larger image": replace(IMAGE, shape=(1, 28, 28)),
    "a larger colour image": replace(IMAGE, shape=(3, 32, 32)),
    "a large colour image": replace(IMAGE, shape=(3, 64, 64)),
    "a signal": DataSpec((1, 64), (-1.0, 1.0), "array", None, ROWS),
    "a long signal": DataSpec((1, 1024), (-1.0, 1.0), "array", None, ROWS),
    "a volume": DataSpec((1, 8, 8, 8), (0.0, 1.0), "array", None, ROWS),
}
"""What is tried where nothing usual is accepted."""

GREY = DataSpec((1, 28, 28), (0.0, 1.0), "image", (10,), ROWS, classes=tuple("0123456789"))
DOWNLOADED = {
    **dict.fromkeys(("builtin/mnist", "builtin/fashion-mnist", "builtin/kmnist"), GREY),
    "builtin/cifar10": replace(GREY, shape=(3, 32, 32)),
}
"""Random rows like these stand in for data that would have to be downloaded."""


@contextmanager
def seeded(seed: int = 0) -> Generator[int]:
    """A stretch in which torch's default generator of the CPU starts from a seed, which is given."""
    mixed = mixed_seed(KIT, seed)
    with seeded_on(torch.device("cpu"), mixed):
        yield mixed


class RandomRows(Source):
    """Random rows of any specification.

    Args:
        spec: what they are like.
        count: number of rows; by default as many as the specification says.
    """

    def __init__(self, spec: DataSpec, count: int | None = None) -> None:
        self._spec = spec = replace(spec, count=count or spec.count or ROWS)
        random, size = np.random.default_rng(0), (spec.count, *spec.shape)
        drawn = random.normal(size=size) if spec.range is None else random.uniform(*spec.range, size=size)
        self._x = drawn.astype(np.float32)
        self._condition: np.ndarray | None = None
        if spec.classes is not None:
            self._condition = np.arange(len(self._x)) % len(spec.classes)
        elif spec.condition is not None:
            self._condition = random.normal(size=(len(self._x), *spec.condition)).astype(np.float32)

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._x)

    def rows(self, indices: Indices) -> Rows:
        return Rows(self._x[indices], self.labels(indices))

    def labels(self, indices: Indices | None = None) -> np.ndarray | None:
        return self._condition if self._condition is None or indices is None else self._condition[indices]


def x_of(data: DataSpec, rows: int) -> Tensor:
    """(rows, *X) random values within the data's range."""
    return torch.from_numpy(RandomRows(data, rows).rows(slice(None)).x)


def condition_of(data: DataSpec, rows: int) -> Tensor | None:
    """(rows, *K) one-hot labels, or random numbers where the condition is no label; None without one."""
    labels = None if data.condition is None else RandomRows(data, rows).labels()
    if labels is None:
        return None
    values = torch.from_numpy(labels)
    return torch.eye(len(data.classes))[values] if data.classes else values


def split_of(data: DataSpec, rows: int = ROWS) -> Split:
    """Random rows like the data, none of them held out."""
    return split(RandomRows(data, rows), held_out=0.0, conditional=data.condition is not None)


def in_model_units(spec: DataSpec) -> DataSpec:
    """The specification of a few random rows that are like those of a source, and need no scaling."""
    return replace(spec, count=ROWS, units=Units())
