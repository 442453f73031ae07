"""Sources whose rows lie in one array, and labels of any values as numbers of classes."""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ganvae_core.builtin.sources.describe import Description
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec, Rows


@dataclass(frozen=True)
class Labels:
    """One class a row.

    Args:
        indices: (N,) int64, positions in ``classes``.
        classes: names of the classes.
    """

    indices: np.ndarray
    classes: tuple[str, ...]


class StoredSource(Source):
    """Rows of one array, in memory or mapped; a slice of them is a view.

    Args:
        described: the rows (N, *X) and their specification; labels add their classes to it.
        labels: one class a row.
        notes: sentences for users, before the notes of the description.
    """

    @abc.abstractmethod
    def __init__(
        self, described: Description, labels: Labels | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        self._x = described.x
        self._labels = labels
        self._spec = described.spec
        if labels is not None:
            self._spec = replace(self._spec, condition=(len(labels.classes),), classes=labels.classes)
        self.notes = (*notes, *described.notes)

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._x)

    def rows(self, indices: Indices) -> Rows:
        return Rows(self._x[indices], self.labels(indices))

    def labels(self, indices: Indices | None = None) -> np.ndarray | None:
        if self._labels is None:
            return None
        return self._labels.indices if indices is None else self._labels.indices[indices]


@final
class InMemory(StoredSource):
    """An array in memory, which is not copied, or a data set that was read into one."""

    def __init__(self, described: Description, labels: Labels | None = None) -> None:
        super().__init__(described, labels)


def encode_labels(values: np.ndarray, count: int, where: str) -> Labels:
    """Integers or strings (N,) or (N, 1) as classes, which are sorted by value.

    Args:
        values: the labels.
        count: number of rows that they are for.
        where: what the labels are called in an error.

    Raises:
        DataError: their number is not ``count``, or they are neither integers nor strings.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"labels do not match: {where} has shape {values.shape}, and one label a row is expected."
        )
    if len(values) != count:
        raise DataError(f"labels do not match: {where} has {len(values):,} labels for {count:,} rows.")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.rint(values))
        if not whole.all():
            raise DataError(f"labels must be integers or strings; {where} has {values[~whole][0]:g}.")
        values = values.astype(np.int64)
    if values.dtype.kind not in "iubU":
        raise DataError(
            f"labels must be integers or strings; {where} has values of type {values.dtype.name}."
        )
    classes, indices = np.unique(values, return_inverse=True)
    return Labels(indices.astype(np.int64, copy=False), tuple(str(name) for name in classes))
