"""What the command line says where several processes train together: everything once."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ganvae_core.cli.failures import INTERRUPTED, in_one_line, inside_hints, origin
from ganvae_core.cli.processes import how_to_go_on
from ganvae_core.engine.environment import LAUNCHER
from ganvae_core.engine.processes import RankLostError, world
from ganvae_core.errors import GanvaeError, TrainingError

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine
    from ganvae_core.store.directory import RunDirectory


@contextmanager
def one_voice() -> Generator[None]:
    """Let one rank alone report what went wrong, with its number where it is not rank 0.

    Raises:
        SystemExit: another one reports it.
    """
    ranks = world()
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if ranks.size == 1:
            raise
        if isinstance(error, RankLostError):
            # The launcher, or the rank that failed, says what happened.
            speaks = ranks.first and LAUNCHER not in os.environ
        else:
            speaks = ranks.has_the_word()
        if not speaks:
            raise SystemExit(_exit_code(error)) from None
        if ranks.first:
            raise
        if isinstance(error, GanvaeError):
            error.message = _with_rank(error.message, ranks.rank)
        elif isinstance(error, Exception):
            what = f"something went wrong inside {origin(error)}: {in_one_line(error)}"
            raise TrainingError(_with_rank(what, ranks.rank), *inside_hints(error)) from error
        raise


def lost(error: RankLostError, engine: Engine, directory: RunDirectory) -> RankLostError:
    """The error for a rank that cannot be reached any more, with where training was and how to go on."""
    message = f"step {engine.step_index + 1:,}: {error.message}"
    return RankLostError(message, *error.hints, *how_to_go_on(directory.path))


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return getattr(error, "exit_code", 1)


def _with_rank(message: str, rank: int) -> str:
    return message if message.startswith("rank ") else f"rank {rank}: {message}"
