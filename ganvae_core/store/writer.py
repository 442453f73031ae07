"""Checkpoints written while training goes on, and which of them stay."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import final

from ganvae_core.errors import RunError
from ganvae_core.store.checkpoints import (
    Checkpoint,
    Snapshot,
    newest_whole,
    remove_checkpoint,
    write_checkpoint,
)
from ganvae_core.store.directory import CHECKPOINTS
from ganvae_core.store.files import tidying
from ganvae_core.store.manifests import best_step, checkpoint_folders, manifests_in
from ganvae_core.store.ownership import held


@final
class CheckpointWriter:
    """Writes checkpoints into ``<directory>/checkpoints``, and keeps the newest and the best of them.

    Training waits while its state is copied, not while the copy is written. A thread writes one checkpoint at a time.

    Args:
        directory: one process at a time writes there.
        keep: how many of the newest stay.

    Attributes:
        folder: of the checkpoints.
        saved_step: of the newest checkpoint that was written here and is on disk; None before the first.
    """

    def __init__(self, directory: str | Path, keep: int = 2) -> None:
        self.directory = Path(directory)
        self.folder = self.directory / CHECKPOINTS
        self.keep = keep
        self.saved_step: int | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[int] | None = None

    def newest(self) -> Checkpoint:
        """The newest whole checkpoint that is there, for ``engine.restore``.

        Raises:
            RunError: there is none.
        """
        checkpoint, damage = newest_whole(self.folder)
        if checkpoint is None:
            raise RunError(f"{self.folder} holds no whole checkpoint.", *damage)
        return checkpoint

    def held(self) -> AbstractContextManager[None]:
        """A context in which no other process writes into the directory.

        Raises:
            RunError: another process does.
        """
        return held(self.directory)

    def begin(self, *snapshots: Snapshot) -> None:
        """Write copied snapshots in the background, in their order; ``finish`` waits until they are on disk."""
        assert self._writing is None, "the checkpoint before is finished first"
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="ganvae-checkpoint")
        self._writing = self._writer.submit(self._write, snapshots)

    def finish(self) -> bool:
        """Wait until what was begun is on disk; return whether there was anything.

        Raises:
            TrainingError: it could not be written.
        """
        if self._writing is None:
            return False
        try:
            self.saved_step = self._writing.result()
        finally:
            if self._writing.done():
                self._writing = None
        return True

    def close(self) -> BaseException | None:
        """Wait for the current write after training has failed; return why it could not be written, if so."""
        failure = None if self._writing is None else self._writing.exception()
        self._writing = None
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None
        return failure

    def _write(self, snapshots: Sequence[Snapshot]) -> int:
        step = 0
        for snapshot in snapshots:
            write_checkpoint(self.folder, snapshot)
            step = int(snapshot.manifest["step"])
            self._retain(step)
        return step

    def _retain(self, written: int) -> None:
        """Remove checkpoints that are neither among the newest nor the best.

        Steps after the one just written are damaged ones that training goes on from before. They stay until it gets
        there, and count for nothing.
        """
        folders = checkpoint_folders(self.folder)
        best = best_step(manifests_in(self.folder))
        reached = [step for step in folders if step <= written]
        for step in reached[: -self.keep]:
            if step != best:
                with tidying(folders[step]):
                    remove_checkpoint(folders[step])
