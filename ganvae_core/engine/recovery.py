"""What went wrong in a run and how it was mended. It is part of the run's state, so that a resumed run equals it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ganvae_core.engine.log import DROPPED, NotFinite, Reading
from ganvae_core.errors import RunError, TrainingError

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine

FEWEST_DROPPED = 10
"""Updates of a phase in a row that must be dropped before a run is given up."""


@dataclass
class Recovery:
    """Stored with each checkpoint.

    Args:
        rollbacks: how often training went back to a checkpoint.
        learning_rate_factor: of all optimizers, since the last time.
        micro_batch_size: rows computed at once; fewer than asked for after memory ran out; null is the whole batch.
        dropped: updates that were dropped, by phase.
        dropped_in_a_row: those since a phase's last update that was made.
    """

    rollbacks: int = 0
    learning_rate_factor: float = 1.0
    micro_batch_size: int | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    dropped_in_a_row: dict[str, int] = field(default_factory=dict)

    @property
    def happened(self) -> bool:
        """Whether an update was not finite so far, so that another policy would have led elsewhere."""
        return bool(self.rollbacks or self.dropped)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; ``stored`` is the reverse."""
        return dataclasses.asdict(self)

    @classmethod
    def stored(cls, manifest: Mapping[str, Any], otherwise: Recovery | None = None) -> Recovery:
        """What a checkpoint's manifest says; ``otherwise`` for what it does not say.

        Raises:
            RunError: it says what cannot be.
        """
        values = manifest.get("recovery", {})
        try:
            recovery = dataclasses.replace(otherwise or cls(), **values)
            rows = recovery.micro_batch_size
            counts = [*recovery.dropped.items(), *recovery.dropped_in_a_row.items()]
            whole: list[object] = [recovery.rollbacks, *(count for _, count in counts)]
            whole += [] if rows is None else [rows - 1]
            possible = all(isinstance(number, int) and number >= 0 for number in whole)
            if not possible or not 0 < recovery.learning_rate_factor <= 1:
                raise ValueError(values)
        except (TypeError, ValueError, AttributeError) as error:
            raise RunError(
                f"the manifest of step {manifest.get('step')} does not hold what a run writes there: {error}"
            ) from error
        return recovery

    @property
    def notes(self) -> list[str]:
        """Sentences for the person who goes on with the run."""
        found: list[str] = []
        if self.rollbacks:
            found.append(
                f"training went back {self.rollbacks} time{'s' if self.rollbacks > 1 else ''} before;"
                f" learning rates are {share(self.learning_rate_factor)} configuration's"
            )
        found += [f"{count:,} updates of phase '{phase}' were dropped before, not finite"
                  for phase, count in self.dropped.items()]  # fmt: skip
        return found


class NotFiniteError(TrainingError):
    """A loss or gradient was not finite, and the weights are those from before it."""

    def __init__(self, update: NotFinite, *hints: str) -> None:
        super().__init__(f"{described(update)}; training has stopped.", *hints)
        self.update = update


def share(factor: float) -> str:
    """``half the``, ``1/4 of the``."""
    return "half the" if factor == 0.5 else f"1/{1 / factor:.0f} of the"


def described(update: NotFinite) -> str:
    """``step 3: not finite in phase 'game': loss, gradient norm``."""
    return f"step {update.step + 1:,}: not finite in phase '{update.phase}': {_terms(update)}"


def _terms(update: NotFinite) -> str:
    return ", ".join(update.terms).replace("_", " ")


def stopped_by(update: NotFinite) -> NotFiniteError:
    """The error that ends a run, with what to try."""
    return NotFiniteError(
        update,
        "the weights were left as they were before that step",
        "try a smaller learning rate:  optimizers.default.lr=…",
        "or leave such updates out:  engine.on_nonfinite=skip  (or rollback)",
    )


def count_dropped(engine: Engine, reading: Reading) -> dict[str, float]:
    """Count the updates of an interval that were dropped, say so, and return the counts as ``phase/dropped_updates``.

    Raises:
        TrainingError: a phase got nowhere in the whole interval.
    """
    recovery, counts = engine.recovery, dict[str, float]()
    for phase, updates in reading.updates.items():
        if updates.first is None:
            recovery.dropped_in_a_row.pop(phase, None)
            continue
        whole = updates.dropped == updates.count
        in_a_row = updates.dropped_last + (recovery.dropped_in_a_row.get(phase, 0) if whole else 0)
        recovery.dropped_in_a_row[phase] = in_a_row
        recovery.dropped[phase] = recovery.dropped.get(phase, 0) + updates.dropped
        if whole and in_a_row >= FEWEST_DROPPED:
            raise TrainingError(
                f"step {engine.step_index:,}: the last {in_a_row:,} updates of phase '{phase}' were all dropped,"
                f" not finite: {_terms(updates.first)}; training has stopped.",
                "what this phase trains has not changed meanwhile",
                "try a smaller learning rate:  optimizers.default.lr=…  (or engine.on_nonfinite=rollback)",
            )
        counts[f"{phase}/{DROPPED}"] = updates.dropped
        engine.warn(
            f"step {engine.step_index:,}: {updates.dropped:,} of the last {updates.count:,} updates of phase"
            f" '{phase}' {'was' if updates.dropped == 1 else 'were'} dropped, not finite: {_terms(updates.first)}"
            f" (step {updates.first.step + 1:,}{'' if updates.dropped == 1 else ' the first'})"
        )
    return counts
