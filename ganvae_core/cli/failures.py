"""Prints errors without a traceback, and gives their exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager

import click

from ganvae_core.cli.output import note, print_error
from ganvae_core.cli.stopping import exit_code, ignore_stops
from ganvae_core.engine.environment import LAUNCHER, is_other_rank
from ganvae_core.errors import GanvaeError, Interrupted, TrainingError


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
            return exit_code(error)
        case click.ClickException() if is_other_rank():  # rank 0 reports it
            return error.exit_code
        case click.ClickException():
            context = error.ctx if isinstance(error, click.UsageError) else None
            print_error(
                as_ours(error.format_message()), *([f"{context.command_path} --help"] if context else [])
            )
            return error.exit_code
        case OSError() if error.strerror:
            names = [str(name) for name in (error.filename, error.filename2) if name is not None]
            print_error(": ".join((*names, as_ours(error.strerror))))
            return 1
        case _:
            print_error(*unexpected(error))
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
        ignore_stops()  # the first rank that ends has the others terminated
        if isinstance(error, RankLostError):  # reported by the launcher, or by the rank that failed
            reports = ranks.first and LAUNCHER not in os.environ
        else:
            reports = ranks.may_report()
        if not reports:
            interrupted = isinstance(error, KeyboardInterrupt)
            code = exit_code(error) if interrupted else getattr(error, "exit_code", 1)
            raise SystemExit(code) from None
        prefix = "" if ranks.first or str(error).startswith("rank ") else f"rank {ranks.rank}: "
        if prefix and isinstance(error, GanvaeError):
            error.message = prefix + error.message
        elif prefix and isinstance(error, Exception):
            message, *hints = unexpected(error)
            raise TrainingError(prefix + message, *hints) from error
        raise


def as_ours(message: str) -> str:
    """Another library's message in the style of ours."""
    return message[:1].lower() + message[1:].removesuffix(".")


def unexpected(error: BaseException) -> tuple[str, ...]:
    """An error that was not foreseen: whose code failed, its type and first line; then where, and how to see more."""
    plugins = {
        name.partition(".")[0] for name, module in list(sys.modules.items()) if "ganvae_api" in vars(module)
    }
    place, package = (), "ganvae_core"
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if name in plugins or name.startswith("ganvae_"):
            place, package = (f"at {frame.f_code.co_filename}:{line}",), name
    origin = "ganvae" if package == "ganvae_core" else f"the plugin package {package}"
    message = ": ".join(
        part for part in (type(error).__name__, str(error).strip().partition("\n")[0]) if part
    )
    return f"something went wrong inside {origin}: {message}", *place, "--traceback shows all of it"
