"""A wish to stop, and how ranks come to stop after the same step."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from ganvae_core.engine.processes import World


@final
class StopAgreement:
    """What all ranks know of a wish to stop that one of them has.

    The wish goes into every all-reduce. On a CPU its sum is read at once. On an accelerator that would make each step
    wait for the device, so it is read at intervals, where the engine reads its log.
    """

    def __init__(self, world: World, device: torch.device) -> None:
        self.stop = self.interrupted = False
        self._read_at_once = device.type == "cpu"
        self._summed = torch.zeros(2, device=device if world.size > 1 else "cpu")
        wishes = [(False, False), (True, False), (True, True), (False, True)]
        # Made once: a tensor that is made from numbers in a step would make it wait for the device.
        self._flags = {wish: self._summed.new_tensor(wish) for wish in wishes}

    def clear(self) -> None:
        """Nobody wants to stop."""
        self.stop = self.interrupted = False
        self._summed.zero_()

    def flags(self, stop: bool, interrupted: bool) -> Tensor:
        """(2,) this rank's wish, to be summed over ranks."""
        return self._flags[stop, interrupted]

    def hear(self, summed: Tensor) -> None:
        """Take in the sum (2,) of all ranks' wishes."""
        self._summed += summed
        if self._read_at_once:
            self.read()

    def read(self) -> None:
        """Look at what was summed."""
        stop, interrupted = self._summed.tolist()
        self.adopt(stop > 0, interrupted > 0)

    def adopt(self, stop: bool, interrupted: bool) -> None:
        """Take over what rank 0 wants."""
        self.stop |= stop
        self.interrupted |= interrupted
