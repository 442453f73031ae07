"""One process at a time trains in a run directory, and what a killed one left behind is brought into order."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ganvae_core.errors import RunError
from ganvae_core.store.checkpoints import mend_checkpoints
from ganvae_core.store.directory import CHECKPOINTS, CONFIG, DATA, IN_USE, LOCK, LOSSES, METRICS
from ganvae_core.store.files import DRAFT, tidying, writing

ABANDONED_SECONDS = 3600.0
"""A draft that a verb like ``sample`` made, and to which nothing was written for so long, is nobody's."""

_NAMED_DRAFT = re.compile(rf"\.(?P<name>.+)\.[a-z0-9_]{{8}}{re.escape(DRAFT)}")
_WRITTEN_BY_TRAINING = re.compile(
    "|".join([r"step-\d+.*", *map(re.escape, (CONFIG, DATA, LOCK, METRICS, LOSSES))])
)


@contextmanager
def held(directory: Path) -> Generator[None]:
    """Keep other processes, and other threads, from training in a directory while this lasts.

    The system gives the lock back when the process ends, however it ends. Who holds it may ask for it again. Reading
    verbs do not ask.

    Raises:
        RunError: another process holds it, or there can be no lock.
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
            f"'{directory}' cannot be kept from other processes: {getattr(error, 'strerror', None) or error}."
        ) from error
    try:
        if lock.lock_counter == 1:
            refuse_links(directory, CHECKPOINTS)
            mend_checkpoints(directory / CHECKPOINTS)
            _take_away_drafts(directory)
        yield
    finally:
        if lock.lock_counter == 1:
            # While it is held: who opens the file now, and locks it later, finds that it has no name, and tries again.
            (directory / IN_USE).unlink(missing_ok=True)
        lock.release()


def _take_away_drafts(directory: Path) -> None:
    """Remove half-written files of processes that were killed.

    Whatever training writes is a dead process's, since this one holds the directory. Other verbs write there without
    asking, so their drafts stay until they are old.
    """
    folders = [directory, *(path for path in directory.iterdir() if path.is_dir() and not path.is_symlink())]
    for draft in [path for folder in folders for path in folder.glob(f".*{DRAFT}")]:
        match = _NAMED_DRAFT.fullmatch(draft.name)
        if match is None or draft.is_symlink():
            continue
        old = time.time() - draft.stat().st_mtime > ABANDONED_SECONDS
        if old or _WRITTEN_BY_TRAINING.fullmatch(match["name"]):
            with tidying(draft):
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)


def refuse_links(directory: Path, part: str = "") -> None:
    """Raise where a part of a run directory lies elsewhere: writing there would leave the folder.

    Args:
        directory: of the run, which may be a link itself.
        part: of it that is looked at, with all below it; everything by default.

    Raises:
        RunError: names the link.
    """
    below = directory / part
    for path in ([below] if part else []) + list(below.rglob("*")):
        if path.is_symlink():
            raise RunError(
                f"'{path}' is a link: a run is written to only where all of it lies in its own folder.",
                "put what it leads to in its place; the whole run directory may be a link",
            )
