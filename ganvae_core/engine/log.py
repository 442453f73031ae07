"""Losses and norms, kept on the device and read once per logging interval."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from ganvae_core.types import Loss

GRADIENT_NORM = "gradient_norm"
LOSS = "loss"


@dataclass(frozen=True)
class NotFinite:
    """The first update in an interval whose loss or gradient was not finite."""

    step: int
    phase: str
    terms: tuple[str, ...]


class StepLog:
    """Scalars of the steps since the last reading: tensors on the device, so that a step never waits for them."""

    def __init__(self) -> None:
        self._labels: list[tuple[int, str, str]] = []
        self._values: list[Tensor] = []

    @property
    def pending(self) -> bool:
        """Whether something was noted since the last reading."""
        return bool(self._values)

    def add(self, step: int, phase: str, loss: Loss, gradient_norm: Tensor) -> None:
        """Note the outcome of one update: loss, terms, and the norm of its gradient before clipping."""
        self._labels.append((step, phase, LOSS))
        self._values.append(loss.value.detach())
        for name, value in loss.terms.items():
            self._labels.append((step, phase, name))
            self._values.append(value.detach())
        self._labels.append((step, phase, GRADIENT_NORM))
        self._values.append(gradient_norm)

    def read(self) -> tuple[dict[str, float], NotFinite | None]:
        """Averages since the last reading, by ``phase/term``, and the first update that was not finite."""
        if not self._values:
            return {}, None
        numbers: list[float] = torch.stack([value.float() for value in self._values]).tolist()
        labels, self._labels, self._values = self._labels, [], []
        sums: defaultdict[str, list[float]] = defaultdict(list)
        for (_, phase, name), number in zip(labels, numbers, strict=True):
            sums[f"{phase}/{name}"].append(number)
        averages = {name: math.fsum(values) / len(values) if _finite(values) else math.nan
                    for name, values in sums.items()}  # fmt: skip
        return averages, _first_not_finite(labels, numbers)


def _finite(values: list[float]) -> bool:
    return all(map(math.isfinite, values))


def _first_not_finite(labels: list[tuple[int, str, str]], numbers: list[float]) -> NotFinite | None:
    # A term that is only logged may be infinite: the update is done all the same.
    bad = [label for label, number in zip(labels, numbers, strict=True) if not math.isfinite(number)]
    decisive = [label for label in bad if label[2] in (LOSS, GRADIENT_NORM)]
    if not decisive:
        return None
    step, phase, _ = decisive[0]
    return NotFinite(step, phase, tuple(name for at, of, name in bad if (at, of) == (step, phase)))
