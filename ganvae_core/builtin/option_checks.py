"""Checks of options that the builtin components share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ganvae_core.errors import ConfigurationError, did_you_mean


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


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """The value.

    Raises:
        ConfigurationError: it is none of the known ones.
    """
    known = list(known)
    if value not in known:
        raise ConfigurationError(
            f"{name} cannot be '{value}'.{did_you_mean(value, known)}", f"there is: {', '.join(known)}"
        )
    return value
