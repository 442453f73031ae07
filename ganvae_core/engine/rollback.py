"""Going back to the last checkpoint, with smaller learning rates, after an update that was not finite."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ganvae_core.engine.callbacks import restore
from ganvae_core.engine.recovery import NotFiniteError, described, share
from ganvae_core.engine.saving import capture, put_back, return_point
from ganvae_core.engine.settings import ROLLBACK
from ganvae_core.errors import RunError, TrainingError
from ganvae_core.store.checkpoints import Checkpoint, read_checkpoint
from ganvae_core.store.manifests import checkpoint_folders

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine

SLOWER = 0.5
"""What the learning rates are multiplied by each time."""
MOST_ROLLBACKS = 5


class MemoryCheckpoint:
    """What a checkpoint holds, for an engine that has no directory: copies on the CPU."""

    folder = Path("the state kept in memory")

    def __init__(self, engine: Engine) -> None:
        model, state, manifest = capture(engine)
        self._model, self._state, self.manifest = _copies(model), _copies(state), copy.deepcopy(manifest)

    @property
    def step(self) -> int:
        """Steps done when it was taken."""
        return int(self.manifest["step"])

    def model(self) -> dict[str, Tensor]:
        """The averaged model's tensors, by name."""
        return _copies(self._model)

    def state(self) -> dict[str, Tensor]:
        """All that training goes on from."""
        return _copies(self._state)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


class ReturnPoints:
    """The state that training goes back to: that of the last step at which a checkpoint was due.

    What was saved in between, because training was stopped, does not count: a run that was stopped and resumed goes
    back to where one that was not stopped does.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._memory: MemoryCheckpoint | None = None

    def keep(self) -> None:
        """Make sure that there is one. Call it when a fit begins, and after each checkpoint."""
        engine = self.engine
        if engine.settings.on_nonfinite != ROLLBACK:
            return
        if engine.store is not None:
            engine.world.from_first(self._keep_on_disk)
        elif self._memory is None or engine.step_index % engine.settings.checkpoint_every == 0:
            self._memory = MemoryCheckpoint(engine)

    def _keep_on_disk(self) -> None:
        store = self.engine.store
        assert store is not None
        if not store.writing and self._folder() is None:
            store.begin(store.moment())
            store.finish()

    def go_back(self, error: NotFiniteError) -> None:
        """Put the engine where it was, with smaller learning rates; what went wrong before is not forgotten.

        Raises:
            TrainingError: it has gone back too often.
        """
        engine, recovery = self.engine, self.engine.recovery
        if recovery.rollbacks >= MOST_ROLLBACKS:
            raise TrainingError(
                f"{described(error.update)}; training has stopped, after it had gone back"
                f" {recovery.rollbacks} times, to {share(recovery.learning_rate_factor)} learning rate.",
                "the same step may fail at any learning rate: look at the data and the loss",
                "or leave such updates out:  engine.on_nonfinite=skip",
            ) from error
        engine.finish_saving()
        checkpoint = self._newest()
        unsaid: list[str] = engine.take_pending().get("warnings", [])
        put_back(engine, checkpoint)
        told: list[str] = engine.pending.get("warnings", [])
        restore(engine)
        recovery.rollbacks += 1
        recovery.learning_rate_factor *= SLOWER
        engine.apply_recovery()
        engine.pending["returned_to"] = engine.step_index
        engine.pending["warnings"] = [*told, *(text for text in unsaid if text not in told)]
        engine.warn(
            f"{described(error.update)}; back to step {engine.step_index:,} with"
            f" {share(recovery.learning_rate_factor)} learning rate"
            f" ({recovery.rollbacks} of {MOST_ROLLBACKS} times)"
        )

    def _folder(self, passed_over: Collection[Path] = ()) -> Path | None:
        assert self.engine.store is not None
        found = checkpoint_folders(self.engine.store.folder)
        folders = {step: folder for step, folder in found.items() if folder not in passed_over}
        return return_point(folders, self.engine.step_index, self.engine.settings.checkpoint_every)

    def _newest(self) -> Checkpoint | MemoryCheckpoint:
        """The state to go back to; a checkpoint that is damaged is passed over, and warned of."""
        if self.engine.store is None:
            assert self._memory is not None
            return self._memory
        damaged: list[Path] = []
        while folder := self._folder(damaged):
            try:
                return read_checkpoint(folder)
            except RunError as error:
                damaged.append(folder)
                self.engine.warn(f"passed over: {error.message}")
        raise RunError(f"{self.engine.store.folder} holds no whole checkpoint to go back to any more.")
