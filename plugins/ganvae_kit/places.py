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

REGISTERING = ("register_buffer", "register_parameter", "register_module", "add_module")
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


def place_of_assignment(cls: type, name: str) -> Place | None:
    """The line of a class or its bases that last assigns ``self.<name>``, or what a dotted name begins with."""
    steps = name.split(".")
    for length in range(len(steps), 0, -1):
        for owner in inspect.getmro(cls):
            if owner.__module__.partition(".")[0] != "torch":
                found = _assignments(owner, ".".join(steps[:length]))
                if found:
                    return found[-1]
    return None


def _assignments(owner: type, name: str) -> list[Place]:
    try:
        lines, first = inspect.getsourcelines(owner)
        file = inspect.getsourcefile(owner) or ""
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (TypeError, OSError, SyntaxError):
        return []
    found: list[Place] = []
    for node in ast.walk(tree):
        if any(written in (f"self.{name}", name) for written in _written_by(node)):
            found.append(Place(file, first + node.lineno - 1))  # pyright: ignore[reportAttributeAccessIssue]
    return sorted(found, key=lambda place: place.line)


def _written_by(node: ast.AST) -> list[str]:
    """What a statement assigns to, as it is written; a registered buffer or parameter counts as assigned."""
    if isinstance(node, ast.Assign):
        parts = [part for target in node.targets for part in getattr(target, "elts", [target])]
        return [ast.unparse(part) for part in parts if isinstance(part, ast.Attribute | ast.Name)]
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
        return [ast.unparse(node.target)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in REGISTERING:
        name = node.args[0] if node.args else None
        return [f"self.{name.value}"] if isinstance(name, ast.Constant) else []
    return []


def place_of_text(file: str | Path, *texts: str, last: bool = False) -> Place | None:
    """The first line of a file, or the last, that has a text; of several texts the first that is there decides."""
    with suppress(OSError, UnicodeDecodeError):
        lines = Path(file).read_text("utf-8").splitlines()
        for text in texts:
            found = [number for number, line in enumerate(lines, 1) if text and text in line]
            if found:
                return Place(str(file), found[-1 if last else 0])
    return None


def place_of_names(file: str | Path, message: str) -> Place | None:
    """The line of a file that has one of the names in a message: a path, or what it puts in quotes."""
    names = quoted(message)
    paths = [word for word in re.split(r"[\s'\"]+", message) if "/" in word and "." in word]
    texts = [*paths, *(f'"{name}"' for name in names), *(f"'{name}'" for name in names), *names]
    return place_of_text(file, *texts, last=message.endswith("twice"))


def quoted(message: str) -> list[str]:
    """What a message puts in quotes: the names that a file may be searched for."""
    return re.findall(r"'([^']+)'", message)
