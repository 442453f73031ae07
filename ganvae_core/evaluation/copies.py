"""Samples of a table that equal rows of the data, and categories that no sample has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ganvae_core.types import Field

EXPECTED = 20
"""Rows of a category among as many rows of the data as there are samples, from which on none is no chance."""


def share_of_copies(samples: np.ndarray, rows: np.ndarray) -> float:
    """The share of samples (N, D) that equal one of the rows (M, D) in every column; missing cells are equal."""
    known = set(_keys(rows))
    return sum(key in known for key in _keys(samples)) / len(samples)


def absent_categories(samples: np.ndarray, fields: Sequence[Field]) -> list[str]:
    """``COLUMN=CATEGORY`` of each that no sample (N, fields) has, and of which the data has many."""
    return [
        f"{field.name}={category}"
        for at, field in enumerate(fields)
        for number, (category, share) in enumerate(zip(field.categories, field.shares, strict=False))
        if share * len(samples) >= EXPECTED and not (samples[:, at] == number).any()
    ]


def _keys(rows: np.ndarray) -> list[bytes]:
    plain = np.ascontiguousarray(np.nan_to_num(rows.astype(np.float64), nan=np.inf) + 0.0)  # -0.0 is 0.0
    return plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel().tolist()
