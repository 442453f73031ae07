"""Data frames, recognised without importing the libraries that make them."""

from __future__ import annotations

FRAMES = ("pandas", "polars", "pyarrow")


def is_frame(data: object) -> bool:
    """Whether data is a data frame of pandas or polars, or a table of Arrow."""
    return type(data).__module__.partition(".")[0] in FRAMES and hasattr(data, "columns")
