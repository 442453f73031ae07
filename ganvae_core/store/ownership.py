"""One process at a time trains in a run directory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ganvae_core.errors import RunError
from ganvae_core.store.checkpoints import mend_checkpoints
from ganvae_core.store.directory import CHECKPOINTS, CONFIG, DATA, IN_USE, LOCK, LOSSES, METRICS
from ganvae_core.store.files import DRAFT, remove, tidying, writing

DRAFTS_OF_TRAINING = (
    *(f".{name}.*{DRAFT}" for name in (CONFIG, DATA, LOCK, METRICS, LOSSES)),
    f"*/.step-*{DRAFT}",
)
"""Files that only training writes. ``sample`` and ``encode`` may be writing others at the same time."""


@contextmanager
def held(directory: Path) -> Generator[None]:
    """Lock a directory against training by other processes and other threads, and tidy up after a killed one.

    The system releases the lock when the process ends, however it ends. The thread that holds it may lock it again.
    Reading verbs do not lock.

    Raises:
        RunError: another process holds it, or the file system has no locks.
        TrainingError: the directory cannot be made.
    """
    from filelock import FileLock, Timeout

    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory.resolve() / IN_USE, timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"'{directory}' is in use: another process trains there.",
            "wait until it is done, or stop it; ganvae show and sample work meanwhile",
        ) from None
    except (OSError, NotImplementedError) as error:
        raise RunError(
            f"'{directory}' cannot be locked: {getattr(error, 'strerror', None) or error}."
        ) from error
    try:
        if lock.lock_counter == 1:
            mend_checkpoints(directory / CHECKPOINTS)
            for draft in [path for pattern in DRAFTS_OF_TRAINING for path in directory.glob(pattern)]:
                with tidying(draft):
                    remove(draft)
        yield
    finally:
        if lock.lock_counter == 1:
            # While it is locked: a process that has opened the file and locks it later finds that it has no name.
            (directory / IN_USE).unlink(missing_ok=True)
        lock.release()
