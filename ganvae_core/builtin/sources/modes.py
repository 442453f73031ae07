"""Mixtures of Gaussians in the plane, whose modes are known: what shows whether a model covers all of them."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import final

import numpy as np

from ganvae_core.builtin.sources.draws import generator_of
from ganvae_core.builtin.sources.labels import Labels
from ganvae_core.builtin.sources.stored import StoredSource
from ganvae_core.types import DataSpec, Units

_BYTES_A_ROW = 64
"""While rows are drawn: their centres, noise and sum in float64, themselves in float32, their labels."""


@final
@dataclass(frozen=True, eq=False)
class Modes:
    """Gaussians that are equally likely.

    Args:
        centres: (M, 2), one row a mode.
        deviation: standard deviation of either coordinate around its centre.
    """

    centres: np.ndarray
    deviation: float

    @property
    def names(self) -> tuple[str, ...]:
        """Each mode by its centre, to two digits: ``(-0.71, 0.71)``."""
        rounded = np.round(self.centres, 2) + 0.0  # which makes -0 a plain 0
        return tuple(f"({x:g}, {y:g})" for x, y in rounded.tolist())


class PlanarMixture(StoredSource):
    """Points (2,) around the centres of modes, labelled with the mode that they were drawn from.

    They are left in their own units: that is how the literature feeds them, and distances are those that modes and
    samples are compared by.

    Args:
        count: number of rows
        seed: which rows these are; independent of engine.seed

    Raises:
        DataError: there would be no row, or more than fit in memory, or the seed is negative.
    """

    def __init__(self, *, count: int = 100_000, seed: int = 0) -> None:
        generator = generator_of(count, seed, _BYTES_A_ROW)
        modes = self.modes()
        labels = generator.integers(len(modes.centres), size=count)
        noise = generator.standard_normal((count, 2))
        x = (modes.centres[labels] + modes.deviation * noise).astype(np.float32)
        spec = DataSpec((2,), None, "points", None, count, units=Units(dtype="float32"))
        super().__init__(x, spec, Labels(labels, modes.names))

    @staticmethod
    @abc.abstractmethod
    def modes() -> Modes:
        """What the points are drawn from: all that an evaluation needs to count the modes that samples reach."""


@final
class Ring(PlanarMixture):
    """The 2D-ring: eight Gaussians of deviation 0.01 on the circle of radius 1, at angles 2πi / 8.

    As in PacGAN (Lin et al. 2018), and in VEEGAN (Srivastava et al. 2017) before it.
    """

    @staticmethod
    def modes() -> Modes:
        """The eight modes, counterclockwise from (1, 0)."""
        angles = 2 * np.pi * np.arange(8) / 8
        return Modes(np.stack([np.cos(angles), np.sin(angles)], axis=1), deviation=0.01)


@final
class Grid(PlanarMixture):
    """The 2D-grid: 25 Gaussians of deviation 0.05 at {-4, -2, 0, 2, 4}².

    As in PacGAN (Lin et al. 2018), and in VEEGAN (Srivastava et al. 2017) before it.
    """

    @staticmethod
    def modes() -> Modes:
        """The 25 modes, column by column from the left, each from below."""
        ticks = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
        columns, rows = np.meshgrid(ticks, ticks, indexing="ij")
        return Modes(np.stack([columns.ravel(), rows.ravel()], axis=1), deviation=0.05)
