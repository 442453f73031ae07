"""Where the rows of a view can be written, looked at before anything is computed."""

from __future__ import annotations

import math
import os
from pathlib import Path

from ganvae_core.data.memory import available_memory
from ganvae_core.errors import ConfigurationError
from ganvae_core.types import DataSpec, View

ARRAYS = (".npz", ".npy")
"""What the rows of every view can be written to."""
BYTES_A_VALUE = 12
"""A sample is held in float32, and in float64 on the way to its own units."""
GRID_VALUES = 3 * 56**2
"""The least that a row of a grid takes: small images are enlarged."""


def ending_of(path: Path) -> str:
    """The ending of a file's name in lower case; empty for a folder: a name without an ending, or a folder there."""
    return "" if path.is_dir() else path.suffix.lower()


def check_output(path: Path, what: str, endings: tuple[str, ...]) -> None:
    """Refuse a place that cannot be written to, or should not be.

    Args:
        path: where to write.
        what: will be written, in words: ``samples``.
        endings: of files that can hold it; an empty one stands for a folder.

    Raises:
        ConfigurationError: the ending is not one of them; the folder is not empty; there can be no such file.
    """
    ending = ending_of(path)
    if ending not in endings:
        listed = ", ".join(each for each in endings if each)
        raise ConfigurationError(
            f"-o {path}: {what} are not written to {repr(ending) if ending else 'a folder'}.",
            f"endings: {listed}"
            + (", or a folder (a name without an ending) of one file each" if "" in endings else ""),
        )
    if not ending and path.exists() and (not path.is_dir() or any(path.iterdir())):
        kind = "folder is not empty" if path.is_dir() else "is a file"
        raise ConfigurationError(
            f"-o {path}: this {kind}, so nothing is written there.", "name a folder that does not exist yet"
        )
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        reason = "not writable" if above.is_dir() else "a file, not a folder"
        raise ConfigurationError(f"-o {path}: '{above}' is {reason}.")


def check_memory(count: int, spec: DataSpec, view: View, path: Path) -> None:
    """Refuse more samples than this machine has memory for.

    Raises:
        ConfigurationError: they take more memory than there is.
    """
    drawn = view.as_grid and ending_of(path) == ".png"
    needed = BYTES_A_VALUE * count * max(math.prod(spec.shape), GRID_VALUES if drawn else 0)
    there = available_memory()
    if needed > there:
        raise ConfigurationError(
            f"{count:,} samples take {needed / 2**30:,.1f} GiB of memory, and {there / 2**30:,.1f} are left here.",
            "draw fewer at a time, each part with another --seed",
        )
