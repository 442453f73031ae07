"""Extent, mean and deviation of data that is read in pieces, and whether all of it is finite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ganvae_core.errors import DataError

_CHUNK_VALUES = 2**21


class Summary:
    """What one pass over (N, *X) finds: of each column for flat rows (N, D), of all values for others.

    Args:
        where: what the data is called in an error.
        columns: names of the columns; rows are then counted from 1, as a person does in a table.

    Attributes:
        low, high: lowest and highest value, of each column or as a scalar; float64.
        mean, deviation: of each column, for flat rows alone.
    """

    def __init__(self, where: str, columns: tuple[str, ...] | None = None) -> None:
        self.where = where
        self.columns = columns
        self.count = 0
        self.low = np.float64(np.inf)
        self.high = np.float64(-np.inf)
        self.mean = np.float64(0.0)
        self._squares = np.float64(0.0)

    @property
    def deviation(self) -> np.ndarray:
        return np.sqrt(self._squares / self.count)

    def add(self, rows: np.ndarray) -> None:
        """Take in the next rows.

        Raises:
            DataError: one of them holds NaN or infinity.
        """
        flat = rows.ndim == 2
        axis = 0 if flat else None
        with np.errstate(all="ignore"):  # what overflows is found by who uses it
            low, high = rows.min(axis=axis), rows.max(axis=axis)
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise self._not_finite(rows)
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            if flat:
                self._add_moments(rows.astype(np.float64, copy=False))
        self.count += len(rows)

    def _add_moments(self, rows: np.ndarray) -> None:
        """Merge means and squared deviations (Chan, Golub and LeVeque 1979), which does not cancel."""
        mean = rows.mean(axis=0)
        squares = np.square(rows - mean).sum(axis=0)
        total = self.count + len(rows)
        gap = mean - self.mean
        self._squares = self._squares + squares + np.square(gap) * (self.count * len(rows) / total)
        self.mean = self.mean + gap * (len(rows) / total)

    def _not_finite(self, rows: np.ndarray) -> DataError:
        first = np.argwhere(~np.isfinite(rows))[0]
        value, row = rows[tuple(first)], self.count + int(first[0])
        hint = "leave such rows out, or put numbers in their place, before training"
        if self.columns is not None:
            return DataError(
                f"{self.where}: column '{self.columns[first[1]]}', row {row + 1} is {value}.", hint
            )
        place = f"row {row}, column {first[1]}" if rows.ndim == 2 else f"row {row}"
        verb = "is" if rows.ndim == 2 else "holds"
        return DataError(f"{self.where}: {place} (counted from 0) {verb} {value}.", hint)


def pieces(x: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of x in pieces small enough to compute with, so that a mapped array is never held whole."""
    count = max(1, _CHUNK_VALUES // max(1, x[0].size))
    for start in range(0, len(x), count):
        yield x[start : start + count]
