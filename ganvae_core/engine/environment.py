"""The environment variables that describe the ranks: torchrun's, and one of ganvae's. Imports no torch."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import threading

from ganvae_core.errors import ConfigurationError

LAUNCHER = "GANVAE_LAUNCHER"
"""Set for ranks that ``ganvae run --processes`` has started: its process id."""
RUN_KEY = "ganvae/run"
"""The key in torch's store under which rank 0 publishes the run's path."""
LOOPBACK = "127.0.0.1"
CHECK_SECONDS = 1.0
"""The interval at which a rank checks that its launcher is alive."""


def world_size() -> int:
    """The number of ranks according to the environment.

    Raises:
        ConfigurationError: ``WORLD_SIZE`` is no number of processes.
    """
    size = os.environ.get("WORLD_SIZE") or "1"
    if not size.isdecimal() or int(size) < 1:
        raise ConfigurationError(f"WORLD_SIZE={size}: it is the number of processes that train together.")
    return int(size)


def is_other_rank() -> bool:
    """Whether this is one of several ranks, other than rank 0, according to the environment."""
    return os.environ.get("WORLD_SIZE", "") not in ("", "1") and os.environ.get("RANK", "") not in ("", "0")


def environment_of(rank: int, processes: int, port: int) -> dict[str, str]:
    """The environment of one of several ranks on this machine, which communicate over its loopback interface.

    Each computes in its share of the cores, unless ``OMP_NUM_THREADS`` is set.

    Args:
        rank: its number.
        processes: how many there are.
        port: where their store listens.
    """
    found = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(port),
        LAUNCHER: str(os.getpid()),
    }
    if "TORCH_CPP_LOG_LEVEL" not in os.environ:
        found["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # its warnings have a page of addresses each
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if loopback:
        found["GLOO_SOCKET_IFNAME"] = loopback[0]
    if "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, cores() // processes))
    return found


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_launcher() -> None:
    """Send SIGTERM to this rank when its launcher is gone, even if that was killed."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return
    exiting = threading.Event()

    def check() -> None:
        while not exiting.wait(CHECK_SECONDS):
            if os.getppid() != int(launcher):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def end() -> None:  # a thread that runs while Python shuts down can abort the process
        exiting.set()
        thread.join()

    thread = threading.Thread(target=check, name="ganvae-launcher", daemon=True)
    thread.start()
    atexit.register(end)
