"""A callback that ends training when its time is spent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, final

import ganvae_core as gv


@final
class Budget(gv.Callback):
    """Ends training, as complete, at the first logging interval after so many seconds of training.

    Where a run is resumed, time counts on from the last logging interval. A budget of time makes the number of steps
    depend on the machine; one in steps (``engine.steps``) does not.

    Args:
        seconds: of training, measuring and saving included.

    Raises:
        ConfigurationError: the budget is not positive.
    """

    def __init__(self, *, seconds: float = 60.0) -> None:
        if seconds <= 0:
            raise gv.ConfigurationError(f"budget: seconds={seconds} is not possible: it must be positive.")
        self.seconds = seconds
        self._spent = 0.0
        self._since = time.monotonic()

    def on_start(self, training: gv.TrainingView) -> None:
        """Begin to count."""
        self._since = time.monotonic()

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        """End training where the time is spent."""
        now = time.monotonic()
        self._spent += now - self._since
        self._since = now
        if self._spent >= self.seconds:
            training.stop(f"the budget of {self.seconds:g} s is spent")

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"spent": self._spent}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from there."""
        self._spent = float(state["spent"])
