"""Starts the processes of this machine that train together, and waits for them.

torch starts, signals and ends them. torchrun, which does the same, prints a traceback for every failure, exits with 1
whatever the cause, and kills processes that need more than 30 seconds to save.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganvae_core.cli.output import print_error
from ganvae_core.cli.stopping import stop_signals
from ganvae_core.engine.environment import LOOPBACK, RUN_KEY, environment_of, world_size
from ganvae_core.errors import ConfigurationError
from ganvae_core.store.directory import RunDirectory

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import ProcessFailure

SAVE_SECONDS = 7 * 24 * 3600
"""The time that ranks have to save after the first signal. A second signal shortens it."""
GRACE_SECONDS = 5
"""The time that ranks have to exit after a second signal."""
POLL_SECONDS = 0.05


def check_count(processes: int) -> None:
    """Compare ``--processes`` with the number of processes that torchrun or a scheduler has started.

    Raises:
        ConfigurationError: they differ.
    """
    if processes != world_size():
        raise ConfigurationError(
            f"--processes {processes}: this is one of {world_size()} processes that were started together already.",
            "leave --processes out: torchrun, or whatever started them, says how many there are",
        )


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run ``ganvae`` with these arguments in several processes, and wait for them.

    Returns:
        Their exit code, or 1 where one was killed.
    """
    # The working directory is importable for them only if it is for this process.
    unsafe_path = [] if os.getcwd() in sys.path or "" in sys.path else ["-P"]
    return watch([sys.executable, *unsafe_path, "-m", "ganvae_core", *arguments], processes)


def watch(command: Sequence[str], processes: int) -> int:
    """Run a command in several processes that reach each other through torch.distributed, and wait for them.

    Returns:
        The exit code, as of ``launch``.
    """
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    # A socket of its own, since a store without one listens on every network interface.
    server = socket.create_server((LOOPBACK, 0), backlog=processes)
    port = server.getsockname()[1]
    store = TCPStore(LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=server.detach())
    environments = {rank: environment_of(rank, processes, port) for rank in range(processes)}
    handlers = {number: signal.getsignal(number) for number in stop_signals()}
    try:
        failures, received = _run(command, environments)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    killed = _killed(failures, received)
    if killed is not None:
        run = Path(store.get(RUN_KEY).decode()) if store.check([RUN_KEY]) else None
        print_error(_death_of(killed, processes), *how_to_go_on(run))
        return 1
    return exit_code([failure.exitcode for failure in failures], received)


def exit_code(codes: Sequence[int], received: Sequence[int]) -> int:
    """The exit code of all ranks together.

    A rank that has lost another one ends with 1, and torch sends SIGTERM to the others of a rank that failed: other
    codes come first, and of these the one that was found first.

    Args:
        codes: of the ranks that failed, in the order in which they were found; negative where a signal killed one.
        received: signals that this process has got.
    """
    consequences = (1,) if received else (1, 128 + signal.SIGTERM)
    reasons = sorted((code for code in codes if code > 0), key=lambda code: code in consequences)
    code = next(iter(reasons), codes[0] if codes else 0)
    return code if code >= 0 else 128 + (received[0] if received else -code)


def _run(
    command: Sequence[str], environments: dict[int, dict[str, str]]
) -> tuple[list[ProcessFailure], list[signal.Signals]]:
    """Run a command once for each rank and wait for all. Signals are passed on, and a failure of one ends the others.

    Returns:
        The failures in the order in which they were found, and the signals received.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, start_processes

    logging.getLogger("torch.distributed.elastic.multiprocessing").setLevel(logging.CRITICAL)
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ",".join(number.name for number in stop_signals())
    received: list[signal.Signals] = []
    arguments = {rank: tuple(command[1:]) for rank in environments}
    context = start_processes("ganvae", command[0], arguments, environments, DefaultLogsSpecs(os.devnull))
    while True:
        try:
            if received:
                context.close(received[-1], GRACE_SECONDS if len(received) > 1 else SAVE_SECONDS)
            result = context.wait(period=POLL_SECONDS)
            return list(result.failures.values()) if result else [], received
        except SignalException as stop:
            received.append(stop.sigval)


def _killed(failures: Sequence[ProcessFailure], received: Sequence[int]) -> ProcessFailure | None:
    """The rank that was killed from outside, if any.

    torch sends SIGTERM to the others of a rank that failed, and SIGKILL long after the first failure.
    """
    first = min((failure.timestamp for failure in failures), default=0)
    expected = {signal.SIGTERM, *received, *([signal.SIGKILL] if len(received) > 1 else [])}
    return next(
        (failure for failure in failures
         if failure.exitcode < 0 and -failure.exitcode not in expected and failure.timestamp <= first + 1),
        None,
    )  # fmt: skip


def _death_of(failure: ProcessFailure, processes: int) -> str:
    what = f"rank {failure.local_rank} of {processes} (process {failure.pid}) was ended by {failure.signal_name()}"
    often = ", as when the system runs out of memory" if failure.exitcode == -signal.SIGKILL else ""
    return f"{what}{often}; the others have been ended, too."


def how_to_go_on(run: Path | None) -> list[str]:
    """What a failed run has saved, and the command that resumes it; empty where the run had not begun."""
    if run is None:
        return []
    newest = RunDirectory(run).newest_step()
    if newest is None:
        return ["nothing was saved"]
    return [f"saved up to step {newest:,}", f"go on:  ganvae run --resume {shlex.quote(str(run))}"]
