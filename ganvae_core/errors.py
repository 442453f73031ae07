"""The errors of ganvae, with their exit codes.

A message names the mistake and its place, hints say what to do. The command line prints both and nothing else; a
library user catches ``GanvaeError``.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterable, Sequence

_PLAIN = re.compile(r"\w([\w ./()%+-]*[\w./()%+-])?")
"""A text that YAML reads as it is, in a list, too."""


def name_of(component: object) -> str:
    """What a message calls a component: its id in quotes where a run made it, else the name of its class."""
    identity = getattr(component, "component_id", None)
    return type(component).__name__ if identity is None else f"'{identity}'"


class GanvaeError(Exception):
    """Base class of ganvae's errors.

    Args:
        message: one line that says what was wrong, and where.
        hints: further lines that say what to do.
    """

    exit_code = 1

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hint for hint in hints if hint)

    def __str__(self) -> str:
        return "\n  ".join((self.message, *self.hints))


class ConfigurationError(GanvaeError):
    """A wrong name, key, value or combination: knowable before the first step."""

    exit_code = 2


class DataError(GanvaeError):
    """Data that is missing, unreadable or unfit: knowable before the first step."""

    exit_code = 2


class RunError(GanvaeError):
    """A folder that is no run, or a run without a requested part."""

    exit_code = 2


class PluginError(GanvaeError):
    """A plugin of this run is installed but not ready."""

    exit_code = 3


class TrainingError(GanvaeError):
    """A failure after the first step: a loss that is not finite, a full disk."""

    exit_code = 1


class Interrupted(GanvaeError):  # noqa: N818 - a stop is no error
    """Training was stopped by a signal, and the run was saved."""

    def __init__(self, message: str, *hints: str, exit_code: int = 130) -> None:
        super().__init__(message, *hints)
        self.exit_code = exit_code


class NotApplicable(GanvaeError):  # noqa: N818 - a figure that does not exist is no error
    """A metric cannot be had for this model or data; the message is the reason."""


class NotFittedError(GanvaeError):
    """A prior was used before it was fitted, or trained in a stage of its own."""

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, with a leading space, or nothing when none is near."""
    names = list(known)
    longer = [other for other in names if len(name) > 1 and other.startswith((f"{name}_", f"{name}-"))]
    near = [other for other in names if other.casefold() == name.casefold()] or longer
    near = near or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def setting(key: str, value: str | Sequence[str]) -> str:
    """``KEY=VALUE`` as it is typed in a shell, with quotes for YAML where texts of a list or the key need them."""

    def quoted(text: str) -> str:
        return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)

    if not isinstance(value, str):
        value = f"[{', '.join(map(quoted, value))}]"
    if "=" in key:
        option, name = ".".join(key.split(".")[:2]), ".".join(key.split(".")[2:])
        return shlex.quote(f"{option}={{{quoted(name)}: {value}}}")
    return shlex.quote(f"{key}={value}")
