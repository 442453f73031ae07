"""One phase's update: loss and gradient by micro-batches and over ranks, then norm, clip and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core.data.randomness import mixed_seed, purpose
from ganvae_core.engine.optimizers import ScheduledOptimizer
from ganvae_core.engine.phases import BufferSnapshot, PreparedPhase, check_loss
from ganvae_core.engine.precision import Computing
from ganvae_core.engine.processes import World
from ganvae_core.engine.sharing import UpdateSum
from ganvae_core.engine.state import TrainingState
from ganvae_core.engine.stopping import StopFlag
from ganvae_core.errors import TrainingError
from ganvae_core.types import Batch, Loss

STEP = purpose("random numbers of a step")


@final
class Updates:
    """Makes the updates of an objective's phases. An update that is not finite is masked on the device.

    A step waits for the device in one case only: an optimizer that cannot mask an update reads the flag.

    Out of memory is recognised by ``torch.OutOfMemoryError``, which CUDA and XPU raise. MPS raises a plain
    RuntimeError, which ends the run.

    Args:
        state: what is trained.
        phases: of its objective.
        world: the ranks.
        seed: of the random numbers.
        computing: the precision that losses are computed in.
        stop: the request to stop, which is summed with the gradients.
        release_data: gives up the memory of data that is kept on the device, and returns whether there was any.

    Attributes:
        found_inf: () on the device, not 0 once a loss or a gradient was not finite.
    """

    def __init__(
        self,
        state: TrainingState,
        phases: Sequence[PreparedPhase],
        world: World,
        seed: int,
        computing: Computing,
        stop: StopFlag,
        release_data: Callable[[], bool] = lambda: False,
    ) -> None:
        self.state = state
        self.found_inf = torch.zeros((), dtype=torch.float32, device=computing.device)
        self.rows = world.rows(state.batch_size)  # of a global batch, those of this rank
        self.masks_after = computing.device.type != "cpu"
        self._world = world
        self._seed = seed
        self._computing = computing
        self._stop = stop
        self._release_data = release_data
        self._sums = [UpdateSum(world, prepared) for prepared in phases]
        self._checked: set[str] = set()

    @property
    def rows_at_once(self) -> int:
        """Rows of a micro-batch, where a phase's rows can be split."""
        own = self.rows.stop - self.rows.start
        return min(self.state.micro_batch_size or own, own)

    def make(self, prepared: PreparedPhase, batch: Batch, generator: torch.Generator) -> tuple[Loss, Tensor]:
        """Update what a phase trains, and return the loss of the whole batch and () the norm of its gradient.

        Args:
            prepared: the phase.
            batch: this rank's rows.
            generator: of the device's random numbers.

        Raises:
            TrainingError: what the phase returns is no loss, memory ran out, or another rank cannot be reached.
        """
        optimizer = self.state.optimizers[prepared.phase.optimizer]
        optimizer.clear_gradients()
        losses = self._accumulate_within_memory(prepared, batch, generator)
        loss = losses[0] if len(losses) == 1 else _sum(losses)
        if self._world.size > 1:
            share = (self.rows.stop - self.rows.start) / self.state.batch_size
            loss, requests = self._sums[prepared.index].over_ranks(loss, share, self._stop.as_tensor())
            self._stop.accumulate(requests)
        norm = self._gradient_norm(prepared.parameters, loss.value.detach())
        if optimizer.settings.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(prepared.parameters, optimizer.settings.clip_norm, norm)
        self._step_within_memory(prepared, optimizer, batch.samples_seen)
        return loss, norm

    def after(self, prepared: PreparedPhase, loss: Loss) -> None:
        """Call the phase's ``after``, which leaves everything as it was where the update was not finite.

        On a CPU it is not called then. An accelerator would have to be waited for: there, what it changed is put back.
        """
        after = prepared.phase.after
        assert after is not None
        averages = {name: value.detach() for name, value in {**loss.terms, **loss.statistics}.items()}
        with torch.no_grad():
            if self.masks_after:
                self._everything.take()
                after(averages)
                self._everything.put_back_where(self.found_inf)
            elif not self.found_inf.item():
                after(averages)

    @cached_property
    def _everything(self) -> BufferSnapshot:
        """All that ``after`` may change."""
        objective = self.state.objective
        return BufferSnapshot([*objective.parameters(), *objective.buffers()])

    def _step_within_memory(
        self, prepared: PreparedPhase, optimizer: ScheduledOptimizer, samples_seen: int
    ) -> None:
        """Update the parameters. An optimizer allocates its state in its first step, which is repeated if need be."""
        first = not optimizer.torch_optimizer.state
        while True:
            try:
                optimizer.step(samples_seen, self.found_inf)
                return
            except torch.OutOfMemoryError as error:
                if not (first and self._release()):
                    raise TrainingError(
                        f"step {self.state.run_step + 1:,}: {self._computing.device} ran out of memory in the optimizer"
                        f" of phase '{prepared.phase.name}'.",
                        "take smaller networks, an optimizer with less state, or another device:  engine.device=cpu",
                    ) from error
            optimizer.torch_optimizer.state.clear()  # what it had allocated before memory ran out

    def _release(self) -> bool:
        """Whether memory was gained by reading data row by row instead of keeping it on the device."""
        released = self._release_data()
        if released:
            self.state.warn(
                f"step {self.state.run_step + 1:,}: {self._computing.device} ran out of memory; the data"
                " is not kept on it any more, and is read ahead instead"
            )
        return released

    def _accumulate_within_memory(
        self, prepared: PreparedPhase, batch: Batch, generator: torch.Generator
    ) -> list[Loss]:
        """The losses of the micro-batches.

        After an out-of-memory error they are computed again: without the data that is kept on the device, if it is,
        else with half the rows at once. The smaller micro-batch is kept for the rest of the run.

        Raises:
            TrainingError: the phase ties rows together, one row is too many, or other processes take part.
        """
        before = self.rows_at_once
        while True:
            try:
                losses = self._accumulate(prepared, batch, generator)
                break
            except torch.OutOfMemoryError as error:
                if not self._release():
                    self.state.micro_batch_size = self._halved(prepared, error)
            # Outside of the except block: the traceback keeps tensors in memory.
            self.state.optimizers[prepared.phase.optimizer].clear_gradients()
            prepared.still.put_back()
            prepared.moving.put_back()
        if self.rows_at_once < before:
            self.state.warn(
                f"step {self.state.run_step + 1:,}: {self._computing.device} ran out of memory with {before:,} rows"
                f" at once; the step was done again, and training goes on, with {self.rows_at_once:,} at once",
                f"to begin with as many:  engine.micro_batch_size={self.rows_at_once}",
            )
        return losses

    def _halved(self, prepared: PreparedPhase, error: torch.OutOfMemoryError) -> int:
        rows, batch_size = self.rows_at_once, self.state.batch_size
        where = (
            f"step {self.state.run_step + 1:,}: {self._computing.device} ran out of memory in phase"
            f" '{prepared.phase.name}'"
        )
        if prepared.couples_rows:
            raise TrainingError(
                f"{where}, with all {batch_size:,} rows at once, which belong together.",
                "engine.micro_batch_size does not split what ties rows together: batch norm, packing, a loss of all"
                " rows",
                f"take fewer rows a step:  engine.batch_size={max(1, batch_size // 2)}",
            ) from error
        if rows == 1:
            raise TrainingError(
                f"{where}, with a single row at once (engine.micro_batch_size=1).",
                "take smaller networks, or another device:  engine.device=cpu",
            ) from error
        if self._world.size > 1:
            raise TrainingError(
                f"{where}, with {rows:,} rows at once in each process.",
                f"compute fewer at once, in all processes:  engine.micro_batch_size={-(-rows // 2)}",
            ) from error
        return -(-rows // 2)

    def _accumulate(self, prepared: PreparedPhase, batch: Batch, generator: torch.Generator) -> list[Loss]:
        """The losses of the micro-batches, their gradients added up in the parameters."""
        phase = prepared.phase
        losses: list[Loss] = []
        with self._computing.update(second_order=phase.second_order):
            for row, share, part in self._micro_batches(prepared.couples_rows, batch):
                generator.manual_seed(mixed_seed(self._seed, STEP, self.state.step, prepared.index, row))
                loss = phase.loss(part)
                if phase.name not in self._checked:
                    check_loss(phase, loss)
                    self._checked.add(phase.name)
                loss = loss if share == 1.0 else _scaled(loss, share)
                loss.value.backward()
                losses.append(loss)
        return losses

    def _gradient_norm(self, parameters: list[nn.Parameter], value: Tensor) -> Tensor:
        """() the norm of the gradient; notes in ``found_inf``, which is sticky, if it or the loss is not finite."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = torch._foreach_norm(gradients)  # pyright: ignore
        norm = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros_like(value)
        total = norm + value
        self.found_inf.logical_or_(total - total)  # 0 where it is finite, else NaN, which counts as true
        return norm

    def _micro_batches(self, couples_rows: bool, batch: Batch) -> Iterator[tuple[int, float, Batch]]:
        """(first row in the global batch, share of it, rows) for each micro-batch of this rank.

        Where rows are coupled there is one.
        """
        first, count = self.rows.start, self.rows.stop - self.rows.start
        if couples_rows or self.rows_at_once >= count:
            yield first, count / self.state.batch_size, batch
            return
        for row in range(0, count, self.rows_at_once):
            rows = slice(row, min(row + self.rows_at_once, count))
            condition = None if batch.condition is None else batch.condition[rows]
            mask = None if batch.mask is None else batch.mask[rows]
            part = Batch(batch.x[rows], condition, mask, batch.index[rows], batch.samples_seen)
            yield first + row, (rows.stop - row) / self.state.batch_size, part


def _scaled(loss: Loss, share: float) -> Loss:
    terms = {name: value.detach() * share for name, value in loss.terms.items()}
    statistics = {name: value.detach() * share for name, value in loss.statistics.items()}
    return Loss(loss.value * share, terms, statistics)


def _sum(losses: list[Loss]) -> Loss:
    first = losses[0]
    return Loss(
        torch.stack([loss.value.detach() for loss in losses]).sum(),
        {name: torch.stack([loss.terms[name] for loss in losses]).sum() for name in first.terms},
        {name: torch.stack([loss.statistics[name] for loss in losses]).sum(0) for name in first.statistics},
    )
