"""Figures of several seeds as a mean with its spread, and what can be concluded from them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvae_core.types import Better

CERTAINTY = 0.95
"""Of a difference between two candidates, by Student's t."""


@dataclass(frozen=True)
class Summary:
    """A figure of one candidate over its seeds.

    Args:
        mean: over seeds.
        spread: standard deviation over seeds; of one seed the figure's own standard error, or None.
        count: of seeds.
        measuring: the mean of the figure's own standard errors; None where none is known.
    """

    mean: float
    spread: float | None
    count: int
    measuring: float | None = None

    @property
    def error(self) -> float | None:
        """The standard error of the mean."""
        return None if self.spread is None else self.spread / math.sqrt(self.count)


def summary(values: Sequence[float], errors: Sequence[float | None]) -> Summary | None:
    """A figure over seeds; None where no seed has it."""
    if not values:
        return None
    known = [error for error in errors if error is not None]
    measuring = statistics.mean(known) if known else None
    if len(values) == 1:
        return Summary(values[0], errors[0], 1, measuring)
    return Summary(statistics.mean(values), statistics.stdev(values), len(values), measuring)


@dataclass(frozen=True)
class Entry:
    """One candidate with the evaluations of its seeds.

    Args:
        name: of the candidate.
        evaluations: as ``ganvae evaluate --json`` prints them.
        runs: their directories.
        commands: that made them.
        failures: of seeds that were not trained or measured.
    """

    name: str
    evaluations: Sequence[Mapping[str, Any]]
    runs: Sequence[Path]
    commands: Sequence[str]
    failures: Sequence[str]

    def figure(self, name: str) -> Summary | None:
        """A figure over the seeds."""
        found = [result for one in self.evaluations for part in one["measured"]
                 if (result := part["results"].get(name)) and result["value"] is not None]  # fmt: skip
        return summary([result["value"] for result in found], [result["error"] for result in found])

    def reason(self, name: str) -> str:
        """Why a figure is missing."""
        reasons = [part["results"][name]["reason"] for one in self.evaluations for part in one["measured"]
                   if name in part["results"]]  # fmt: skip
        return next((reason for reason in reasons if reason), "; ".join(self.failures) or "not measured")


def is_ahead(first: Summary, second: Summary, better: Better) -> bool:
    """Whether the first is better than the second by more than the spread of their seeds.

    One seed never is: its standard error says nothing of how training varies.
    """
    from scipy.stats import t as student

    if min(first.count, second.count) < 2 or first.error is None or second.error is None:
        return False
    gain = first.mean - second.mean if better == "higher" else second.mean - first.mean
    limit = float(student.ppf((1 + CERTAINTY) / 2, first.count + second.count - 2))
    return gain > limit * math.hypot(first.error, second.error)


def reaches(found: Summary, ceiling: Summary, better: Better) -> bool:
    """Whether a figure is as good as the ceiling, within the errors of measuring and the spread over seeds."""
    short = ceiling.mean - found.mean if better == "higher" else found.mean - ceiling.mean
    return short <= max(error or 0.0 for one in (found, ceiling) for error in (one.error, one.measuring))


def is_telling(floor: Summary, ceiling: Summary, better: Better) -> bool:
    """Whether a figure of a floor is worse than that of the ceiling by more than two standard errors of measuring."""
    short = ceiling.mean - floor.mean if better == "higher" else floor.mean - ceiling.mean
    return short > 2 * math.hypot(floor.measuring or 0.0, ceiling.measuring or 0.0)


@dataclass(frozen=True)
class Verdict:
    """Which candidate is best by a figure.

    Args:
        best: with the best mean; empty where no candidate has the figure.
        level: those that are not behind it beyond the spread.
        ahead_of: those that are.
        has_seeds: whether the best has several seeds, so that a spread is known.
    """

    best: str
    level: tuple[str, ...] = ()
    ahead_of: tuple[str, ...] = ()
    has_seeds: bool = False


def verdict(summaries: Mapping[str, Summary | None], better: Better) -> Verdict:
    """The best candidate by a figure, and whom it is ahead of."""
    known = {name: value for name, value in summaries.items() if value is not None}
    if not known:
        return Verdict("")
    ordered = sorted(known, key=lambda name: known[name].mean, reverse=better == "higher")
    best = ordered[0]
    behind = [name for name in ordered[1:] if is_ahead(known[best], known[name], better)]
    level = tuple(name for name in ordered[1:] if name not in behind)
    return Verdict(best, level, tuple(behind), known[best].count > 1)


def pareto_front(quality: Mapping[str, float], seconds: Mapping[str, float], better: Better) -> set[str]:
    """Candidates that no other one is both better and faster than."""
    sign = 1 if better == "lower" else -1

    def beaten(name: str) -> bool:
        own = (sign * quality[name], seconds[name])
        return any(
            sign * quality[other] <= own[0] and seconds[other] <= own[1]
            and (sign * quality[other], seconds[other]) != own
            for other in quality
        )  # fmt: skip

    return {name for name in quality if not beaten(name)}
