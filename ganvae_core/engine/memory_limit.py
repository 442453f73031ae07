"""Running out of an accelerator's memory: the update is done again with half the rows at once.

It is known by ``torch.OutOfMemoryError``, which CUDA and XPU raise. MPS raises a plain RuntimeError, which could
be anything and is not told from others by its text: it ends the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from ganvae_core.engine.phases import PreparedPhase
from ganvae_core.errors import TrainingError
from ganvae_core.types import Loss

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine


def within_memory(
    engine: Engine, prepared: PreparedPhase, accumulate: Callable[[], list[Loss]]
) -> list[Loss]:
    """What ``accumulate`` gives: the losses of an update's micro-batches, whose gradients are then added up.

    Where memory runs out, gradients and buffers are put back and it is called again after the micro-batch was halved,
    which holds for the rest of the run. The result is that of accumulation with the smaller micro-batch.

    Raises:
        TrainingError: the phase ties rows together, one row is too many, or other processes take part.
    """
    before = engine.rows_at_once
    while True:
        try:
            losses = accumulate()
            break
        except torch.OutOfMemoryError as error:
            engine.recovery.micro_batch_size = _halved(engine, prepared, error)
        # Not while the error is handled: its traceback holds on to what was computed.
        engine.optimizers[prepared.phase.optimizer].clear_gradients()
        prepared.still.put_back()
        prepared.moving.put_back()
    if engine.rows_at_once < before:
        engine.warn(
            f"step {engine.step_index + 1:,}: {engine.device} ran out of memory with {before:,} rows at once;"
            f" the step was done again, and training goes on, with {engine.rows_at_once:,} at once",
            f"to begin with as many:  engine.micro_batch_size={engine.rows_at_once}",
        )
    return losses


def _halved(engine: Engine, prepared: PreparedPhase, error: torch.OutOfMemoryError) -> int:
    rows, name = engine.rows_at_once, prepared.phase.name
    where = f"step {engine.step_index + 1:,}: {engine.device} ran out of memory in phase '{name}'"
    fewer = f"take fewer rows a step:  engine.batch_size={max(1, engine.batch_size // 2)}"
    if prepared.couples_rows:
        raise TrainingError(
            f"{where}, with all {engine.batch_size:,} rows at once, which belong together.",
            "engine.micro_batch_size does not split what ties rows together: batch norm, packing, a loss of all rows",
            fewer,
        ) from error
    if rows == 1:
        raise TrainingError(
            f"{where}, with a single row at once (engine.micro_batch_size=1).",
            "take smaller networks, or another device:  engine.device=cpu",
        ) from error
    if engine.world.size > 1:
        raise TrainingError(
            f"{where}, with {rows:,} rows at once in each process.",
            f"compute fewer at once, in all processes:  engine.micro_batch_size={-(-rows // 2)}",
        ) from error
    return -(-rows // 2)
