"""Checks of the options of metrics."""

from __future__ import annotations

import ganvae_core as gv


def at_least(least: int, **options: int) -> None:
    """Refuse options that are smaller.

    Raises:
        ConfigurationError: one is.
    """
    for name, value in options.items():
        if value < least:
            raise gv.ConfigurationError(f"{name}={value} is not possible: it must be at least {least}.")
