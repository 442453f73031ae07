"""Stacked images: three rows of a source of grey images as the three channels of one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import final

import numpy as np

from ganvae_core.builtin.sources.digits import Digits
from ganvae_core.builtin.sources.draws import generator_of
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec

CHANNELS = 3
MOST_CLASSES = 4_096
"""Combinations that are still told apart as labels, for labels become one-hot; of 17 classes there are more."""

_BYTES_A_ROW = 8 * CHANNELS


@final
class Stacked(Source):
    """Three images of one channel, drawn independently and with replacement, as the channels of a new one.

    Stacked MNIST (Metz et al. 2017, "Unrolled Generative Adversarial Networks") has 1,000 modes, one for each
    combination of three digits; 128,000 rows are what VEEGAN and PacGAN train on. The classes are the combinations of
    the images' own, named ``2-0-7`` by channel. Rows are put together when they are asked for, so the images are
    in memory once. Held-out rows are other combinations of the same images.

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
        _check(self._source.spec)
        generator = generator_of(count, seed, _BYTES_A_ROW)
        self._members = generator.integers(len(self._source), size=(count, CHANNELS))
        self._classes = self._source.spec.classes or ()
        names = _combinations(self._classes)
        self._spec = replace(
            self._source.spec,
            shape=(CHANNELS, *self._source.spec.shape[1:]),
            condition=(len(names),) if names else None,
            count=count,
            classes=names or None,
        )
        self.notes = self._source.notes
        if self._classes and not names:
            self.notes += (
                f"{len(self._classes):,} classes have {len(self._classes) ** CHANNELS:,} combinations, too many to be"
                " told apart: stacked rows have no labels",
            )

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._members)

    def members(self, indices: Indices) -> np.ndarray:
        """(B, 3) numbers of the source's rows that are the channels of each row."""
        return self._members[indices]

    def rows(self, indices: Indices) -> tuple[np.ndarray, np.ndarray | None]:
        members = self.members(indices)  # (B, 3)
        x, labels = self._source.rows(members.reshape(-1))  # (3 B, 1, H, W)
        stacked = x.reshape(len(members), *self._spec.shape)
        if labels is None or self._spec.classes is None:
            return stacked, None
        parts = labels.reshape(len(members), CHANNELS)  # the digits of a number to the base of the classes
        return stacked, parts @ len(self._classes) ** np.arange(CHANNELS)[::-1]


def _combinations(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names of all combinations, the last channel varying fastest; none where they are too many."""
    if len(classes) ** CHANNELS > MOST_CLASSES:
        return ()
    joint = " | " if any("-" in name for name in classes) else "-"  # so that no two have one name
    return (
        tuple(joint.join(names) for names in itertools.product(classes, repeat=CHANNELS)) if classes else ()
    )


def _check(spec: DataSpec) -> None:
    if spec.modality != "image":
        raise DataError(
            f"data.source: only images can be stacked, and its rows are {spec.modality} of shape {spec.shape}.",
            "for example  data.source=digits",
        )
    if spec.shape[0] != 1:
        raise DataError(
            f"data.source: images of one channel can be stacked, and its images have {spec.shape[0]}.",
            "a folder of images can be read in grey:  {name: folder, path: FOLDER, grayscale: true}",
        )
