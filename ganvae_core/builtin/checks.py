"""Checks of options and inputs that the builtin components share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from ganvae_core.errors import ConfigurationError, did_you_mean


def positive_sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """The sizes as a tuple.

    Raises:
        ConfigurationError: one of them is not a positive whole number.
    """
    if any(type(size) is not int or size < 1 for size in sizes):
        raise ConfigurationError(f"{name} must be positive whole numbers, not {list(sizes)}.")
    return tuple(sizes)


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


def check_condition(condition: Tensor | None, shape: tuple[int, ...] | None) -> None:
    """Raises a ``ConfigurationError`` unless the condition (B, *K) is what the network was built for."""
    given = None if condition is None else tuple(condition.shape[1:])
    if given != shape:
        raise ConfigurationError(
            f"this network was built for {_condition_name(shape)}, and was given {_condition_name(given)}.",
            "it is set when the network is made: condition_shape, or data.condition in a run",
        )


def _condition_name(shape: tuple[int, ...] | None) -> str:
    return "no condition" if shape is None else f"a condition of shape {shape}"
