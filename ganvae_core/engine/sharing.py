"""How ranks share one update: gradients, loss and moved buffers summed over them in one all-reduce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from ganvae_core.engine.flat import FlatTensors
from ganvae_core.engine.phases import PreparedPhase
from ganvae_core.engine.processes import World
from ganvae_core.engine.state import TrainingState
from ganvae_core.errors import TrainingError
from ganvae_core.types import Loss


@final
class UpdateSum:
    """Sums gradients, loss and moved buffers of one phase's update over ranks.

    Every rank ends with the same gradients and the same loss, bit for bit, so that all of them make the same update.
    A parameter has a gradient where it has one on any rank. Buffers that the phase moves (the running statistics of
    batch norm) move by the average over ranks.

    Args:
        world: the ranks.
        prepared: the phase.
    """

    def __init__(self, world: World, prepared: PreparedPhase) -> None:
        self.world = world
        self.prepared = prepared
        self._signature: object = None
        self._flat = FlatTensors([torch.zeros(())])

    def over_ranks(self, loss: Loss, share: float, flags: Tensor) -> tuple[Loss, Tensor]:
        """Put the sum over ranks into the gradients and the buffers, and return that of the loss and of ``flags``.

        Args:
            loss: of this rank's rows, weighted by their share; its gradient is in the parameters.
            share: of the batch that this rank's rows are.
            flags: (2,) further numbers to be summed.

        Raises:
            RankLostError: a rank cannot be reached.
        """
        parameters = self.prepared.parameters
        gradients = [parameter.grad for parameter in parameters]
        present = [gradient is not None for gradient in gradients]
        anywhere = self.world.count(present)
        changes = [change * share for change in self.prepared.moving.changes()]
        scalars = [loss.value.detach(), *(value.detach() for value in loss.terms.values())]
        statistics = [value.detach() for value in loss.statistics.values()]
        others = [flags, *changes, *scalars, *statistics]
        self._lay_out(loss, others)

        views = self._flat.views
        absent = [view for view, there in zip(views, present, strict=False) if not there]
        if absent:
            torch._foreach_zero_(absent)  # pyright: ignore
        there = [view for view, there in zip(views, present, strict=False) if there]
        torch._foreach_copy_(  # pyright: ignore
            [*there, *views[len(parameters) :]], [*(g for g in gradients if g is not None), *others]
        )
        for flat in self._flat.flats.values():
            self.world.sum_(flat)

        summed = iter(views[len(parameters) :])
        for parameter, view, count in zip(parameters, views, anywhere, strict=False):
            parameter.grad = view if count else None
        # The flat memory is reused by the next update: results that outlive this one are copied.
        flags = next(summed).clone()
        self.prepared.moving.move_by([next(summed) for _ in changes])
        value = next(summed).clone()
        terms = {name: next(summed).clone() for name in loss.terms}
        return Loss(value, terms, {name: next(summed).clone() for name in loss.statistics}), flags

    def _lay_out(self, loss: Loss, others: list[Tensor]) -> None:
        """Make the flat memory, at the first update and where the loss returns other terms than before."""
        signature = (*loss.terms, *loss.statistics, *((tensor.shape, tensor.dtype) for tensor in others))
        if signature == self._signature:
            return
        first, self._signature = self._signature is None, signature
        self._flat = FlatTensors([*self.prepared.parameters, *others])
        if first and len(set(self.world.exchange(str(signature)))) > 1:
            raise TrainingError(
                f"phase '{self.prepared.phase.name}': its loss returns different terms or statistics, or different"
                " shapes, on different ranks.",
                "terms are scalars, and statistics have a shape that does not depend on the number of rows",
            )


def synchronises(world: World, device: torch.device) -> bool:
    """Whether batch norm normalises the rows of all ranks together; torch has no such form for CPUs."""
    return world.size > 1 and device.type != "cpu"


def sharing_notes(
    world: World, device: torch.device, phases: Sequence[PreparedPhase], batch_norm: bool
) -> list[str]:
    """Sentences on what several ranks do otherwise than one."""
    if world.size == 1:
        return []
    found: list[str] = []
    if batch_norm:
        found.append(
            "batch norm normalises the rows of all processes together"
            if synchronises(world, device)
            else "batch norm normalises the rows of each process by themselves, and its running statistics are"
            " averaged over processes"
        )
    coupling = [f"'{prepared.phase.name}'" for prepared in phases if prepared.phase.couples_rows]
    if coupling:
        subject = (
            f"phase {coupling[0]} ties" if len(coupling) == 1 else f"phases {' and '.join(coupling)} tie"
        )
        found.append(f"{subject} rows together: those of each process, not those of all processes")
    return found


def broadcast_state(state: TrainingState, world: World, device: torch.device, target_steps: int) -> None:
    """Broadcast rank 0's weights, averages and optimizer states.

    Raises:
        TrainingError: ranks have not restored the same checkpoint.
    """
    if world.size == 1:
        return
    tensors: list[Tensor] = []
    for module in (state.objective, state.ema.model):
        tensors += [*module.parameters(), *module.buffers()]
    for optimizer in state.optimizers.values():
        for parameter in optimizer.parameters:
            values = optimizer.torch_optimizer.state.get(parameter, {}).values()
            tensors += [value for value in values if isinstance(value, Tensor)]
    there = world.exchange([state.run_step, len(tensors), target_steps])
    if any(other != there[0] for other in there):
        raise TrainingError(
            f"the processes of this run do not start at the same step: steps {[step for step, _, _ in there]} of"
            f" {[steps for _, _, steps in there]}.",
            "restore the same checkpoint in all of them, and give all of them the same number of steps",
        )
    world.broadcast_(tensors, device)
