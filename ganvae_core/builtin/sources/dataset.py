"""Map-style datasets of torch: stacked once into memory, or read row by row where they do not fit."""

from __future__ import annotations

from typing import Any, cast, final

import numpy as np
from torch import Tensor

from ganvae_core.builtin.sources.describe import arranged, has_fixed_scaling, specify
from ganvae_core.builtin.sources.labels import Labels, encode_labels
from ganvae_core.builtin.sources.storage import allocate, fits_in_memory
from ganvae_core.builtin.sources.stored import StoredSource, with_labels
from ganvae_core.builtin.sources.summary import Summary
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec

_ROWS_AT_ONCE = 256
_WHERE = "the dataset"

Kind = tuple[tuple[int, ...], np.dtype]
"""Shape and type of an item."""


@final
class StackedDataset(StoredSource):
    """A dataset whose items were read once and lie in memory."""

    def __init__(
        self, x: np.ndarray, spec: DataSpec, labels: Labels | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(x, spec, labels, notes)


@final
class LazyDataset(Source):
    """A dataset that is larger than memory: an item is read whenever its row is asked for.

    A slice cannot be a view here: ``rows`` reads its items into a new array, which goes to a temporary file where
    it does not fit in memory.
    """

    def __init__(
        self, dataset: Any, kind: Kind, spec: DataSpec, labels: Labels | None, notes: tuple[str, ...]
    ) -> None:
        self._dataset = dataset
        self._kind = kind
        self._labels = labels
        self._spec = with_labels(spec, labels)
        self.notes = notes

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return self._spec.count

    def rows(self, indices: Indices) -> tuple[np.ndarray, np.ndarray | None]:
        wanted = np.arange(len(self))[indices]
        x = allocate((len(wanted), *self._spec.shape), self._spec.units.dtype)
        for position, index in enumerate(wanted.tolist()):
            item, _ = _item(self._dataset, index, self._kind)
            x[position] = arranged(item[None], _WHERE)[0]
        return x, None if self._labels is None else self._labels.indices[wanted]


def from_dataset(dataset: Any, labels: np.ndarray | None = None) -> Source:
    """A dataset whose items are x or (x, label); every item is read once, to learn what the data is.

    Args:
        dataset: with ``__len__`` and ``__getitem__``.
        labels: (N,) labels that take the place of the dataset's own.

    Raises:
        DataError: there is no item, they differ in shape or type, or a value is unfit.
    """
    count = len(dataset)
    if count == 0:
        raise DataError(f"{_WHERE} has no rows.")
    first, _ = _item(dataset, 0, None)
    kind = (first.shape, first.dtype)
    stacked = np.empty((count, *first.shape), first.dtype) if fits_in_memory(count * first.nbytes) else None
    chunk = np.empty((min(count, _ROWS_AT_ONCE), *first.shape), first.dtype)
    summary = None if has_fixed_scaling(arranged(first[None], _WHERE)) else Summary(_WHERE)
    found: list[Any] = []
    for start in range(0, count, _ROWS_AT_ONCE):
        stop = min(count, start + _ROWS_AT_ONCE)
        target = chunk[: stop - start] if stacked is None else stacked[start:stop]
        for index in range(start, stop):
            target[index - start], label = _item(dataset, index, kind)
            found.append(label)
        if summary is not None:
            summary.add(arranged(target, _WHERE))
    encoded = _encoded(found, labels, count)
    event = arranged(chunk, _WHERE).shape[1:]
    spec, notes = specify((count, *event), first.dtype, summary)
    if stacked is None:
        return LazyDataset(dataset, kind, spec, encoded, notes)
    return StackedDataset(arranged(stacked, _WHERE), spec, encoded, notes)


def _encoded(found: list[Any], labels: np.ndarray | None, count: int) -> Labels | None:
    if labels is not None:
        return encode_labels(labels, count, "labels=")
    if any(label is None for label in found):
        return None
    return encode_labels(np.asarray(found), count, _WHERE)


def _item(dataset: Any, index: int, kind: Kind | None) -> tuple[np.ndarray, Any]:
    """Item ``index`` as an array of the expected kind, and its label, or None."""
    item = dataset[index]
    label = None
    if isinstance(item, tuple | list):
        parts = cast("tuple[Any, ...] | list[Any]", item)
        if len(parts) not in (1, 2):
            raise DataError(f"item {index} of {_WHERE} has {len(parts)} parts; x or (x, label) is expected.")
        item, label = parts[0], _label(parts[1], index) if len(parts) == 2 else None
    x = _plain(item)
    if x.dtype.kind not in "biuf":
        raise DataError(f"item {index} of {_WHERE} is of type {type(item).__name__}; numbers are expected.")
    if kind is not None and (x.shape, x.dtype) != kind:
        raise DataError(
            f"item {index} of {_WHERE} is {x.dtype} of shape {x.shape},"
            f" and the first is {kind[1]} of shape {kind[0]}."
        )
    return x, label


def _label(value: Any, index: int) -> int | float | str | bytes | None:
    plain = value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        array = _plain(value)
        plain = array.item() if array.size == 1 else value
    if plain is None or isinstance(plain, int | float | str | bytes):
        return plain
    raise DataError(
        f"item {index} of {_WHERE} has a label of type {type(value).__name__}, and not an integer or a string.",
        "give labels apart:  as_source(dataset, labels=labels)",
    )


def _plain(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
