"""Sprites that are drawn from known factors: the data of disentanglement."""

from __future__ import annotations

from typing import final

import numpy as np

from ganvae_core.errors import DataError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec, Rows, Units

NAMES = ("square", "ellipse", "heart")
LARGEST = 0.17
"""Half the height of a sprite of the largest scale, as a share of the side."""
MARGIN = 0.25
"""Share of the side that the centres of sprites keep from the border, so that each is whole."""
ROWS_AT_ONCE = 1024
DRAWN_AT_ONCE = 2**26
"""Pixels, a few seconds of drawing: more are drawn as they are asked for, and not before the first step."""


@final
class Shapes(Source):
    """White sprites on black: a square, an ellipse or a heart in all scales, rotations and positions of a grid.

    The factors and their order are those of dSprites (Matthey et al. 2017), and by default their numbers too: 3
    shapes, 6 scales from 0.5 to 1, 40 rotations of the circle, 32 positions in x and in y, 737,280 images of 64 × 64
    in all. They are drawn when they are read, and take no memory. The labels are the shapes.

    ``spec.details["factors"]`` has the size of each factor by name, in the order of the rows. The last one varies
    fastest, so ``numpy.unravel_index(row, sizes)`` are the values of a row's factors. ``factors`` gives them too.

    Args:
        side: of the images, in pixels
        scales: number of scales
        rotations: number of rotations
        positions: number of positions in x and in y

    Raises:
        DataError: a side of fewer than 8 pixels, or a factor without a value.
    """

    def __init__(self, *, side: int = 64, scales: int = 6, rotations: int = 40, positions: int = 32) -> None:
        if side < 8 or min(scales, rotations, positions) < 1:
            raise DataError(
                f"data: {side} pixels, {scales} scales, {rotations} rotations, {positions} positions are not possible.",
                "a side has 8 pixels or more, and each factor at least one value",
            )
        self._side = side
        self._sizes = {
            "shape": len(NAMES),
            "scale": scales,
            "rotation": rotations,
            "x": positions,
            "y": positions,
        }
        self._count = len(NAMES) * scales * rotations * positions**2
        self.is_lazy = self._count * side**2 > DRAWN_AT_ONCE
        self._spec = DataSpec(
            (1, side, side),
            (0.0, 1.0),
            "image",
            (len(NAMES),),
            self._count,
            classes=NAMES,
            units=Units((0.0,), (255.0,), "uint8"),
            details={"factors": dict(self._sizes)},
        )

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return self._count

    def factors(self, indices: Indices | None = None) -> np.ndarray:
        """(B, 5) the number of each factor's value: shape, scale, rotation, x, y."""
        rows = np.arange(self._count)
        rows = rows if indices is None else rows[indices]
        return np.stack(np.unravel_index(rows, tuple(self._sizes.values())), axis=1)

    def rows(self, indices: Indices) -> Rows:
        factors = self.factors(indices)
        images = np.empty((len(factors), 1, self._side, self._side), np.uint8)
        for start in range(0, len(factors), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            images[part, 0] = 255 * self._drawn(factors[part])
        return Rows(images, factors[:, 0])

    def labels(self, indices: Indices | None = None) -> np.ndarray:
        return self.factors(indices)[:, 0]

    def _drawn(self, factors: np.ndarray) -> np.ndarray:
        """(B, side, side) bool."""
        shape, scale, rotation, x, y = (column[:, None, None] for column in factors.T)
        size = LARGEST * _spread(scale, self._sizes["scale"], 0.5, 1.0)
        angle = 2 * np.pi * rotation / self._sizes["rotation"]
        pixels = (np.arange(self._side, dtype=np.float32) + 0.5) / self._side
        across = (pixels[None, None, :] - _spread(x, self._sizes["x"], MARGIN, 1 - MARGIN)) / size
        down = (pixels[None, :, None] - _spread(y, self._sizes["y"], MARGIN, 1 - MARGIN)) / size
        u = np.cos(angle) * across + np.sin(angle) * down
        v = np.sin(angle) * across - np.cos(angle) * down  # upwards
        square = np.maximum(np.abs(u), np.abs(v)) <= 0.9
        ellipse = u**2 + (2 * v) ** 2 <= 1.44
        # The sextic heart curve, whose height is about 2.4.
        a, b = 1.2 * u, 1.2 * v + 0.1
        heart = (a**2 + b**2 - 1) ** 3 <= a**2 * b**3
        return np.where(shape == 0, square, np.where(shape == 1, ellipse, heart))


def _spread(number: np.ndarray, count: int, low: float, high: float) -> np.ndarray:
    """Values from low to high, evenly spaced; the middle where there is one."""
    if count == 1:
        return np.full_like(number, (low + high) / 2, dtype=np.float32)
    return (low + (high - low) * number / (count - 1)).astype(np.float32)
