"""Two ways of doing the same work, timed in turns, so that what else the machine does meets both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

FEWEST_PAIRS = 5
Segment = Callable[[int], float]
"""Does so many steps and returns the seconds that they took."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    lower_quartile: float
    upper_quartile: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of at least two values."""
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper)


@dataclass(frozen=True)
class Comparison:
    """What a measurement found.

    Args:
        work: what was done.
        first: name of the side that is judged.
        second: name of the side that it is judged by.
        threads: of torch.
        pairs: how often each side had its turn.
        steps: in each turn.
        first_speed: images per second.
        second_speed: images per second.
        ratio: of the first's speed to the second's, a value for each pair.
    """

    work: str
    first: str
    second: str
    threads: int
    pairs: int
    steps: int
    first_speed: Spread
    second_speed: Spread
    ratio: Spread

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def compare(
    work: str,
    sides: dict[str, Segment],
    *,
    steps: int,
    batch_size: int,
    threads: int,
    seconds: float,
    console: Console,
) -> Comparison:
    """Let two sides take turns for so many seconds, after a turn each that does not count.

    The side that begins alternates, so that a machine which gets slower or faster favours neither.

    Args:
        work: what is done.
        sides: the judged one, then the one that it is judged by.
        steps: in each turn.
        batch_size: images a step.
        threads: that torch was told to use.
        seconds: that all turns together may take; each side has at least five.
        console: where the result is printed.
    """
    (first, first_segment), (second, second_segment) = sides.items()
    first_segment(steps)
    second_segment(steps)
    times: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(times) < FEWEST_PAIRS or time.perf_counter() - began < seconds:
        if len(times) % 2:
            second_time = second_segment(steps)
            first_time = first_segment(steps)
        else:
            first_time = first_segment(steps)
            second_time = second_segment(steps)
        times.append((first_time, second_time))
    images = steps * batch_size
    comparison = Comparison(
        work, first, second, threads, len(times), steps,
        Spread.of([images / pair[0] for pair in times]),
        Spread.of([images / pair[1] for pair in times]),
        Spread.of([pair[1] / pair[0] for pair in times]),
    )  # fmt: skip
    console.print(_sentence(comparison), highlight=False)
    return comparison


def _sentence(comparison: Comparison) -> str:
    ratio = comparison.ratio
    return (
        f"{comparison.work}, {comparison.threads} threads: "
        f"{comparison.first} {comparison.first_speed.median:,.0f} images/s, "
        f"{comparison.second} {comparison.second_speed.median:,.0f} images/s, "
        f"ratio {ratio.median:.3f} ({ratio.lower_quartile:.3f} to {ratio.upper_quartile:.3f}, "
        f"{comparison.pairs} pairs of {comparison.steps} steps)"
    )
