"""Starting the processes that train together on this machine, and watching over them.

torchrun ends with code 1 and a traceback whatever went wrong, and gives processes that are to stop thirty seconds to
save. Here they get the time that they need, and what a person sees is what one process would say.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ganvae_core.cli.output import print_error
from ganvae_core.engine.environment import LOOPBACK, RUN_KEY, environment_of, world_size
from ganvae_core.errors import ConfigurationError
from ganvae_core.store.directory import RunDirectory

GRACE_SECONDS = 5.0
"""How long the other processes have to end by themselves when one has failed."""
POLL_SECONDS = 0.05


@dataclass
class Rank:
    """One of the processes; ``ended`` says that it was ended here, because of another one."""

    number: int
    process: subprocess.Popen[bytes]
    ended: bool = False

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def code(self) -> int:
        """Its exit code, or minus the number of the signal that ended it; 0 while it is running."""
        return self.process.poll() or 0

    def end(self) -> None:
        """End it at once, if it is running."""
        if self.running:
            self.ended = True
            self.process.kill()


def check_count(processes: int) -> None:
    """Hold ``--processes`` against the number of processes that something else has started.

    Raises:
        ConfigurationError: they differ.
    """
    if processes != world_size():
        raise ConfigurationError(
            f"--processes {processes}: this is one of {world_size()} processes that are there already.",
            "leave --processes out: torchrun, or whatever started them, says how many there are",
        )


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run ``ganvae`` with these arguments in so many processes, and wait for them.

    Returns:
        The exit code: theirs, or 1 where something else has ended one of them.
    """
    # What lies in this folder is imported by them only if it was by this process.
    here = [] if os.getcwd() in sys.path or "" in sys.path else ["-P"]
    return watch([sys.executable, *here, "-m", "ganvae_core", *arguments], processes)


def watch(command: Sequence[str], processes: int) -> int:
    """Run a command in so many processes that find each other through torch.distributed, and wait for them.

    Returns:
        The exit code, as of ``launch``.
    """
    ranks: list[Rank] = []
    with socket.create_server((LOOPBACK, 0), backlog=processes) as server, signals_noted() as received:
        port = server.getsockname()[1]
        try:
            for number in range(processes):
                environment = {**os.environ, **environment_of(number, processes, port)}
                # In a session of its own, so that Ctrl-C reaches it once: by way of this process.
                process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
                )
                ranks.append(Rank(number, process))
            run_so_far = _store(server)
            _wait(ranks, received)
        finally:
            for rank in ranks:
                rank.end()
                rank.process.wait()
    return _outcome(ranks, received, run_so_far)


@contextmanager
def signals_noted() -> Generator[list[int]]:
    """Note SIGINT, SIGTERM and SIGHUP, to be passed on."""
    received: list[int] = []
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda got, _: received.append(got)) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _store(server: socket.socket) -> Callable[[], Path | None]:
    """Answer at a socket as the store of torch.distributed, and return what tells the run's path once it is known."""
    # Meanwhile the processes import torch, too.
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    port = server.getsockname()[1]
    store = TCPStore(LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=server.detach())
    return lambda: Path(store.get(RUN_KEY).decode()) if store.check([RUN_KEY]) else None


def _wait(ranks: Sequence[Rank], received: Sequence[int]) -> None:
    """Wait until all have ended, and pass signals on. When one has failed, the others are ended soon."""
    passed, until = 0, float("inf")
    while any(rank.running for rank in ranks):
        for number in received[passed:]:
            passed += 1
            for rank in ranks:
                if rank.running:
                    rank.process.send_signal(number)
        if any(rank.code for rank in ranks) or passed > 1:  # a second signal is not to be waited for
            until = min(until, time.monotonic() + GRACE_SECONDS)
        if time.monotonic() > until:
            for rank in ranks:
                rank.end()
        time.sleep(POLL_SECONDS)


def _outcome(ranks: Sequence[Rank], received: Sequence[int], find_run: Callable[[], Path | None]) -> int:
    """The exit code; a process that something else has ended cannot say so itself."""
    codes = [rank.code for rank in ranks if rank.code]
    killed = [rank for rank in ranks if rank.code < 0 and not rank.ended and -rank.code not in received]
    if killed:
        print_error(_killed(killed[0], len(ranks)), *how_to_go_on(find_run()))
        return 1
    if received and codes:
        return next((code for code in codes if code > 0), 128 + received[0])
    return codes[0] if codes else 0


def _killed(rank: Rank, processes: int) -> str:
    name = signal.Signals(-rank.code).name
    what = f"rank {rank.number} of {processes} (process {rank.process.pid}) was ended by {name}"
    often = ", as the system does where memory runs out" if name == "SIGKILL" else ""
    return f"{what}{often}; the others have been ended, too."


def how_to_go_on(run: Path | None) -> list[str]:
    """What a run that has failed has saved, and how to go on; nothing where it had not begun."""
    if run is None:
        return []
    newest = RunDirectory(run).newest_step()
    if newest is None:
        return ["nothing was saved"]
    return [f"saved up to step {newest:,}", f"go on:  ganvae run --resume {shlex.quote(str(run))}"]
