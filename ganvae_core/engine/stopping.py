"""A request to stop, and how all ranks stop after the same step."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from ganvae_core.engine.processes import World


@final
class StopFlag:
    """A request to stop training after the current step.

    With several ranks, each rank's request is part of every all-reduce. On a CPU the sum is read at once. On an
    accelerator reading it would make each step wait for the device, so it is read when the log is.

    Attributes:
        requested: whether this rank was asked to stop.
        interrupted: whether it was asked by a signal, so that training is not complete.
        because: the end of a sentence that begins with "stopped early:".
    """

    def __init__(self, world: World, device: torch.device) -> None:
        self.requested = self.interrupted = False
        self.because: str | None = None
        self._agreed = self._agreed_interrupted = False
        self._alone = world.size == 1
        self._read_at_once = device.type == "cpu"
        self._summed = torch.zeros(2, device="cpu" if self._alone else device)
        # Made once: copying numbers to the device in a step would synchronise with it.
        pairs = [(False, False), (True, False), (True, True), (False, True)]
        self._flags = {pair: self._summed.new_tensor(pair) for pair in pairs}

    def request(self, because: str | None = None, *, interrupted: bool = False) -> None:
        """Ask for a stop after the current step."""
        self.requested = True
        self.interrupted |= interrupted
        self.because = because or self.because

    @property
    def stops(self) -> bool:
        """Whether training stops after this step: all ranks agree on it."""
        return self.requested if self._alone else self._agreed

    @property
    def incomplete(self) -> bool:
        """Whether training stops because of a signal."""
        return self.interrupted if self._alone else self._agreed_interrupted

    def clear(self) -> None:
        """Clear all requests, before and after training."""
        self.requested = self.interrupted = self._agreed = self._agreed_interrupted = False
        self._summed.zero_()

    def as_tensor(self) -> Tensor:
        """(2,) this rank's request, to be summed over ranks."""
        return self._flags[self.requested, self.interrupted]

    def accumulate(self, summed: Tensor) -> None:
        """Add the sum (2,) of all ranks' requests."""
        self._summed += summed
        if self._read_at_once:
            self.read()

    def read(self) -> None:
        """Read what was accumulated."""
        requested, interrupted = self._summed.tolist()
        self.adopt(requested > 0, interrupted > 0)

    def adopt(self, requested: bool, interrupted: bool) -> None:
        """Adopt the request of rank 0."""
        self._agreed |= requested
        self._agreed_interrupted |= interrupted
