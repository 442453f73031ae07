"""Checks of options that the builtin components share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.interfaces import Schedule


def positive_sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """The sizes as a tuple.

    Raises:
        ConfigurationError: one of them is not a positive whole number.
    """
    if any(type(size) is not int or size < 1 for size in sizes):
        raise ConfigurationError(f"{name} must be positive whole numbers, not {list(sizes)}.")
    return tuple(sizes)


def positive_number(name: str, value: float) -> float:
    """The value.

    Raises:
        ConfigurationError: it is not a positive finite number.
    """
    if not 0 < value < math.inf:
        raise ConfigurationError(f"{name} must be a positive number, not {value}.")
    return value


def in_range(
    where: str = "",
    *,
    least: float = 0.0,
    above: float | None = None,
    below: float = math.inf,
    hint: str = "",
    **options: Schedule | float | None,
) -> None:
    """Check numbers among options, by default that none is negative. A schedule and None are not checked.

    Args:
        where: begins the names in an error: ``objective.``.
        least: the least value that is possible.
        above: a lower bound that is not reached, in place of ``least``.
        below: an upper bound that is not reached.
        hint: what to do, for an error.
        options: by name.

    Raises:
        ConfigurationError: a number is out of its range.
    """
    for name, value in options.items():
        if not isinstance(value, int | float):
            continue
        enough = value >= least if above is None else value > above
        if not (enough and value < below):
            bounds = [f"at least {least:g}" if above is None else f"above {above:g}"]
            if below < math.inf:
                bounds.append(f"below {below:g}")
            elif not math.isfinite(value):
                bounds.append("finite")
            raise ConfigurationError(
                f"{where}{name}: {value} is not possible: it must be {' and '.join(bounds)}.", hint
            )


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """The value.

    Raises:
        ConfigurationError: it is none of the known ones.
    """
    known = list(known)
    if value not in known:
        raise ConfigurationError(
            f"{name} cannot be '{value}'.{did_you_mean(value, known)}", f"it is one of: {', '.join(known)}"
        )
    return value
