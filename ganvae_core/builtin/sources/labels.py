"""Labels of any values, as numbers of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ganvae_core.errors import DataError


@dataclass(frozen=True)
class Labels:
    """One class a row.

    Args:
        indices: (N,) int64, positions in ``classes``.
        classes: names of the classes.
    """

    indices: np.ndarray
    classes: tuple[str, ...]


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
    classes, indices = np.unique(_discrete(values, where), return_inverse=True)
    return Labels(indices.astype(np.int64, copy=False), tuple(str(name) for name in classes))


def _discrete(values: np.ndarray, where: str) -> np.ndarray:
    kind = values.dtype.kind
    if kind in "iubU":
        return values
    if kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    if kind == "f" and np.isfinite(values).all() and (values == np.rint(values)).all():
        return values.astype(np.int64)
    raise DataError(f"labels must be integers or strings; {where} has {_example(values)}.")


def _example(values: np.ndarray) -> str:
    if values.dtype.kind != "f":
        return f"values of type {values.dtype.name}"
    wrong = values[~np.isfinite(values) | (values != np.rint(values))][0]
    return f"{wrong:g}"
