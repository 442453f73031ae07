"""A check of options that the components for texts and series share."""

from __future__ import annotations

from ganvae_core import ConfigurationError


def at_least_one(prefix: str = "", **options: int | None) -> None:
    """Refuse an option below 1; None is left out.

    Args:
        prefix: of the names in the message, such as ``data.``.
        options: by name.

    Raises:
        ConfigurationError: one is below 1.
    """
    for name, value in options.items():
        if value is not None and value < 1:
            raise ConfigurationError(f"{prefix}{name}={value} is not possible: it must be at least 1.")
