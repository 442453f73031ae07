"""Held-out rows while a run trains: when they are measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ganvae_core.engine.settings import EngineSettings
from ganvae_core.training import Metric

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
