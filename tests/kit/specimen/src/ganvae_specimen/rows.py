"""A source of points."""

from __future__ import annotations

from typing import final

import numpy as np

from ganvae_core import DataSpec, Field, Rows, Source, Units

ROWS = 80
FIELDS = (Field("x", start=0), Field("y", start=1))
RANDOM = np.random.default_rng(0)


@final
class Spiral(Source):
    """Points on two arms of a spiral, labelled by the arm."""

    def __init__(self) -> None:
        turn = np.linspace(0.5, 6, ROWS)
        arm = np.arange(ROWS) % 2
        angle = turn + np.pi * arm
        self._x = (np.stack([np.cos(angle), np.sin(angle)], 1) * turn[:, None]).astype(np.float32)
        self._arm = arm

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            (2,), None, "points", (2,), ROWS, FIELDS, ("left", "right"), Units((0.0,), (3.0,), "float32")
        )

    def __len__(self) -> int:
        return ROWS

    def rows(self, indices: np.ndarray | slice) -> Rows:
        return Rows(self._x[indices], self._arm[indices])

    def labels(self, indices: np.ndarray | slice | None = None) -> np.ndarray:
        return self._arm if indices is None else self._arm[indices]
