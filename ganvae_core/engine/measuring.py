"""Held-out rows while a run trains: when they are measured, what was found, and which state was the best."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import torch

from ganvae_core.data.split import Split
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.engine.state import LOGGER, Results, TrainingState
from ganvae_core.evaluation.measuring import evaluate, figures_of, judged_by
from ganvae_core.interfaces import FittedPrior
from ganvae_core.store.manifests import is_better, much_worse
from ganvae_core.training import Metric
from ganvae_core.types import HELD_OUT, Better

WATCHED_ROWS = 512
"""Held-out rows that are measured while training, and rows of training or samples that they are compared with."""
SHARE = 0.02
"""Of the rows that go through the networks between two measurements, those of one measurement."""
FEWEST_ROWS = 256
"""Rows whose time a measurement takes at least."""
PASSES = 3
"""A row that is learned from takes about as long as three that are measured: the gradient costs two passes more."""
WORSE_MEASUREMENTS = 2
"""Measurements since the best one that are much worse, at which a run warns of it while it trains."""


def steps_between(
    settings: EngineSettings, metrics: Sequence[Metric], held_out: int, batch_size: int
) -> int | None:
    """Steps from one measurement to the next; None where nothing is measured.

    It follows from the settings and the numbers of rows alone, so that a resumed run measures at the same steps.

    Args:
        settings: ``evaluate_every`` where it is given; otherwise it is a multiple of ``log_every``.
        metrics: of the run.
        held_out: rows.
        batch_size: rows of a step.
    """
    cheap = [metric for metric in metrics if metric.cheap]
    if not cheap or not held_out:
        return None
    if settings.evaluate_every is not None:
        return settings.evaluate_every
    rows = max(FEWEST_ROWS, len(cheap) * min(WATCHED_ROWS, held_out))
    return settings.log_every * math.ceil(rows / (SHARE * PASSES * batch_size * settings.log_every))


@final
class Measurements:
    """Measures held-out rows, writes the results into the state, and warns where they become much worse.

    Args:
        state: of training.
        data: with the held-out rows.
        metrics: the first figure of the first one is what the state is judged by.
        settings: of the engine.
        device: of the model.

    Attributes:
        every: steps from one measurement to the next; None where nothing is measured.
    """

    def __init__(
        self,
        state: TrainingState,
        data: Split,
        metrics: Sequence[Metric],
        settings: EngineSettings,
        device: torch.device,
    ) -> None:
        self.metrics = metrics
        self.every = steps_between(settings, metrics, len(data.held_out), state.batch_size)
        self._state = state
        self._data = data
        self._settings = settings
        self._device = device
        self._left_out: set[str] = set()  # first figures of metrics of which it was said

    def due(self, *, saved: bool) -> bool:
        """Whether this step is measured; ``saved`` is whether a checkpoint is written after it."""
        if self.every is None:
            return False
        return self._state.run_step % self.every == 0 or (saved and self._settings.evaluate_every is None)

    @property
    def is_best(self) -> bool:
        """Whether the state of now was just measured as the best so far."""
        return self._state.best is not None and self._state.best[1] == self._state.run_step

    def take(self, directory: Path | None, *, more_steps: bool) -> Mapping[str, float]:
        """Measure a few hundred rows by the cheap metrics while training.

        Args:
            directory: of the run, if it has one.
            more_steps: whether training goes on, so that a warning is of use.
        """
        values, gaps = self._evaluate(self.metrics, WATCHED_ROWS, cheap_only=True)
        by = judged_by(self.metrics, values)
        judged = None if by is None else values[by[0]]
        state, worse = self._state, self._store(values, gaps, judged)
        state.pending.update({HELD_OUT + name: value for name, value in values.items()})
        if worse:
            state.worse += 1
            if state.worse == WORSE_MEASUREMENTS and more_steps:
                kept = ["Ctrl-C ends the run, and its best checkpoint is kept"]
                self._warn_of_worse(kept if directory is not None else [])
        elif by is not None and judged is not None and self._is_better(judged, by[1]):
            state.best, state.worse = (judged, state.run_step), 0
        return values

    def take_last(self, directory: Path | None) -> Mapping[str, float]:
        """Measure all that the metrics ask for, at the end of a stage.

        The best is not changed: a run that is trained for longer does not have this measurement.

        Args:
            directory: of the run, if it has one.
        """
        values, gaps = self._evaluate(self.metrics, None, cheap_only=False)
        by, few = judged_by(self.metrics, values), values
        if by is not None and len(self._data.held_out) > WATCHED_ROWS:  # of as many rows as the best was
            few, _ = self._evaluate(self.metrics[:1], WATCHED_ROWS, cheap_only=False)
        judged = None if by is None else few.get(by[0], values[by[0]])
        if self._store(values, gaps, judged):
            best = (
                f"sample the best checkpoint:  ganvae sample {shlex.quote(str(directory))} --checkpoint best"
            )
            self._warn_of_worse([best] if directory is not None else [])
        return values

    def _store(self, values: Mapping[str, float], gaps: Mapping[str, str], judged: float | None) -> bool:
        """Write results into the state, and return whether the one that it is judged by is much worse than the best."""
        state, by = self._state, judged_by(self.metrics, values)
        state.results = Results(values, state.run_step, by, judged, figures_of(self.metrics), gaps)
        if by is None or judged is None or state.best is None:
            return False
        return much_worse(judged, state.best[0], by[1])

    def _is_better(self, value: float, direction: Better) -> bool:
        best = self._state.best
        return math.isfinite(value) and (best is None or is_better(value, best[0], direction))

    def _evaluate(
        self, metrics: Sequence[Metric], most: int | None, *, cheap_only: bool
    ) -> tuple[dict[str, float], dict[str, str]]:
        gaps: dict[str, str] = {}
        model, seed = self._state.ema.model, self._settings.seed
        values = evaluate(
            model, self._data, metrics, seed, self._device, cheap_only=cheap_only, most_rows=most, gaps=gaps
        )
        for metric in metrics:
            figure = metric.figures[0]
            reason = gaps.get(figure.name)
            if reason is not None and figure.name not in self._left_out:
                LOGGER.warning("the metric of %s is left out: %s", figure.label, reason)
                self._left_out.add(figure.name)
        return values, gaps

    def _warn_of_worse(self, hints: list[str]) -> None:
        """Warn that a result is much worse than the best, with what can be done about it."""
        state, figure = self._state, self.metrics[0].figures[0]
        assert state.best is not None
        best, at = state.best
        now, then = (
            f"{each:.4g} {figure.unit}".rstrip().replace("-", "−") for each in (state.results.judged, best)
        )
        # Only the last checkpoint has a fitted prior, and so one that can be sampled.
        if isinstance(state.ema.model.prior, FittedPrior):
            hints = [f"train for fewer steps:  engine.steps={at}"]
        state.warn(
            f"step {state.run_step:,}: the model is worse on held-out rows than before: {figure.label} {now},"
            f" and {then} at step {at:,}",
            *hints,
            "end such runs early:  callbacks=[early-stopping]",
        )
