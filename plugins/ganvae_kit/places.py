"""Where to look: files and lines of what a check is about."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

Owns = Callable[[str], bool]
"""Whether a file is part of what is checked."""


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def place_of(thing: Any) -> Place | None:
    """Where a class, function or method begins; None for what was not written in Python."""
    thing = inspect.unwrap(getattr(thing, "__func__", thing))
    with suppress(TypeError, OSError):
        file = inspect.getsourcefile(thing)
        lines, first = inspect.getsourcelines(thing)
        begun = next((n for n, line in enumerate(lines) if re.match(r"\s*(async def|def|class)\b", line)), 0)
        return None if file is None else Place(file, max(1, first + begun))  # after its decorators
    return None


def place_in_traceback(error: BaseException, owns: Owns) -> Place | None:
    """The innermost line of the plugin's own files that an exception came through."""
    if isinstance(error, SyntaxError) and error.filename and owns(error.filename):
        return Place(error.filename, error.lineno or 1)
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [Place(frame.f_code.co_filename, line) for frame, line in frames if owns(frame.f_code.co_filename)]
    if not own and error.__cause__ is not None:
        return place_in_traceback(error.__cause__, owns)
    return own[-1] if own else None


def place_of_caller(owns: Owns, frame: FrameType | None = None) -> Place | None:
    """The innermost line of the plugin's own files that is being executed."""
    frame = sys._getframe(1) if frame is None else frame  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if owns(frame.f_code.co_filename):
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None
