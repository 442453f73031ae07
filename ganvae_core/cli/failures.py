"""Says what went wrong, without a traceback, and gives the exit code."""

from __future__ import annotations

import traceback
from types import FrameType

import click

from ganvae_core.cli.output import note, print_error
from ganvae_core.engine.environment import is_other_rank
from ganvae_core.errors import GanvaeError, Interrupted

INTERRUPTED = 130


def report(error: BaseException) -> int:
    """Print an error for the person at the terminal.

    Returns:
        The exit code that the error stands for.
    """
    match error:
        case Interrupted():
            for line in (error.message, *error.hints):
                note(line)
            return error.exit_code
        case GanvaeError():
            print_error(error.message, *error.hints)
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            note("stopped.")
            return INTERRUPTED
        case click.ClickException() if is_other_rank():  # they all have read the same words
            return error.exit_code
        case click.ClickException():
            print_error(as_ours(error.format_message()), *usage_hints(error))
            return error.exit_code
        case OSError() if error.strerror:
            names = [str(name) for name in (error.filename, error.filename2) if name is not None]
            print_error(": ".join((*names, as_ours(error.strerror))))
            return 1
        case _:
            print_error(
                f"something went wrong inside {origin(error)}: {in_one_line(error)}", *inside_hints(error)
            )
            return 1


def as_ours(message: str) -> str:
    """Another library's message in the style of ours."""
    return message[:1].lower() + message[1:].removesuffix(".")


def usage_hints(error: click.ClickException) -> list[str]:
    """How to see what a verb accepts, where a verb was used wrongly."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return [f"{error.ctx.command_path} --help"]
    return []


def in_one_line(error: BaseException) -> str:
    """An exception's type and the first line of its message."""
    message = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def origin(error: BaseException) -> str:
    """Whose code failed: the package of a plugin, by its name, or ganvae itself."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if is_ours(frame)]
    package = str(frames[-1].f_globals["__name__"]).partition(".")[0] if frames else "ganvae_core"
    return "ganvae" if package == "ganvae_core" else f"the plugin package {package}"


def inside_hints(error: BaseException) -> list[str]:
    """Where an unexpected error came from, and how to see more of it."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if is_ours(frame)]
    where = [f"at {frame.f_code.co_filename}:{line}" for frame, line in frames[-1:]]
    return [*where, "--traceback shows all of it"]


def is_ours(frame: FrameType) -> bool:
    """Whether a frame runs code of ganvae or of one of its plugins."""
    return str(frame.f_globals.get("__name__", "")).startswith("ganvae_")
