"""Losses and norms, kept on the device and read once per logging interval."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ganvae_core.types import Loss

GRADIENT_NORM = "gradient_norm"
LOSS = "loss"
DROPPED = "dropped_updates"


@dataclass(frozen=True)
class NotFinite:
    """An update whose loss or gradient was not finite; ``step`` counts from 0."""

    step: int
    phase: str
    terms: tuple[str, ...]


@dataclass
class UpdateCounts:
    """The updates of one phase in an interval: their number, and those that were not finite."""

    count: int = 0
    dropped: int = 0
    dropped_last: int = 0
    first: NotFinite | None = None

    def note(self, not_finite: NotFinite | None) -> None:
        """Count one update."""
        self.count += 1
        self.dropped_last = 0 if not_finite is None else self.dropped_last + 1
        if not_finite is not None:
            self.dropped += 1
            self.first = self.first or not_finite


@dataclass(frozen=True)
class Reading:
    """The content of the log since the last reading.

    Args:
        averages: by ``phase/term``, over the updates that were made.
        updates: by phase.
        first: the first update that was not finite.
    """

    averages: Mapping[str, float] = field(default_factory=dict)
    updates: Mapping[str, UpdateCounts] = field(default_factory=dict)
    first: NotFinite | None = None


class StepLog:
    """Scalars of the steps since the last reading, as tensors on the device, without a synchronisation in a step."""

    def __init__(self) -> None:
        self._labels: list[tuple[int, str, tuple[str, ...]]] = []
        self._values: list[Tensor] = []

    @property
    def pending(self) -> bool:
        """Whether there are entries since the last reading."""
        return bool(self._values)

    def add(self, step: int, phase: str, loss: Loss, gradient_norm: Tensor) -> None:
        """Add the outcome of one update: loss, terms, and the norm of its gradient before clipping."""
        self._labels.append((step, phase, (LOSS, *loss.terms, GRADIENT_NORM)))
        self._values.append(loss.value.detach())
        self._values.extend(value.detach() for value in loss.terms.values())
        self._values.append(gradient_norm)

    def read(self) -> Reading:
        """Return the entries since the last reading, and clear them."""
        if not self._values:
            return Reading()
        numbers: list[float] = torch.stack([value.float() for value in self._values]).tolist()
        labels, self._labels, self._values = self._labels, [], []
        collected: defaultdict[str, list[float]] = defaultdict(list)
        updates: defaultdict[str, UpdateCounts] = defaultdict(UpdateCounts)
        first: NotFinite | None = None
        at = 0
        for step, phase, names in labels:
            values, at = numbers[at : at + len(names)], at + len(names)
            not_finite = None if _is_made(values) else NotFinite(step, phase, _not_finite(names, values))
            updates[phase].note(not_finite)
            first = first or not_finite
            if not_finite is None:
                for name, value in zip(names, values, strict=True):
                    collected[f"{phase}/{name}"].append(value)
        averages = {name: math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
                    for name, values in collected.items()}  # fmt: skip
        return Reading(averages, dict(updates), first)


_LARGEST = torch.finfo(torch.float32).max


def _is_made(values: list[float]) -> bool:
    """Whether an update was made: the sum of loss and norm is finite in float32.

    A term that is only logged may be infinite: the update is made all the same.
    """
    return abs(values[0] + values[-1]) <= _LARGEST


def _not_finite(names: tuple[str, ...], values: list[float]) -> tuple[str, ...]:
    return tuple(name for name, value in zip(names, values, strict=True) if not math.isfinite(value)) or (
        LOSS,
        GRADIENT_NORM,
    )
