"""Sources whose rows lie in one array, and labels of any values as numbers of classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ganvae_core.builtin.sources.storage import Joined
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec, Rows


@dataclass(frozen=True)
class Labels:
    """One class a row.

    Args:
        indices: (N,) int64, positions in ``classes``.
        classes: names of the classes.
        type: what they are in the source: ``text``, ``int`` or ``bool``.
    """

    indices: np.ndarray
    classes: tuple[str, ...]
    type: str = "text"


class StoredSource(Source):
    """Rows of one array, in memory or mapped; a slice of them is a view. It is used as it is, or as a base whose
    constructor reads the array; its methods are final.

    Args:
        x: (N, *X), which is not copied.
        spec: what they are.
        notes: sentences for users.
        why: what was decided about the values, why, and which option decides otherwise.
        observed: (N, *X) bool, false where a value is missing.
        labels: one class a row, whose classes are added to the specification; or (N,) numbers of its classes, or
            (N, *K) conditions.
        groups: (N,) numbers of rows that are held out together.
    """

    def __init__(
        self,
        x: np.ndarray | Joined,
        spec: DataSpec,
        notes: tuple[str, ...] = (),
        why: str = "",
        observed: np.ndarray | None = None,
        *,
        labels: Labels | np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> None:
        self._x, self._observed, self.notes, self.why, self.groups = x, observed, notes, why, groups
        self._labels = labels.indices if isinstance(labels, Labels) else labels
        self._spec = labelled(spec, labels) if isinstance(labels, Labels) else spec

    @property
    @final
    def spec(self) -> DataSpec:
        return self._spec

    @final
    def __len__(self) -> int:
        return len(self._x)

    @final
    def rows(self, indices: Indices) -> Rows:
        observed = None if self._observed is None else self._observed[indices]
        return Rows(self._x[indices], self.labels(indices), observed)

    @final
    def labels(self, indices: Indices | None = None) -> np.ndarray | None:
        return self._labels if self._labels is None or indices is None else self._labels[indices]


def labelled(spec: DataSpec, labels: Labels) -> DataSpec:
    """A specification with the classes of labels."""
    classes = labels.classes
    return replace(spec, condition=(len(classes),), classes=classes, class_type=labels.type)


def encode_labels(values: np.ndarray, count: int, where: str) -> Labels:
    """Integers, strings or booleans (N,) or (N, 1) as classes, which are sorted by value and keep their type.

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
    if values.dtype.kind in "OT" and all(isinstance(value, str) for value in values):
        values = values.astype(str)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.rint(values))
        if not whole.all():
            raise DataError(
                f"labels must be integers or strings; {where} has {values[~whole][0]:g}.",
                "numbers can be a condition as columns of a table:  --data FILE.csv data.condition=[COLUMN]",
                "or, with other rows such as images, in Python:"
                "  gv.StoredSource(x, gv.DataSpec(x.shape[1:], condition=(1,)), labels=numbers[:, None])",
            )
        values = values.astype(np.int64)
    if values.dtype.kind not in "iubU":
        raise DataError(
            f"labels must be integers or strings; {where} has values of type {values.dtype.name}.",
            "make them text:  labels.astype(str)" if values.dtype.kind in "OmM" else "",
        )
    classes, indices = np.unique(values, return_inverse=True)
    kind = {"b": "bool", "U": "text"}.get(values.dtype.kind, "int")
    return Labels(indices.astype(np.int64, copy=False), tuple(str(name) for name in classes), kind)
