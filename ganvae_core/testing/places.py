"""Where to look: files and lines of what a check is about."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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
        return None if file is None else Place(file, max(1, inspect.getsourcelines(thing)[1]))
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


def place_of_assignment(cls: type, attribute: str) -> Place | None:
    """The line that last assigns ``self.<attribute>`` in a class or its bases; after ``__init__``, if there is one."""
    for owner in inspect.getmro(cls):
        found = _assignments(owner, attribute)
        if found:
            return found[-1]
    return None


def _assignments(owner: type, attribute: str) -> list[Place]:
    try:
        lines, first = inspect.getsourcelines(owner)
        file = inspect.getsourcefile(owner) or ""
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (TypeError, OSError, SyntaxError):
        return []
    found: list[Place] = []
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = [
                part for target in node.targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])
            ]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and _registers(node, attribute):
            found.append(Place(file, first + node.lineno - 1))
        for target in targets:
            if isinstance(target, ast.Attribute) and target.attr == attribute:
                found.append(Place(file, first + target.lineno - 1))
    return sorted(found, key=lambda place: place.line)


def _registers(call: ast.Call, attribute: str) -> bool:
    """Whether a call is ``self.register_buffer("attribute", …)`` or its like."""
    named = isinstance(call.func, ast.Attribute) and call.func.attr in (
        "register_buffer", "register_parameter", "register_module", "add_module",
    )  # fmt: skip
    return named and bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == attribute


def place_of_text(file: str | Path, *texts: str) -> Place | None:
    """The first line of a file that has one of the texts, the first text that is found anywhere deciding."""
    with suppress(OSError, UnicodeDecodeError):
        lines = Path(file).read_text("utf-8").splitlines()
        for text in texts:
            for number, line in enumerate(lines, 1):
                if text and text in line:
                    return Place(str(file), number)
    return None


def quoted(message: str) -> list[str]:
    """What a message puts in quotes: the names that a file may be searched for."""
    return re.findall(r"'([^']+)'", message)
