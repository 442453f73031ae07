"""A source with its rows divided into those to learn from and those held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from ganvae_core.data.randomness import mixed_seed, permuted, purpose
from ganvae_core.data.units import to_x
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.types import DataSpec

SPLIT = purpose("held-out split")
MEAN_ROWS = 256
MOST_STORED = 1 << 20
"""Rows of a source whose numbers are held as arrays; those of longer ones are computed."""


@final
@dataclass(frozen=True)
class ComputedRows:
    """Part of a permutation of a source's row numbers, of which none is stored.

    ``rows[i]`` computes those that are asked for, like an array of them: a slice, or an array of any shape, gives an
    array.

    Args:
        count: rows of the source.
        seed: the permutation follows from it.
        start: first position in the permutation.
        length: how many of its positions.
    """

    count: int
    seed: int
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, at: Indices) -> np.ndarray:
        places = at if isinstance(at, np.ndarray) else np.arange(*at.indices(self.length))
        return permuted(self.start + places.reshape(-1), self.count, self.seed).reshape(places.shape)


RowNumbers = np.ndarray | ComputedRows


@final
@dataclass(frozen=True)
class Split:
    """A source with its rows divided into those to learn from and those held out.

    Args:
        source: the data.
        training: numbers of the training rows; sorted in an array, unless the source is so long that they are computed.
        held_out: numbers of the rows that training does not use, likewise.
        conditional: whether the model is given the source's condition.
        mean: of x, as ``DataSpec`` has it.
    """

    source: Source
    training: RowNumbers
    held_out: RowNumbers
    conditional: bool = False
    mean: float | None = None

    @property
    def spec(self) -> DataSpec:
        """The specification that components are given: the source's, with its condition only if ``conditional``."""
        condition = self.source.spec.condition if self.conditional else None
        return replace(self.source.spec, condition=condition, count=len(self.training), mean=self.mean)


def split(source: Source, *, held_out: float = 0.1, split_seed: int = 0, conditional: bool = False) -> Split:
    """Hold out a share of the rows, chosen by ``split_seed`` alone, so that all runs hold out the same.

    Of a source with groups it is a share of the groups, and at least one of three or more.

    Raises:
        DataError: the share is not in [0, 1), or the source has no condition to give.
    """
    if not 0 <= held_out < 1:
        raise DataError(f"data.held_out: {held_out} is not possible: it is a share of the rows, in [0, 1).")
    if conditional and source.spec.condition is None:
        raise DataError(
            "data.condition: this data has no labels or other condition.",
            "labels are sub-folders of images, labels in an .npz, or a column of a table:  data.label=COLUMN",
            "train without them:  data.condition=false",
        )
    group_of = None if source.groups is None else np.unique(source.groups, return_inverse=True)[1]
    count = len(source) if group_of is None else int(group_of.max()) + 1
    chosen = round(count * held_out)
    if group_of is not None and held_out and count > 2:
        chosen = max(chosen, 1)
    if chosen == count:
        chosen = count - 1
    seed = mixed_seed(split_seed, SPLIT)
    training: RowNumbers
    if group_of is None and count > MOST_STORED:
        training = ComputedRows(count, seed, chosen, count - chosen)
        return Split(
            source, training, ComputedRows(count, seed, 0, chosen), conditional, _mean(source, training)
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
    is_held_out = np.isin(np.arange(count) if group_of is None else group_of, order[:chosen])
    training = np.flatnonzero(~is_held_out)
    return Split(source, training, np.flatnonzero(is_held_out), conditional, _mean(source, training))


def _mean(source: Source, training: RowNumbers) -> float | None:
    """The mean of x over some training rows, evenly spread, of data that is bounded and not read as it is needed."""
    spec = source.spec
    if spec.range is None or source.is_lazy:
        return None
    places = np.linspace(0, len(training) - 1, min(len(training), MEAN_ROWS)).round().astype(np.int64)
    rows = source.rows(training[places])
    x = to_x(rows.x, spec.units)
    return round(float(x.mean() if rows.mask is None else x[rows.mask].mean()), 3)
