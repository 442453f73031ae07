"""Packs of rows that a critic judges together (PacGAN, Lin et al. 2018)."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ganvae_core import ConfigurationError, DataSpec


def packed(rows: Tensor, size: int) -> Tensor:
    """(B, S, …) -> (B // size, size · S, …): rows side by side along their first axis; a remainder is left out.

    Raises:
        ConfigurationError: the rows do not make one pack.
    """
    if size == 1:
        return rows
    packs = len(rows) // size
    if not packs:
        raise ConfigurationError(
            f"objective.packing: {size} rows make a pack, and a step has {len(rows)}.",
            "take smaller packs, or larger batches of more data:  objective.packing=2",
        )
    return rows[: packs * size].reshape(packs, size * rows.shape[1], *rows.shape[2:])


def packed_spec(data: DataSpec, size: int) -> DataSpec:
    """What the data is for a critic of packs."""
    shape = (size * data.shape[0], *data.shape[1:])
    condition = None if data.condition is None else (size * data.condition[0], *data.condition[1:])
    return dataclasses.replace(data, shape=shape, condition=condition)
