"""One phase's update: loss and gradient by micro-batches and over ranks, then norm, clip and step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from ganvae_core.data.randomness import mixed_seed, purpose
from ganvae_core.engine.memory_limit import within_memory
from ganvae_core.engine.phases import PreparedPhase, check_loss
from ganvae_core.engine.precision import ComponentPrecision
from ganvae_core.engine.sharing import UpdateSum
from ganvae_core.engine.stopping import StopAgreement
from ganvae_core.types import Batch, Loss

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine

STEP = purpose("random numbers of a step")


@final
class Updates:
    """Makes the updates of an engine's phases. None waits for the device, since what is not finite is masked there.

    Two things make a step wait all the same, for the flag: RMSprop, which cannot mask, and a phase's ``after``, which
    may change anything, so that the loop reads the flag before it calls it.

    Args:
        engine: whose phases, optimizers and rows they are.
        components: in which precision losses are computed.
        agreement: hears of the wishes to stop, which travel with the gradients.

    Attributes:
        found_inf: () on the device, not 0 once a loss or a gradient was not finite; whoever sets it to 0 goes on.
    """

    def __init__(self, engine: Engine, components: ComponentPrecision, agreement: StopAgreement) -> None:
        self.engine = engine
        self.found_inf = torch.zeros((), dtype=torch.float32, device=engine.device)
        self._components = components
        self._agreement = agreement
        self._sums = [UpdateSum(engine.world, prepared) for prepared in engine.phases]
        self._checked: set[str] = set()

    def make(self, prepared: PreparedPhase, batch: Batch, generator: torch.Generator) -> tuple[Loss, Tensor]:
        """Update what a phase trains, and return the loss of the whole batch and () the norm of its gradient.

        Args:
            prepared: the phase.
            batch: this rank's rows.
            generator: of the device's random numbers.

        Raises:
            TrainingError: what the phase returns is no loss, memory ran out, or another rank cannot be reached.
        """
        engine = self.engine
        optimizer = engine.optimizers[prepared.phase.optimizer]
        optimizer.clear_gradients()
        losses = within_memory(engine, prepared, lambda: self._accumulate(prepared, batch, generator))
        loss = losses[0] if len(losses) == 1 else _sum(losses)
        if engine.world.size > 1:
            loss = self._over_ranks(prepared, loss)
        norm = self._gradient_norm(prepared.parameters, loss.value.detach())
        if optimizer.settings.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(prepared.parameters, optimizer.settings.clip_norm, norm)
        optimizer.step(batch.samples_seen, self.found_inf)
        return loss, norm

    def _accumulate(self, prepared: PreparedPhase, batch: Batch, generator: torch.Generator) -> list[Loss]:
        """The losses of the micro-batches, their gradients added up in the parameters."""
        engine, phase = self.engine, prepared.phase
        losses: list[Loss] = []
        for row, share, part in self._micro_batches(prepared.couples_rows, batch):
            generator.manual_seed(
                mixed_seed(engine.settings.seed, STEP, engine.step_index, prepared.index, row)
            )
            if phase.second_order:
                with self._components.full():
                    loss = phase.loss(part)
            else:
                loss = phase.loss(part)
            if phase.name not in self._checked:
                check_loss(phase, loss)
                self._checked.add(phase.name)
            loss = loss if share == 1.0 else _scaled(loss, share)
            loss.value.backward()
            losses.append(loss)
        return losses

    def _over_ranks(self, prepared: PreparedPhase, loss: Loss) -> Loss:
        """The loss of the whole batch, after its gradient has been summed over ranks."""
        engine = self.engine
        share = (engine.rows.stop - engine.rows.start) / engine.batch_size
        wish = self._agreement.flags(engine.stop_requested, engine.interrupted)
        loss, wishes = self._sums[prepared.index].over_ranks(loss, share, wish)
        self._agreement.hear(wishes)
        return loss

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
        engine = self.engine
        first, count = engine.rows.start, engine.rows.stop - engine.rows.start
        if couples_rows or engine.rows_at_once >= count:
            yield first, count / engine.batch_size, batch
            return
        for row in range(0, count, engine.rows_at_once):
            rows = slice(row, min(row + engine.rows_at_once, count))
            condition = None if batch.condition is None else batch.condition[rows]
            mask = None if batch.mask is None else batch.mask[rows]
            part = Batch(batch.x[rows], condition, mask, batch.index[rows], batch.samples_seen)
            yield first + row, (rows.stop - row) / engine.batch_size, part


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
