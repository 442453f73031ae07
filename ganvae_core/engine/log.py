"""Losses and norms, kept on the device and read once per logging interval."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganvae_core.errors import TrainingError
from ganvae_core.types import Loss

GRADIENT_NORM = "gradient_norm"
LOSS = "loss"
_LARGEST = torch.finfo(torch.float32).max


class NotFiniteError(TrainingError):
    """A loss or gradient was not finite; the weights are those from before that update.

    Args:
        step: from 1.
        phase: of the objective.
        terms: that were not finite.
    """

    def __init__(self, step: int, phase: str, terms: str) -> None:
        super().__init__(
            f"step {step:,}: not finite in phase '{phase}': {terms}; training has stopped.",
            "the weights were left as they were before that step",
            "try a smaller learning rate:  optimizers.default.lr=…",
            "or clip gradients:  optimizers.default.clip_norm=…",
        )


class Reading(NamedTuple):
    """The content of the log since the last reading.

    Attributes:
        averages: by ``phase/term``.
        seconds: from the last reading to an interrupt after which training went on.
    """

    averages: Mapping[str, float]
    seconds: float


class StepLog:
    """Scalars of the steps since the last reading, as tensors on the device, without a synchronisation in a step.

    Attributes:
        seconds: from the last reading to an interrupt, which a resumed run adds to its own.
        not_finite: the first update since the last reading that was not finite, once it has been looked for.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._labels: list[tuple[int, str, tuple[str, ...]]] = []
        self._values: list[Tensor] = []
        self._counts: Counter[str] = Counter()
        self._sums: defaultdict[str, float] = defaultdict(float)
        self.not_finite: NotFiniteError | None = None

    @property
    def pending(self) -> bool:
        """Whether something was added since the last reading."""
        return bool(self._values or self._counts or self.not_finite)

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
        reading = Reading(averages, self.seconds)
        self.seconds, self.not_finite = 0.0, None
        self._counts, self._sums = Counter(), defaultdict(float)
        return reading

    def check_finite(self) -> None:
        """Make sure that what was added is finite; otherwise it is cleared, so that training can begin again.

        Raises:
            NotFiniteError: an update was not.
        """
        self._transfer()
        error = self.not_finite
        if error is not None:
            self.read()
            raise error

    def state(self) -> dict[str, Any]:
        """The sums since the last reading as JSON values, exactly, for a checkpoint between two readings."""
        self._transfer()
        sums = {name: [count, self._sums[name]] for name, count in self._counts.items()}
        return {"sums": sums, "seconds": self.seconds} if sums or self.seconds else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue the sums that ``state`` gave."""
        self.seconds = float(state.get("seconds", 0.0))
        for name, (count, total) in state.get("sums", {}).items():
            self._counts[name] = int(count)
            self._sums[name] = math.nan if total is None else float(total)

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
                for name, value in values.items():
                    self._counts[f"{phase}/{name}"] += 1
                    self._sums[f"{phase}/{name}"] += value
            elif self.not_finite is None:
                terms = [name for name, value in values.items() if not math.isfinite(value)]
                named = ", ".join(terms or (LOSS, GRADIENT_NORM)).replace("_", " ")
                self.not_finite = NotFiniteError(step + 1, phase, named)
