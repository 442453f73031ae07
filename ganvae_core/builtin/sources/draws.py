"""What sources whose rows are drawn at random have in common: how many rows, and the seed that they follow from."""

from __future__ import annotations

import numpy as np

from ganvae_core.builtin.sources.storage import fits_in_memory
from ganvae_core.errors import DataError


def generator_of(count: int, seed: int, bytes_a_row: int) -> np.random.Generator:
    """The generator that a source draws its rows with, once its options are known to be possible.

    Args:
        count: rows to be drawn.
        seed: what they follow from.
        bytes_a_row: memory that drawing one of them takes.

    Raises:
        DataError: there would be no row, or more than fit in memory, or the seed is negative.
    """
    if count < 1:
        raise DataError(f"data.count: {count} is not possible: it is a number of rows, of at least 1.")
    if seed < 0:
        raise DataError(f"data.seed: {seed} is not possible: it is a whole number of at least 0.")
    if not fits_in_memory(count * bytes_a_row):
        raise DataError(
            f"data.count: {count:,} rows need {count * bytes_a_row / 2**30:,.1f} GiB to be drawn,"
            " which do not fit in memory.",
            "draw fewer",
        )
    return np.random.default_rng(seed)
