"""Held-out rows while a run trains: when they are measured, which step was best, and whether to warn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ganvae_core.engine.settings import EngineSettings
from ganvae_core.store.manifests import much_worse
from ganvae_core.training import Metric
from ganvae_core.types import Better

WATCHED_ROWS = 512
"""Held-out rows that are measured while training, and rows of training or samples that they are compared with."""
SHARE = 0.02
"""Of the rows that go through the networks between two measurements, those of one measurement."""
FEWEST_ROWS = 256
"""Rows whose time a measurement takes at least."""
PASSES = 3
"""A row that is learned from takes about as long as three that are measured: the gradient costs two passes more."""
WORSE_MEASUREMENTS = 2
"""Measurements in a row that must be much worse than the best before a warning; the last one of a run is enough."""


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


@dataclass
class Watch:
    """The best held-out result so far.

    Args:
        best: the result; None before the first.
        step: that it was measured at.
        worse: measurements in a row, up to now, that were much worse.
        warned: whether a warning was given since.
    """

    best: float | None = None
    step: int = 0
    worse: int = 0
    warned: bool = False

    def add(self, value: float, step: int, better: Better) -> None:
        """Take the next measurement."""
        better_now = self.best is None or (value > self.best if better == "higher" else value < self.best)
        if better_now and math.isfinite(value):
            self.best, self.step, self.worse, self.warned = value, step, 0, False
        elif self.best is not None:
            self.worse = self.worse + 1 if much_worse(value, self.best, better) else 0

    def is_due(self, value: float, better: Better, *, last: bool = False) -> bool:
        """Whether to warn now, once until the result improves."""
        if self.warned or self.best is None or not much_worse(value, self.best, better):
            return False
        self.warned = last or self.worse >= WORSE_MEASUREMENTS
        return self.warned

    def as_dict(self) -> dict[str, Any]:
        """JSON values for a checkpoint."""
        return asdict(self)

    @classmethod
    def stored(cls, values: Any) -> Watch:
        """From what a checkpoint holds; a new one where it holds nothing."""
        return cls(**values) if isinstance(values, Mapping) else cls()
