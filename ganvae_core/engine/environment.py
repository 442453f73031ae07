"""The environment variables by which ranks know of each other: torchrun's, and one of our own. Imports no torch."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import threading

from ganvae_core.errors import ConfigurationError

LAUNCHER = "GANVAE_LAUNCHER"
"""Set for ranks that ``ganvae run --processes`` has started: its process number."""
RUN_KEY = "ganvae/run"
"""Under which key rank 0 tells the launcher where the run is."""
LOOPBACK = "127.0.0.1"
LOOKING_SECONDS = 1.0
"""How often a rank looks whether its launcher is still there."""


def world_size() -> int:
    """How many ranks the environment says there are.

    Raises:
        ConfigurationError: it says something else.
    """
    size = os.environ.get("WORLD_SIZE") or "1"
    if not size.isdecimal() or int(size) < 1:
        raise ConfigurationError(f"WORLD_SIZE={size}: it is the number of processes that train together.")
    return int(size)


def is_other_rank() -> bool:
    """Whether the environment says that this is one of several ranks, and not rank 0."""
    return os.environ.get("WORLD_SIZE", "") not in ("", "1") and os.environ.get("RANK", "") not in ("", "0")


def environment_of(rank: int, processes: int, port: int) -> dict[str, str]:
    """What one of several ranks on this machine is told; they talk to each other over its loopback alone.

    Each gets its share of the cores, unless ``OMP_NUM_THREADS`` is set.

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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        found["OMP_NUM_THREADS"] = str(max(1, cores // processes))
    return found


def end_with_launcher() -> None:
    """Let this rank be asked to stop when the launcher that started it is gone, which could do nothing about it."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return

    ending = threading.Event()

    def watch() -> None:
        while not ending.wait(LOOKING_SECONDS):
            if os.getppid() != int(launcher):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def end() -> None:  # a thread that wakes up while Python is shutting down can abort the process
        ending.set()
        thread.join()

    thread = threading.Thread(target=watch, name="ganvae-launcher", daemon=True)
    thread.start()
    atexit.register(end)
