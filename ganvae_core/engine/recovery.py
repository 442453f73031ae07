"""Updates that were not finite, and the micro-batch after memory ran out: part of the state of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from ganvae_core.engine.log import DROPPED, NotFinite, Reading
from ganvae_core.errors import TrainingError

FEWEST_DROPPED = 10
"""Updates of a phase in a row that must be dropped before training stops."""


@dataclass
class Recovery:
    """Stored with each checkpoint.

    Args:
        micro_batch_size: rows computed at once; fewer than configured after memory ran out; None is the whole batch.
        dropped: updates that were dropped, by phase.
        dropped_in_a_row: those since a phase's last update that was made.
    """

    micro_batch_size: int | None = None
    dropped: dict[str, int] = field(default_factory=dict[str, int])
    dropped_in_a_row: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def stored(cls, manifest: Mapping[str, Any]) -> Recovery:
        """What a checkpoint's manifest holds.

        Raises:
            TypeError, ValueError, AttributeError: it holds something else.
        """
        values = manifest.get("recovery", {})
        recovery = cls(**values)
        counts = [
            recovery.micro_batch_size or 1,
            *recovery.dropped.values(),
            *recovery.dropped_in_a_row.values(),
        ]
        if any(type(count) is not int or count < 0 for count in counts):
            raise ValueError(f"recovery: {values}")
        return recovery

    @property
    def notes(self) -> list[str]:
        """Sentences for the person who resumes the run."""
        return [f"{count:,} updates of phase '{phase}' were dropped before, not finite"
                for phase, count in self.dropped.items()]  # fmt: skip

    def count(self, reading: Reading, step: int) -> tuple[dict[str, float], list[str]]:
        """Count the dropped updates of an interval; return them as ``phase/dropped_updates``, and a warning for each.

        Raises:
            TrainingError: all updates of a phase were dropped in the whole interval.
        """
        counts: dict[str, float] = {}
        warnings: list[str] = []
        for phase, updates in reading.updates.items():
            dropped = [update for update in updates if update is not None]
            if not dropped:
                self.dropped_in_a_row.pop(phase, None)
                continue
            first, all_dropped = dropped[0], len(dropped) == len(updates)
            in_a_row = len([*takewhile(bool, reversed(updates))])
            in_a_row += self.dropped_in_a_row.get(phase, 0) if all_dropped else 0
            self.dropped_in_a_row[phase] = in_a_row
            self.dropped[phase] = self.dropped.get(phase, 0) + len(dropped)
            if all_dropped and in_a_row >= FEWEST_DROPPED:
                raise TrainingError(
                    f"step {step:,}: the last {in_a_row:,} updates of phase '{phase}' were all dropped,"
                    f" not finite: {first.terms}; training has stopped.",
                    "what this phase trains has not changed meanwhile",
                    "try a smaller learning rate:  optimizers.default.lr=…",
                )
            counts[f"{phase}/{DROPPED}"] = len(dropped)
            were, where = ("was", "") if len(dropped) == 1 else ("were", " the first")
            warnings.append(
                f"step {step:,}: {len(dropped):,} of the last {len(updates):,} updates of phase '{phase}' {were}"
                f" dropped, not finite: {first.terms} (step {first.step + 1:,}{where})"
            )
        return counts, warnings


class NotFiniteError(TrainingError):
    """A loss or gradient was not finite; the weights are those from before that update."""

    def __init__(self, update: NotFinite) -> None:
        super().__init__(
            f"step {update.step + 1:,}: not finite in phase '{update.phase}': {update.terms}; training has stopped.",
            "the weights were left as they were before that step",
            "try a smaller learning rate:  optimizers.default.lr=…",
            "or leave such updates out:  engine.on_nonfinite=skip",
        )
