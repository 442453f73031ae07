"""Texts that somebody else may have written, read no further than a text of their kind goes."""

from __future__ import annotations

import errno
from pathlib import Path

LARGEST_BYTES = 64 * 2**20
"""Of settings and records. A device may have no end, and a file of zeros takes no space on a disk."""


def read_bytes(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """What a file, a pipe or a device holds.

    Raises:
        OSError: it cannot be read, or holds more.
    """
    with path.open("rb") as file:
        holds_more = path.stat().st_size > largest
        content = b"" if holds_more else file.read(largest + 1)  # a device does not say how much it holds
    if holds_more or len(content) > largest:
        raise OSError(errno.EFBIG, f"it holds more than {largest // 2**20:,} MiB", str(path))
    return content


def read_text(path: Path, largest: int = LARGEST_BYTES, errors: str = "strict") -> str:
    """The same as text.

    Raises:
        OSError: it cannot be read, or holds more.
        UnicodeDecodeError: it is no text.
    """
    text = read_bytes(path, largest).decode("utf-8", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")
