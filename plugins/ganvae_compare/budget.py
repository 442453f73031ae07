"""A callback that ends training when its time is spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import ganvae_core as gv


@final
class Budget(gv.Callback):
    """Ends training, as complete, at the first logging interval after so many seconds of training.

    Where a run is resumed, time counts on. A budget of time makes the number of steps depend on the machine; one in
    steps (``engine.steps``) does not.

    Args:
        seconds: of training, measuring and saving included.
        stages: of the recipe; each has an equal part of the seconds.

    Raises:
        ConfigurationError: the seconds are not positive, or there is no stage.
    """

    def __init__(self, *, seconds: float = 60.0, stages: int = 1) -> None:
        gv.in_range("budget: ", above=0, seconds=seconds)
        gv.in_range("budget: ", least=1, stages=stages)
        self.seconds = seconds
        self.stages = stages
        self._stage = 0
        self._spent = 0.0

    def on_start(self, training: gv.TrainingView) -> None:
        """Begin to count, in each stage anew."""
        if training.stage != self._stage:
            self._stage, self._spent = training.stage, 0.0

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        """End training where the time is spent."""
        self._spent += record["seconds"]
        if self._spent >= self.seconds / self.stages:
            training.stop(f"the budget of {self.seconds:g} s is spent")

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far in this stage."""
        return {"spent": self._spent, "stage": self._stage}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from there."""
        self._spent, self._stage = float(state["spent"]), int(state["stage"])
