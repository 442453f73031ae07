"""The specification of data, derived from an array's shape, type and values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ganvae_core.errors import DataError
from ganvae_core.types import DataSpec, Field, Units

IMAGE_CHANNELS = (1, 2, 3, 4)
MOST_TABLE_COLUMNS = 16
"""Flat rows of more columns with values in [0, 1] are flattened images, say, and are left as they are."""

_NOTES = 5
_PIECE_VALUES = 2**21

Scaling = tuple[Units, tuple[float, float] | None, tuple[str, ...]]
"""Units, the range of x in them, and notes."""


@dataclass(frozen=True)
class Description:
    """Data and its specification.

    Args:
        x: (N, *X), a view of the array that was described.
        spec: what it is.
        notes: sentences for users about it.
    """

    x: np.ndarray
    spec: DataSpec
    notes: tuple[str, ...] = ()


def describe(x: np.ndarray, where: str) -> Description:
    """Any array of numbers as rows of images, points, a table or plain arrays.

    Args:
        x: (N,), (N, D), (N, H, W), (N, C, H, W), (N, H, W, C) with 1 to 4 channels, or (N, ...).
        where: what the data is called in an error.

    Raises:
        DataError: there is no row, the values are not numbers, or one of them is NaN or infinite.
    """
    x = _arranged(x, where)
    event, dtype = x.shape[1:], x.dtype.name
    wide = len(event) > 1 or math.prod(event) > MOST_TABLE_COLUMNS
    if dtype == "bool" or (dtype == "uint8" and wide):  # the type alone implies the scale
        scaling = Units((0.0,), (255.0 if dtype == "uint8" else 1.0,), dtype), (0.0, 1.0), ()
    else:
        lowest, highest = _extent(x, where)
        low, high = float(np.min(lowest)), float(np.max(highest))
        if wide and low >= 0 and high <= 1:
            scaling = Units(dtype=dtype), (0.0, 1.0), ()
        elif len(event) == 1:
            scaling = _standardised(x, lowest, highest, where)
        else:
            scaling = _between(low, high, dtype, where)
    units, bounds, notes = scaling
    return Description(x, DataSpec(event, bounds, _modality(event), None, len(x), units=units), notes)


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
    units, bounds, notes = _standardised(x, *_extent(x, where, columns), where, columns, whole)
    fields = tuple(
        Field(name, "whole" if position in whole else "number", position)
        for position, name in enumerate(columns)
    )
    spec = DataSpec(x.shape[1:], bounds, _modality(x.shape[1:]), None, len(x), fields, None, units)
    return Description(x, spec, notes)


def _arranged(x: np.ndarray, where: str) -> np.ndarray:
    """A view with channels first and at least one axis beside the rows'."""
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


def _modality(event: tuple[int, ...]) -> str:
    if len(event) == 1:
        return "points" if event == (2,) else "table"
    return "image" if len(event) == 3 and event[0] in IMAGE_CHANNELS else "array"


def _pieces(x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The rows of x in pieces small enough to compute with, so that a mapped array is never held whole."""
    count = max(1, _PIECE_VALUES // x[0].size)
    for start in range(0, len(x), count):
        yield start, x[start : start + count]


def _extent(x: np.ndarray, where: str, columns: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value, of each column for flat rows (N, D), else of all.

    Raises:
        DataError: a value is NaN or infinite. Rows of named columns are counted from 1, as in a table.
    """
    axis = 0 if x.ndim == 2 else None
    low, high = x.min(axis=axis), x.max(axis=axis)
    if np.isfinite(low).all() and np.isfinite(high).all():
        return low, high
    start, piece = next((start, piece) for start, piece in _pieces(x) if not np.isfinite(piece).all())
    first = np.argwhere(~np.isfinite(piece))[0]
    row = start + first[0]
    if columns:
        place = f"column '{columns[first[1]]}', row {row + 1} is"
    else:
        column = f", column {first[1]}" if x.ndim == 2 else ""
        place = f"row {row}{column} (counted from 0) {'is' if column else 'holds'}"
    raise DataError(
        f"{where}: {place} {piece[tuple(first)]}.",
        "leave such rows out, or put numbers in their place, before training",
    )


def _between(low: float, high: float, dtype: str, where: str) -> Scaling:
    """One scale for all values."""
    if low >= -1 and high <= 1:
        return Units(dtype=dtype), (-1.0, 1.0), ()
    if low == high:
        note = f"every value is {low:g}: kept with scale 1 and restored exactly"
        return Units((low,), (1.0,), dtype, (0,)), (0.0, 1.0), (note,)
    if not np.isfinite(high - low):
        raise DataError(f"{where}: values from {low:g} to {high:g} are too far apart to be scaled.")
    return Units((low,), (high - low,), dtype), (0.0, 1.0), ()


def _standardised(
    x: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    where: str,
    columns: Sequence[str] = (),
    whole: tuple[int, ...] = (),
) -> Scaling:
    """Mean and deviation of each column (N, D); a constant column keeps scale 1, with a note."""
    names = [f"column '{name}'" for name in columns] or [f"column {index}" for index in range(x.shape[1])]
    with np.errstate(all="ignore"):  # an overflow is refused below
        mean = x.mean(axis=0, dtype=np.float64)
        squares = sum(np.square(piece - mean).sum(axis=0) for _, piece in _pieces(x))
        deviation = np.sqrt(squares / len(x))
    constant = low == high
    offset = np.where(constant, low, mean)
    scale = np.where(constant | (deviation == 0), 1.0, deviation)
    computable = np.isfinite(offset) & np.isfinite(scale)
    if not computable.all():
        column = names[int(np.argmin(computable))]
        raise DataError(f"{where}: the values of {column} are too large to be standardised.")
    fixed = np.flatnonzero(constant).tolist()
    notes = [
        f"{names[index]} is constant ({offset[index]:g}): kept with scale 1 and restored exactly"
        for index in fixed[:_NOTES]
    ]
    if len(fixed) > _NOTES:
        notes.append(f"{len(fixed) - _NOTES:,} more columns are constant and treated likewise")
    units = Units(tuple(offset.tolist()), tuple(scale.tolist()), x.dtype.name, tuple(fixed), whole)
    return units, None, tuple(notes)
