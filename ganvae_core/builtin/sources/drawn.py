"""Sources whose rows are drawn at random from a seed, to measure how many modes a model covers."""

from __future__ import annotations

import abc
import itertools
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ganvae_core.builtin.option_checks import in_range
from ganvae_core.builtin.sources.digits import Digits
from ganvae_core.builtin.sources.storage import fits_in_memory
from ganvae_core.builtin.sources.stored import Labels, StoredSource
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec, Rows, Units

CHANNELS = 3
MOST_CLASSES = 4_096
"""Most combinations that are labels of stacked images, since labels become one-hot; 17 classes have more."""


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
        # Of each row in memory: its centre, noise and sum in float64, itself in float32, its label.
        generator = _generator(count, seed, bytes_a_row=64)
        modes = self.modes()
        labels = generator.integers(len(modes.centres), size=count)
        noise = generator.standard_normal((count, 2))
        x = (modes.centres[labels] + modes.deviation * noise).astype(np.float32)
        known = {"modes": {"centres": modes.centres.tolist(), "deviation": modes.deviation}}
        spec = DataSpec((2,), None, "points", None, count, units=Units(dtype="float32"), details=known)
        super().__init__(x, spec, labels=Labels(labels, modes.names))

    @staticmethod
    @abc.abstractmethod
    def modes() -> Modes:
        """The modes that the points are drawn from, for an evaluation that counts the modes of samples."""


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
        ticks = (-4.0, -2.0, 0.0, 2.0, 4.0)
        return Modes(np.array(list(itertools.product(ticks, ticks))), deviation=0.05)


@final
class Stacked(Source):
    """Three images of one channel, drawn independently and with replacement, as the channels of a new one.

    Stacked MNIST (Metz et al. 2017, "Unrolled Generative Adversarial Networks") has 1,000 modes, one for each
    combination of three digits; 128,000 rows are what VEEGAN and PacGAN train on. The classes are the combinations of
    the images' own, named ``2-0-7`` by channel. Rows are assembled by ``rows``, so the images are in memory once.
    Held-out rows are other combinations of the same images.

    Args:
        source: images of one channel, like {name: idx, path: FILE}; default: digits
        count: number of rows
        seed: which images are stacked; independent of engine.seed

    Raises:
        DataError: the source does not hold images of one channel, the rows do not fit in memory, or ``count`` or
            ``seed`` is not possible.
    """

    def __init__(self, *, source: Source | None = None, count: int = 128_000, seed: int = 0) -> None:
        self._source = Digits() if source is None else source
        given = self._source.spec
        if given.modality != "image" or given.shape[0] != 1:
            raise DataError(
                f"data.source: only images of one channel can be stacked, and this source has {given.modality} of shape"
                f" {given.shape}.",
                "for example  data.source=digits",
                "a folder of images can be read in grey:  {name: folder, path: FOLDER, grayscale: true}",
            )
        self._members = _generator(count, seed, 8 * CHANNELS).integers(
            len(self._source), size=(count, CHANNELS)
        )
        own = given.classes or ()
        names = _combinations(own)
        self._weights = (
            len(own) ** np.arange(CHANNELS)[::-1]
        )  # a label is a number to the base of the classes
        condition, classes = ((len(names),), names) if names else (None, None)
        shape = (CHANNELS, *given.shape[1:])
        self._spec = replace(given, shape=shape, condition=condition, count=count, classes=classes)
        self.notes = self._source.notes
        if own and not names:
            self.notes += (
                f"{len(own):,} classes have {len(own) ** CHANNELS:,} combinations, too many to be labels:"
                " stacked rows have none",
            )

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._members)

    def members(self, indices: Indices) -> np.ndarray:
        """(B, 3) numbers of the source's rows that are the channels of each row."""
        return self._members[indices]

    def rows(self, indices: Indices) -> Rows:
        members = self.members(indices)  # (B, 3)
        x = self._source.rows(members.reshape(-1)).x  # (3 B, 1, H, W)
        return Rows(x.reshape(len(members), *self._spec.shape), self.labels(indices))

    def labels(self, indices: Indices | None = None) -> np.ndarray | None:
        members = self._members if indices is None else self.members(indices)
        labels = self._source.labels(members.reshape(-1))
        if labels is None or self._spec.classes is None:
            return None
        return labels.reshape(len(members), CHANNELS) @ self._weights


def _generator(count: int, seed: int, bytes_a_row: int) -> np.random.Generator:
    """The generator of a source's rows.

    Raises:
        DataError: there would be no row, or more than fit in memory, or the seed is negative.
    """
    in_range("data.", least=1, count=count)
    in_range("data.", seed=seed)
    if not fits_in_memory(count * bytes_a_row):
        raise DataError(
            f"data.count: {count:,} rows take {count * bytes_a_row / 2**30:,.1f} GiB,"
            " which do not fit in memory.",
            "draw fewer",
        )
    return np.random.default_rng(seed)


def _combinations(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names of all combinations, the last channel varying fastest; none where they are too many."""
    if not classes or len(classes) ** CHANNELS > MOST_CLASSES:
        return ()
    joint = " | " if any("-" in name for name in classes) else "-"  # so that no two have one name
    return tuple(joint.join(names) for names in itertools.product(classes, repeat=CHANNELS))
