"""Losses and norms, kept on the device and read once per logging interval."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
        first: the first update that was not finite.
    """

    averages: Mapping[str, float]
    updates: Mapping[str, Sequence[NotFinite | None]]
    first: NotFinite | None


class StepLog:
    """Scalars of the steps since the last reading, as tensors on the device, without a synchronisation in a step."""

    def __init__(self) -> None:
        self._labels: list[tuple[int, str, tuple[str, ...]]] = []
        self._values: list[Tensor] = []

    @property
    def pending(self) -> bool:
        """Whether something was added since the last reading."""
        return bool(self._values)

    def add(self, step: int, phase: str, loss: Loss, gradient_norm: Tensor) -> None:
        """Add the outcome of one update: loss, terms, and the norm of its gradient before clipping."""
        self._labels.append((step, phase, (LOSS, *loss.terms, GRADIENT_NORM)))
        self._values.append(loss.value.detach())
        self._values.extend(value.detach() for value in loss.terms.values())
        self._values.append(gradient_norm)

    def read(self) -> Reading:
        """Return the entries since the last reading, and clear them."""
        numbers = iter(
            torch.stack([value.float() for value in self._values]).tolist() if self._values else []
        )
        labels, self._labels, self._values = self._labels, [], []
        collected: defaultdict[str, list[float]] = defaultdict(list)
        updates: defaultdict[str, list[NotFinite | None]] = defaultdict(list)
        first: NotFinite | None = None
        for step, phase, names in labels:
            values = {name: next(numbers) for name in names}
            # As the engine asks on the device. A term that is only logged may be infinite: the update is made.
            if abs(values[LOSS] + values[GRADIENT_NORM]) <= _LARGEST:
                updates[phase].append(None)
                for name, value in values.items():
                    collected[f"{phase}/{name}"].append(value)
            else:
                terms = [name for name, value in values.items() if not math.isfinite(value)]
                dropped = NotFinite(step, phase, ", ".join(terms or (LOSS, GRADIENT_NORM)).replace("_", " "))
                updates[phase].append(dropped)
                first = first or dropped
        averages = {name: math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
                    for name, values in collected.items()}  # fmt: skip
        return Reading(averages, updates, first)
