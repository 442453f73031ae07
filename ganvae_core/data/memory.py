"""How much memory is left on this machine, and freed memory that is kept for the next step."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

UNKNOWN_MEMORY = 4 * 2**30
KEPT_BYTES = 512 * 2**20
LARGEST_REUSED_BYTES = 32 * 2**20
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt (malloc.h)
_CONTROL_GROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes of available physical memory, according to the system and its container."""
    limits = [limit for limit in (_system_memory(), _container_memory()) if limit is not None]
    return min(limits, default=UNKNOWN_MEMORY)


def keep_freed_memory() -> None:
    """Make glibc keep up to ``KEPT_BYTES`` that this process frees, for its next allocations.

    Otherwise the tensors of a step may be freed to the system and allocated from it anew in each step.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, LARGEST_REUSED_BYTES)


def _system_memory() -> int | None:
    free = _field(Path("/proc/meminfo"), "MemAvailable:")
    if free is not None:
        return free * 1024
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _container_memory() -> int | None:
    """Available bytes of a control group (version 2); its page cache counts as free."""
    limit = _number(_CONTROL_GROUP / "memory.max")
    used = _number(_CONTROL_GROUP / "memory.current")
    if limit is None or used is None:
        return None
    return max(0, limit - used + (_field(_CONTROL_GROUP / "memory.stat", "inactive_file") or 0))


def _field(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
