"""What data is: derived from an array's shape, type and values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ganvae_core.builtin.sources.summary import Summary, pieces
from ganvae_core.errors import DataError
from ganvae_core.types import DataSpec, Modality, Units

IMAGE_CHANNELS = (1, 2, 3, 4)
MOST_TABLE_COLUMNS = 16
"""Flat rows of more columns with values in [0, 1] are flattened images, say, and are left as they are."""

_NOTES = 5

Scaling = tuple[tuple[float, ...], tuple[float, ...], tuple[float, float] | None, tuple[int, ...]]
"""Offset, scale, the range that x has after them, and which columns are constant."""


@dataclass(frozen=True)
class Description:
    """Data and what it is.

    Args:
        x: (N, *X), a view of what was given.
        spec: what it is.
        notes: what a person should know about it.
    """

    x: np.ndarray
    spec: DataSpec
    notes: tuple[str, ...]


def describe(x: np.ndarray, where: str) -> Description:
    """Any array of numbers as rows of images, points, a table or plain arrays.

    Args:
        x: (N,), (N, D), (N, H, W), (N, C, H, W), (N, H, W, C) with 1 to 4 channels, or (N, ...).
        where: what the data is called in an error.

    Raises:
        DataError: there is no row, the values are not numbers, or one of them is NaN or infinite.
    """
    x = arranged(x, where)
    summary = None
    if not has_fixed_scaling(x):
        summary = Summary(where)
        for piece in pieces(x):
            summary.add(piece)
    spec, notes = specify(x.shape, x.dtype, summary)
    return Description(x, spec, notes)


def describe_table(
    x: np.ndarray, columns: tuple[str, ...], where: str, whole: tuple[int, ...] = ()
) -> Description:
    """A table (N, D) of named columns, each standardised.

    Args:
        x: the values.
        columns: their names.
        where: what the data is called in an error.
        whole: positions of the columns that hold whole numbers.

    Raises:
        DataError: a value is NaN or infinite.
    """
    summary = Summary(where, columns)
    for piece in pieces(x):
        summary.add(piece)
    shape = x.shape[1:]
    (offset, scale, bounds, constant), notes = standardised(summary)
    units = Units(offset, scale, x.dtype.name, constant, whole)
    spec = DataSpec(shape, bounds, modality(shape), None, len(x), columns, None, units)
    return Description(x, spec, notes)


def arranged(x: np.ndarray, where: str) -> np.ndarray:
    """A view with channels first and at least one axis beside the rows'.

    Raises:
        DataError: there is no row or no value in it, or the values are not numbers.
    """
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise DataError(
            f"{where} holds values of type {x.dtype}, and numbers are expected.",
            "types that can be read: bool, integers, and floating point of up to 64 bits",
        )
    if x.size == 0 or x.ndim == 0:
        raise DataError(f"{where} has no rows: its shape is {x.shape}.")
    if x.ndim == 1 or x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[-1] in IMAGE_CHANNELS and x.shape[1] not in IMAGE_CHANNELS:
        return np.moveaxis(x, -1, 1)
    return x


def modality(shape: tuple[int, ...]) -> Modality:
    """How a person looks at an event of that shape."""
    if len(shape) == 1:
        return "points" if shape == (2,) else "table"
    return "image" if len(shape) == 3 and shape[0] in IMAGE_CHANNELS else "array"


def has_fixed_scaling(x: np.ndarray) -> bool:
    """Whether the type alone tells the scale, so that the values need not be looked at."""
    return x.dtype == np.bool_ or (x.dtype == np.uint8 and _is_wide(x.shape[1:]))


def specify(
    shape: tuple[int, ...], dtype: np.dtype, summary: Summary | None
) -> tuple[DataSpec, tuple[str, ...]]:
    """The specification of arranged data (N, *X), and notes for a person.

    Args:
        shape: (N, *X).
        dtype: of the stored values.
        summary: of all values; None where the type alone tells the scale.
    """
    event = shape[1:]
    if summary is None:
        scale = 1.0 if dtype == np.bool_ else 255.0
        scaling, notes = ((0.0,), (scale,), (0.0, 1.0), ()), ()
    else:
        scaling, notes = _scaling(event, summary)
    offset, scales, bounds, constant = scaling
    units = Units(offset, scales, dtype.name, constant)
    return DataSpec(event, bounds, modality(event), None, shape[0], units=units), notes


def standardised(summary: Summary) -> tuple[Scaling, tuple[str, ...]]:
    """Mean and deviation of each column; a constant column keeps scale 1, with a note.

    Raises:
        DataError: a column's values are too large to compute with.
    """
    constant = summary.low == summary.high
    offset = np.where(constant, summary.low, summary.mean)
    scale = np.where(constant | (summary.deviation == 0), 1.0, summary.deviation)
    computable = np.isfinite(offset) & np.isfinite(scale)
    if not computable.all():
        column = _column(summary, int(np.argmin(computable)))
        raise DataError(f"{summary.where}: the values of {column} are too large to be standardised.")
    fixed = np.flatnonzero(constant)
    notes = [
        f"{_column(summary, index)} is constant ({offset[index]:g}): kept with scale 1 and restored exactly"
        for index in fixed[:_NOTES]
    ]
    if len(fixed) > _NOTES:
        notes.append(f"{len(fixed) - _NOTES:,} more columns are constant and treated likewise")
    return (tuple(offset.tolist()), tuple(scale.tolist()), None, tuple(fixed.tolist())), tuple(notes)


def _scaling(event: tuple[int, ...], summary: Summary) -> tuple[Scaling, tuple[str, ...]]:
    low, high = float(np.min(summary.low)), float(np.max(summary.high))
    if _is_wide(event) and low >= 0 and high <= 1:
        return ((0.0,), (1.0,), (0.0, 1.0), ()), ()
    if len(event) == 1:
        return standardised(summary)
    if low >= -1 and high <= 1:
        return ((0.0,), (1.0,), (-1.0, 1.0), ()), ()
    if low == high:
        note = f"every value is {low:g}: kept with scale 1 and restored exactly"
        return ((low,), (1.0,), (0.0, 1.0), (0,)), (note,)
    if not np.isfinite(high - low):
        raise DataError(f"{summary.where}: values from {low:g} to {high:g} are too far apart to be scaled.")
    return ((low,), (high - low,), (0.0, 1.0), ()), ()


def _is_wide(event: tuple[int, ...]) -> bool:
    return len(event) > 1 or math.prod(event) > MOST_TABLE_COLUMNS


def _column(summary: Summary, index: int) -> str:
    return f"column {index}" if summary.columns is None else f"column '{summary.columns[index]}'"
