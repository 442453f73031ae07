"""An engine's state to and from checkpoints, written while training goes on, and which of them stay."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganvae_core.engine.callbacks import states_of
from ganvae_core.engine.recovery import Recovery
from ganvae_core.engine.settings import ROLLBACK
from ganvae_core.errors import RunError
from ganvae_core.store.checkpoints import (
    Checkpoint,
    load_tensors,
    remove_checkpoint,
    tensors_of,
    write_checkpoint,
)
from ganvae_core.store.directory import numbers
from ganvae_core.store.files import tidying
from ganvae_core.store.manifests import best_checkpoint, checkpoint_folders

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine
    from ganvae_core.engine.rollback import MemoryCheckpoint
    from ganvae_core.interfaces import Objective

Moment = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]
"""What a checkpoint is written from: the averaged model, all that training goes on from, and the manifest."""
OBJECTIVE = "objective."
OPTIMIZER = "optimizer."


class CheckpointStore:
    """Writes an engine's checkpoints under one folder, and keeps the newest and the best of them.

    Training waits while its state is copied, not while the copy is written: that is done by a thread, one checkpoint
    at a time. What is written is a function of the copy alone.

    Attributes:
        saved_step: of the newest checkpoint that is known to be on disk, of those written here; None before.
    """

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        self.saved_step: int | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[int] | None = None

    @property
    def writing(self) -> bool:
        """Whether a checkpoint has been begun that is not known to be on disk."""
        return self._writing is not None

    def moment(self) -> Moment:
        """A copy of the state of now, to be written by ``begin``."""
        model, state, manifest = capture(self.engine)
        return _copied(model), _copied(state), manifest

    def begin(self, moment: Moment) -> None:
        """Have a copied state written; ``finish`` says when it is on disk."""
        assert self._writing is None, "the checkpoint before is finished first"
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="ganvae-checkpoint")
        self._writing = self._writer.submit(self._write, *moment)

    def finish(self) -> bool:
        """Wait until what was begun is on disk; whether there was anything.

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
        """Let what was begun come to its end, when training has failed; returns why it could not be written, if so."""
        failure = None if self._writing is None else self._writing.exception()
        self._writing = None
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None
        return failure

    def _write(self, model: dict[str, Tensor], state: dict[str, Tensor], manifest: dict[str, Any]) -> int:
        write_checkpoint(self.folder, model, state, manifest)
        step: int = manifest["step"]
        self._retain(step)
        return step

    @staticmethod
    def restore(engine: Engine, checkpoint: Checkpoint) -> None:
        """Put an engine of the same configuration where the checkpoint was written."""
        put_back(engine, checkpoint)
        engine.recovery = Recovery.stored(checkpoint.manifest, engine.recovery)
        engine.apply_recovery()
        # Where fewer processes go on with what more of them began, random numbers stay those of the smaller parts.
        rows = checkpoint.manifest.get("rows_at_once", engine.batch_size)
        if rows < engine.rows_at_once:
            engine.recovery.micro_batch_size = rows

    def _retain(self, written: int) -> None:
        """Remove what is neither among the newest, nor the best, nor what training goes back to.

        Steps after the one just written are of a run that goes on from before them, since they are damaged, say. They
        stay until it gets there, and take no place of those that it writes.
        """
        folders, settings = checkpoint_folders(self.folder), self.engine.settings
        reached = [step for step in folders if step <= written]
        removable = reached[: -settings.keep_checkpoints]
        spared = [best_checkpoint(self.folder)]
        if settings.on_nonfinite == ROLLBACK:
            spared.append(return_point(folders, written, settings.checkpoint_every))
        for folder in (folders[step] for step in removable):
            if folder not in spared:
                with tidying(folder):
                    remove_checkpoint(folder)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, in memory of their own and in the usual order of dimensions."""
    copies: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        copies[name] = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
    return copies


def return_point(folders: Mapping[int, Path], step: int, checkpoint_every: int) -> Path | None:
    """Which checkpoint a run that is at a step goes back to: the newest that was due, else the newest of all.

    Args:
        folders: of checkpoints by step, oldest first.
        step: where training is.
        checkpoint_every: steps after which one is due.
    """
    before = [saved for saved in folders if saved <= step]
    due = [saved for saved in before if saved % checkpoint_every == 0]
    chosen = next(reversed(due or before), None)
    return None if chosen is None else folders[chosen]


def capture(engine: Engine) -> Moment:
    """The engine's state, with the tensors that it goes on to change."""
    state = {OBJECTIVE + name: tensor for name, tensor in tensors_of(engine.objective).items()}
    return tensors_of(engine.model), state | _optimizer_tensors(engine), _manifest(engine)


def put_back(engine: Engine, checkpoint: Checkpoint | MemoryCheckpoint) -> None:
    """Give an engine the weights, the optimizers' state and the position of a checkpoint."""
    state = checkpoint.state()
    what = str(checkpoint.folder)
    load_objective(engine.objective, state, what)
    load_tensors(engine.model, checkpoint.model(), what)
    _load_optimizers(engine, state, what)
    rows = checkpoint.manifest.get("batch_size")
    if rows != engine.batch_size:
        raise RunError(f"{what} was written with another batch size: {rows}.")
    engine.step_index = checkpoint.step
    engine.results = numbers(checkpoint.manifest.get("results"))
    engine.results_step = checkpoint.step
    engine.judged_by = _judged_by(checkpoint.manifest)
    engine.callback_states = list(checkpoint.manifest.get("callbacks", []))
    engine.pending = copy.deepcopy(dict(checkpoint.manifest.get("pending", {})))


def load_objective(objective: Objective, state: Mapping[str, Tensor], what: str) -> None:
    """Give an objective its weights out of a checkpoint's state: those that are trained, not their average.

    Raises:
        RunError: they do not fit.
    """
    own = {name[len(OBJECTIVE) :]: tensor for name, tensor in state.items() if name.startswith(OBJECTIVE)}
    load_tensors(objective, own, what)


def _manifest(engine: Engine) -> dict[str, Any]:
    import ganvae_core

    name, better = engine.judged_by or (None, None)
    return {
        "step": engine.step_index,
        "samples_seen": engine.samples_seen,
        "batch_size": engine.batch_size,
        "results": dict(engine.results),
        "judged_by": name,
        "better": better,
        "callbacks": states_of(engine),
        "recovery": engine.recovery.as_dict(),
        "pending": copy.deepcopy(engine.pending),  # written while training goes on
        "versions": {"ganvae": ganvae_core.__version__, "torch": torch.__version__},
        "circumstances": circumstances(engine),
        "rows_at_once": engine.rows_at_once,
        "settings": dataclasses.asdict(engine.settings),
    }


def _judged_by(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    # Not by the order of the results, which a manifest does not keep.
    name, better = manifest.get("judged_by"), manifest.get("better")
    return (name, better) if isinstance(name, str) and isinstance(better, str) else None


def circumstances(engine: Engine) -> dict[str, Any]:
    """What bits depend on beside configuration and data."""
    name = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else engine.device.type
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": name,
        "processes": engine.world.size,
        "precision": str(engine.precision).removeprefix("torch."),
    }


def _optimizer_tensors(engine: Engine) -> dict[str, Tensor]:
    """The optimizers' state, named ``optimizer.<name>.<number of the parameter>.<key>``."""
    tensors: dict[str, Tensor] = {}
    for name, optimizer in engine.optimizers.items():
        for number, values in optimizer.torch_optimizer.state_dict()["state"].items():
            for key, value in values.items():
                if value is not None:
                    tensors[f"{OPTIMIZER}{name}.{number}.{key}"] = value
    return tensors


def _load_optimizers(engine: Engine, state: dict[str, Tensor], what: str) -> None:
    for name, optimizer in engine.optimizers.items():
        prefix = f"{OPTIMIZER}{name}."
        values: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            if key.startswith(prefix):
                number, _, field = key[len(prefix) :].partition(".")
                values.setdefault(int(number), {})[field] = _laid_out_like(
                    optimizer.parameters[int(number)], tensor
                )
        groups = optimizer.torch_optimizer.state_dict()["param_groups"]
        try:
            optimizer.torch_optimizer.load_state_dict({"state": values, "param_groups": groups})
        except (ValueError, KeyError) as error:
            raise RunError(f"{what} does not fit the optimizer '{name}': {error}") from error


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The tensor in its parameter's memory order: fused optimizers pair the two element by element in memory."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, device="cpu", requires_grad=False).copy_(tensor)
