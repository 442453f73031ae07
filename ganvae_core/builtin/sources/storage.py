"""Memory for data: ordinary memory while it fits, else a temporary file mapped into memory."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from ganvae_core.data.memory import available_memory
from ganvae_core.errors import DataError

MEMORY_SHARE = 0.5
"""Data may take this share of the memory that is available; training needs the rest."""


def fits_in_memory(size: int) -> bool:
    """Whether so many bytes of data leave enough memory for training."""
    return size <= MEMORY_SHARE * available_memory()


def allocate(shape: tuple[int, ...], dtype: np.dtype | type | str) -> np.ndarray:
    """An array to be filled, in memory if it fits, else mapped onto a temporary file that has no name.

    Raises:
        DataError: it fits neither in memory nor on the disk.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if fits_in_memory(size):
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="ganvae-") as file:
            if hasattr(
                os, "posix_fallocate"
            ):  # reserve the space now: a full disk would kill the process later
                os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, dtype=dtype, mode="w+", shape=shape))
    except (OSError, OverflowError, ValueError) as error:
        raise DataError(
            f"the data needs {size / 2**30:,.1f} GiB, which fit neither in memory"
            f" nor on the disk of {tempfile.gettempdir()}.",
            "choose a folder on a larger disk for temporary files:  export TMPDIR=FOLDER",
        ) from error


class Joined:
    """Arrays of equal shape and type of rows, one after the other, as far as an array is needed for reading rows."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype, self.ndim = parts[0].dtype, parts[0].ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: int | slice | np.ndarray) -> np.ndarray:
        """Rows: a view where a slice lies in one part, else a copy."""
        if isinstance(indices, slice):
            start, stop, step = indices.indices(len(self))
            part = int(np.searchsorted(self._starts, start, "right")) - 1
            if step == 1 and start < stop <= self._starts[part + 1]:
                return self.parts[part][start - self._starts[part] : stop - self._starts[part]]
            indices = np.arange(start, stop, step)
        rows = np.asarray(indices)
        wanted = np.atleast_1d(rows)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        of = np.searchsorted(self._starts, wanted, "right") - 1
        for part in np.unique(of):
            found[of == part] = self.parts[part][wanted[of == part] - self._starts[part]]
        return found if rows.ndim else found[0]


def native(x: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order: itself, or a copy that may be on disk."""
    if x.dtype.isnative:
        return x
    copy = allocate(x.shape, x.dtype.newbyteorder("="))
    copy[...] = x
    return copy
