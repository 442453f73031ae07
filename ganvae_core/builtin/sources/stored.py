"""What sources whose rows lie in one array have in common."""

from __future__ import annotations

import abc
from dataclasses import replace

import numpy as np

from ganvae_core.builtin.sources.labels import Labels
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec


class StoredSource(Source):
    """Rows of one array, in memory or mapped; a slice of them is a view.

    Args:
        x: (N, *X) in the units and the type that ``spec`` tells.
        spec: what the rows are; labels add their classes to it.
        labels: one class a row.
        notes: what a person should know about the data.
    """

    @abc.abstractmethod
    def __init__(
        self, x: np.ndarray, spec: DataSpec, labels: Labels | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        self._x = x
        self._labels = labels
        self._spec = with_labels(spec, labels)
        self.notes = notes

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._x)

    def rows(self, indices: Indices) -> tuple[np.ndarray, np.ndarray | None]:
        return self._x[indices], None if self._labels is None else self._labels.indices[indices]


def with_labels(spec: DataSpec, labels: Labels | None) -> DataSpec:
    """The specification of labelled data."""
    if labels is None:
        return spec
    return replace(spec, condition=(len(labels.classes),), classes=labels.classes)
