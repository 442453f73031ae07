"""What networks do with their inputs, for every plugin: centring data, checking conditions."""

from __future__ import annotations

from torch import Tensor

from ganvae_core.errors import ConfigurationError


def centred(x: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """Data within its range mapped to [-1, 1]; data without bounds, such as a standardised table, stays as it is."""
    if bounds is None or bounds == (-1, 1):
        return x
    low, high = bounds
    return x * (2 / (high - low)) - (high + low) / (high - low)


def check_condition(condition: Tensor | None, shape: tuple[int, ...] | None) -> None:
    """Hold a condition (B, *K) against the *K that a network was built for.

    Raises:
        ConfigurationError: it is missing, superfluous or of another shape.
    """
    given = None if condition is None else tuple(condition.shape[1:])
    if given != shape:
        raise ConfigurationError(
            f"this network was built for {_in_words(shape)}, and was given {_in_words(given)}.",
            "it is set when the network is made: condition_shape, or data.condition in a run",
        )


def _in_words(shape: tuple[int, ...] | None) -> str:
    return "no condition" if shape is None else f"a condition of shape {shape}"
