"""A source with its rows divided into those to learn from and those held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from ganvae_core.data.randomness import mixed_seed, purpose
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Source
from ganvae_core.types import DataSpec

SPLIT = purpose("held-out split")


@final
@dataclass(frozen=True)
class Split:
    """A source with its rows divided into those to learn from and those held out.

    Args:
        source: the data.
        training: sorted numbers of the training rows.
        held_out: sorted numbers of the rows that training does not use.
        conditional: whether the model is given the source's condition.
    """

    source: Source
    training: np.ndarray
    held_out: np.ndarray
    conditional: bool = False

    @property
    def spec(self) -> DataSpec:
        """The specification that components are given: the source's, with its condition only if ``conditional``."""
        condition = self.source.spec.condition if self.conditional else None
        return replace(self.source.spec, condition=condition, count=len(self.training))


def split(source: Source, *, held_out: float = 0.1, split_seed: int = 0, conditional: bool = False) -> Split:
    """Hold out a share of the rows, chosen by ``split_seed`` alone, so that all runs hold out the same.

    Raises:
        DataError: the share is not in [0, 1), or the source has no condition to give.
    """
    if not 0 <= held_out < 1:
        raise DataError(f"data.held_out: {held_out} is not possible: it is a share of the rows, in [0, 1).")
    if conditional and source.spec.condition is None:
        raise DataError(
            "data.condition: this data has no labels or other condition to give.",
            "labels are sub-folders of images, labels in an .npz, or a column of a table:  data.label=COLUMN",
            "train without them:  data.condition=false",
        )
    count = len(source)
    chosen = round(count * held_out)
    if chosen == count:
        chosen = count - 1
    generator = torch.Generator().manual_seed(mixed_seed(split_seed, SPLIT))
    order = torch.randperm(count, generator=generator).numpy()
    return Split(source, np.sort(order[chosen:]), np.sort(order[:chosen]), conditional)
