"""What the engine needs of whatever writes its checkpoints."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ganvae_core.store.checkpoints import Snapshot


class Saver(Protocol):
    """Writes snapshots of training, one at a time, while training goes on; ``CheckpointWriter`` is one."""

    @property
    def directory(self) -> Path | None:
        """Where callbacks may write files of their own; None where there is no such place."""
        ...

    @property
    def saved_step(self) -> int | None:
        """The step of the newest checkpoint that is on disk; None before the first."""
        ...

    def held(self) -> AbstractContextManager[None]:
        """A context in which no other process writes to the same place.

        Raises:
            RunError: another process does.
        """
        ...

    def begin(self, *snapshots: Snapshot) -> None:
        """Begin to write copied snapshots, in their order."""
        ...

    def finish(self) -> bool:
        """Wait until what was begun is on disk; return whether there was anything.

        Raises:
            TrainingError: it could not be written.
        """
        ...

    def close(self) -> BaseException | None:
        """Wait for the current write after training has ended; return why it could not be written, if so."""
        ...
