"""Where windows of a series or of a text begin, and which of them are held out together."""

from __future__ import annotations

import numpy as np

BLOCKS = 20
"""Parts into which a long series is divided at least; whole parts are held out."""
LONGEST_BLOCK = 10
"""Windows that a part is long at most."""


def windows(length: int, window: int, stride: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The places (N,) at which windows begin, and the part (N,) that each lies in; None where windows do not overlap.

    Overlapping windows that would cross from one part to the next are left out, so that windows of different parts
    share no value. A part is at least two windows long, so that a short series has few.
    """
    starts = np.arange(0, length - window + 1, stride)
    if stride >= window:
        return starts, None
    block = max(2 * window, min(LONGEST_BLOCK * window, length // BLOCKS))
    parts = starts // block
    within = parts == (starts + window - 1) // block
    return starts[within], parts[within]


def too_short(parts: np.ndarray | None) -> tuple[str, ...]:
    """A note where there are so few parts that by default none is held out."""
    if parts is None or len(np.unique(parts)) > 2:
        return ()
    return ("it is too short to hold out windows that overlap none of training: by default none is held out",)
