"""A metric and a callback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch

from ganvae_core import Callback, Figure, Metric, Subject, TrainingView


@final
class Spread(Metric):
    """The standard deviation of samples, averaged over their values."""

    needs = frozenset({"prior"})
    figures = (Figure("spread", "spread of samples"),)

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """``spread``: in the model's units."""
        made = torch.cat([batch.x for batch in subject.samples(100)])
        return {"spread": float(made.flatten(1).std(0).mean())}


@final
class Tally(Callback):
    """Counts the logging intervals of a run."""

    def __init__(self) -> None:
        self.count = 0

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """One more."""
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The count."""
        self.count = int(state["count"])
