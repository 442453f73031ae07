"""Prints errors without a traceback, and gives their exit codes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import click

from ganvae_core.cli.output import note, print_error
from ganvae_core.engine.environment import LAUNCHER, is_other_rank
from ganvae_core.errors import GanvaeError, Interrupted, TrainingError

INTERRUPTED = 130


def report(error: BaseException) -> int:
    """Print an error.

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
        case click.ClickException() if is_other_rank():  # rank 0 reports it
            return error.exit_code
        case click.ClickException():
            print_error(as_ours(error.format_message()), *usage_hints(error))
            return error.exit_code
        case OSError() if error.strerror:
            names = [str(name) for name in (error.filename, error.filename2) if name is not None]
            print_error(": ".join((*names, as_ours(error.strerror))))
            return 1
        case _:
            print_error(inside(error), *inside_hints(error))
            return 1


@contextmanager
def report_once() -> Generator[None]:
    """Let one rank alone report an error, with its number where it is not rank 0.

    Raises:
        SystemExit: another rank reports it.
    """
    from ganvae_core.engine.processes import RankLostError, world

    ranks = world()
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if ranks.size == 1:
            raise
        if isinstance(error, RankLostError):  # reported by the launcher, or by the rank that failed
            reports = ranks.first and LAUNCHER not in os.environ
        else:
            reports = ranks.may_report()
        if not reports:
            code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
            raise SystemExit(code) from None
        prefix = "" if ranks.first or str(error).startswith("rank ") else f"rank {ranks.rank}: "
        if prefix and isinstance(error, GanvaeError):
            error.message = prefix + error.message
        elif prefix and isinstance(error, Exception):
            raise TrainingError(prefix + inside(error), *inside_hints(error)) from error
        raise


def as_ours(message: str) -> str:
    """Another library's message in the style of ours."""
    return message[:1].lower() + message[1:].removesuffix(".")


def usage_hints(error: click.ClickException) -> list[str]:
    """The help command for a verb that was used wrongly."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return [f"{error.ctx.command_path} --help"]
    return []


def inside(error: BaseException) -> str:
    """The message for an unexpected error: whose code failed, the exception's type, the first line of its message."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if is_ours(frame)]
    package = str(frames[-1].f_globals["__name__"]).partition(".")[0] if frames else "ganvae_core"
    origin = "ganvae" if package == "ganvae_core" else f"the plugin package {package}"
    message = str(error).strip().partition("\n")[0]
    return f"something went wrong inside {origin}: {type(error).__name__}" + (
        f": {message}" if message else ""
    )


def inside_hints(error: BaseException) -> list[str]:
    """The origin of an unexpected error, and the option for its traceback."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if is_ours(frame)]
    where = [f"at {frame.f_code.co_filename}:{line}" for frame, line in frames[-1:]]
    return [*where, "--traceback shows all of it"]


def is_ours(frame: FrameType) -> bool:
    """Whether a frame runs code of ganvae or of one of its plugins."""
    return str(frame.f_globals.get("__name__", "")).startswith("ganvae_")
