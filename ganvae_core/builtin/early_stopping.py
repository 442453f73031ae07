"""Early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

from ganvae_core.builtin.option_checks import in_range
from ganvae_core.errors import ConfigurationError, name_of
from ganvae_core.evaluation.measuring import evaluate, judging_figure, measurable
from ganvae_core.training import Callback, TrainingView
from ganvae_core.types import HELD_OUT

MEASURED_ROWS = 512
"""Rows that are measured before the first step, to know that there is a result to follow."""


@final
class EarlyStopping(Callback):
    """Ends a stage of a run whose held-out result has not improved for some measurements.

    The result is the first figure of the run's first metric, which also chooses the best checkpoint. It is measured
    every ``engine.evaluate_every`` steps, and with each checkpoint. The best checkpoint stays on disk:
    ``--checkpoint best``.

    Args:
        patience: measurements in a row without an improvement after which the run ends.
        min_improvement: how much better a result must be to count as one, in the metric's units.

    Raises:
        ConfigurationError: an option is out of its range, or the first metric is not measured while this run trains.
    """

    def __init__(self, *, patience: int = 5, min_improvement: float = 0.0) -> None:
        in_range("early-stopping: ", least=1, patience=patience)
        in_range("early-stopping: ", min_improvement=min_improvement)
        self.patience = patience
        self.min_improvement = min_improvement
        self.best: float | None = None
        self.waited = 0
        self.stage = 0

    def on_start(self, training: TrainingView) -> None:
        """Refuse a run without a result; begin anew in a further stage, and end one at once that was ended before."""
        first = training.metrics[0] if training.metrics else None
        if first is None or not len(training.data.held_out):
            raise ConfigurationError(
                "early-stopping follows a held-out result, and this run has none.",
                "measure one:  metrics=[reconstruction]   with data.held_out=0.1",
                "or leave it out:  callbacks=[]",
            )
        if not first.cheap or not measurable(first, training.model):
            raise ConfigurationError(
                f"early-stopping follows {name_of(first)}, which is measured only after training.",
                "measure another one first:  metrics=[reconstruction]",
                "or leave it out:  callbacks=[]",
            )
        gaps: dict[str, str] = {}
        evaluate(training.model, training.data, [first], training.settings.seed, training.device,
                 most_rows=MEASURED_ROWS, gaps=gaps)  # fmt: skip
        if gaps:
            raise ConfigurationError(
                f"early-stopping follows {first.figures[0].label}, which is not available:"
                f" {next(iter(gaps.values()))}.",
                "measure another one first:  metrics=[reconstruction]",
                "or leave it out:  callbacks=[]",
            )
        if training.stage != self.stage:
            self.best, self.waited, self.stage = None, 0, training.stage
        self._end(training)

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """Compare a result that was measured at an interval with the best; that of the end has other rows."""
        figure = judging_figure(training.metrics)
        if figure is None or HELD_OUT + figure.name not in record:
            return
        value = record[HELD_OUT + figure.name]
        if self._improved(value, figure.better == "higher"):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        self._end(training)

    def _improved(self, value: float, higher_is_better: bool) -> bool:
        if not math.isfinite(value) or self.best is None:
            return math.isfinite(value)
        return (value - self.best if higher_is_better else self.best - value) > self.min_improvement

    def _end(self, training: TrainingView) -> None:
        if self.waited >= self.patience:
            best = "" if self.best is None else f", the best being {self.best:.4g}"
            training.stop(f"the held-out result has not improved for {self.waited} measurements{best}")

    def state_dict(self) -> dict[str, Any]:
        """The best result of the stage, and the measurements since."""
        return {"best": self.best, "waited": self.waited, "stage": self.stage}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue counting."""
        self.best, self.waited = state["best"], state["waited"]
        self.stage = state["stage"]
