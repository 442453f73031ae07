"""Losses and norms, kept on the device and read once per logging interval."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganvae_core.types import Loss

GRADIENT_NORM = "gradient_norm"
LOSS = "loss"
DROPPED = "dropped_updates"
_LARGEST = torch.finfo(torch.float32).max


class NotFinite(NamedTuple):
    """An update whose loss or gradient was not finite; ``step`` counts from 0, and ``terms`` names what was not."""

    step: int
    phase: str
    terms: str


class Reading(NamedTuple):
    """The content of the log since the last reading.

    Attributes:
        averages: by ``phase/term``, over the updates that were made.
        updates: by phase, in their order: what was not finite in each, or None where it was made.
        seconds: from the last reading to an interrupt after which training went on.
    """

    averages: Mapping[str, float]
    updates: Mapping[str, Sequence[NotFinite | None]]
    seconds: float


class StepLog:
    """Scalars of the steps since the last reading, as tensors on the device, without a synchronisation in a step.

    Attributes:
        seconds: from the last reading to an interrupt, which a resumed run adds to its own.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._labels: list[tuple[int, str, tuple[str, ...]]] = []
        self._values: list[Tensor] = []
        self._counts: Counter[str] = Counter()
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._updates: defaultdict[str, list[NotFinite | None]] = defaultdict(list)

    @property
    def pending(self) -> bool:
        """Whether something was added since the last reading."""
        return bool(self._values or self._updates)

    def add(self, step: int, phase: str, loss: Loss, gradient_norm: Tensor) -> None:
        """Add the outcome of one update: loss, terms, and the norm of its gradient before clipping."""
        self._labels.append((step, phase, (LOSS, *loss.terms, GRADIENT_NORM)))
        self._values.append(loss.value.detach())
        self._values.extend(value.detach() for value in loss.terms.values())
        self._values.append(gradient_norm)

    def read(self) -> Reading:
        """Return the averages since the last reading, and clear them."""
        self._transfer()
        averages = {name: self._sums[name] / count for name, count in self._counts.items()}
        reading = Reading(averages, self._updates, self.seconds)
        self.seconds = 0.0
        self._counts, self._sums, self._updates = Counter(), defaultdict(float), defaultdict(list)
        return reading

    def first_not_finite(self) -> NotFinite | None:
        """The first update since the last reading that was not finite."""
        self._transfer()
        found = [update for updates in self._updates.values() for update in updates if update is not None]
        return min(found, key=lambda update: update.step, default=None)

    def state(self) -> dict[str, Any]:
        """The sums since the last reading as JSON values, exactly, for a checkpoint between two readings."""
        self._transfer()
        sums = {name: [count, self._sums[name]] for name, count in self._counts.items()}
        updates = {phase: [None if update is None else [update.step, update.terms] for update in made]
                   for phase, made in self._updates.items()}  # fmt: skip
        return {"sums": sums, "updates": updates, "seconds": self.seconds} if updates or self.seconds else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue the sums that ``state`` gave."""
        self.seconds = float(state.get("seconds", 0.0))
        for name, (count, total) in state.get("sums", {}).items():
            self._counts[name] = int(count)
            self._sums[name] = math.nan if total is None else float(total)
        for phase, made in state.get("updates", {}).items():
            self._updates[phase] = [update and NotFinite(update[0], phase, update[1]) for update in made]

    def _transfer(self) -> None:
        """Read what was added from the device into the sums."""
        numbers = iter(
            torch.stack([value.float() for value in self._values]).tolist() if self._values else []
        )
        labels, self._labels, self._values = self._labels, [], []
        for step, phase, names in labels:
            values = {name: next(numbers) for name in names}
            # As the engine asks on the device. A term that is only logged may be infinite: the update is made.
            if abs(values[LOSS] + values[GRADIENT_NORM]) <= _LARGEST:
                self._updates[phase].append(None)
                for name, value in values.items():
                    self._counts[f"{phase}/{name}"] += 1
                    self._sums[f"{phase}/{name}"] += value
            else:
                terms = [name for name, value in values.items() if not math.isfinite(value)]
                dropped = NotFinite(step, phase, ", ".join(terms or (LOSS, GRADIENT_NORM)).replace("_", " "))
                self._updates[phase].append(dropped)
