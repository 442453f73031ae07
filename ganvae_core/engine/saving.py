"""An engine's state to and from checkpoints, written while training goes on, and which of them stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganvae_core.engine.checkpoints import (
    Checkpoint,
    load_tensors,
    remove_checkpoint,
    tensors_of,
    write_checkpoint,
)
from ganvae_core.errors import RunError
from ganvae_core.interfaces import Callback
from ganvae_core.manifests import best_checkpoint, checkpoint_folders

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine

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

    def begin(self, results: Mapping[str, float]) -> None:
        """Copy the state of this moment, and have it written; ``finish`` says when it is on disk.

        Args:
            results: held-out results of this moment; empty where nothing was measured.
        """
        assert self._writing is None, "the checkpoint before is finished first"
        engine = self.engine
        state = {OBJECTIVE + name: tensor for name, tensor in tensors_of(engine.objective).items()}
        state |= _optimizer_tensors(engine)
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="ganvae-checkpoint")
        self._writing = self._writer.submit(
            self._write, _copied(tensors_of(engine.model)), _copied(state), _manifest(engine, results)
        )

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
        state = checkpoint.state()
        what = str(checkpoint.folder)
        own = {name[len(OBJECTIVE) :]: tensor for name, tensor in state.items() if name.startswith(OBJECTIVE)}
        load_tensors(engine.objective, own, what)
        load_tensors(engine.model, checkpoint.model(), what)
        _load_optimizers(engine, state, what)
        if checkpoint.manifest.get("batch_size") != engine.batch_size:
            raise RunError(
                f"{what} was written with another batch size: {checkpoint.manifest.get('batch_size')}."
            )
        engine.step_index = checkpoint.step
        engine.callback_states = list(checkpoint.manifest.get("callbacks", []))

    def _retain(self, written: int) -> None:
        """Remove what is neither among the newest, nor the best, nor the one that was just written."""
        folders = checkpoint_folders(self.folder)
        kept = {written, *list(folders)[-self.engine.settings.keep_checkpoints :]}
        best = best_checkpoint(self.folder)
        for step, folder in folders.items():
            if step not in kept and folder != best:
                remove_checkpoint(folder)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, in memory of their own and in the usual order of dimensions."""
    copies: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        copies[name] = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
    return copies


def _manifest(engine: Engine, results: Mapping[str, float]) -> dict[str, Any]:
    import ganvae_core

    first = next(iter(results), None)
    return {
        "step": engine.step_index,
        "samples_seen": engine.samples_seen,
        "batch_size": engine.batch_size,
        "results": dict(results),
        "judged_by": first,
        "better": engine.metrics[0].better if first is not None else None,
        "callbacks": _callback_states(engine.callbacks),
        "versions": {"ganvae": ganvae_core.__version__, "torch": torch.__version__},
        "circumstances": circumstances(engine),
        "settings": dataclasses.asdict(engine.settings),
    }


def circumstances(engine: Engine) -> dict[str, Any]:
    """What bits depend on beside configuration and data."""
    name = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else engine.device.type
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": name}


def _callback_states(callbacks: Sequence[Callback]) -> list[dict[str, Any]]:
    states = [(type(callback).__qualname__, callback.state_dict()) for callback in callbacks]
    return [{"callback": name, "state": state} for name, state in states if state]


def restore_callbacks(callbacks: Sequence[Callback], states: list[dict[str, Any]]) -> None:
    """Give each callback the state that one of its class had, and take that out of the list.

    By class, since the callbacks of a run that goes on need not be those that it was started with.
    """
    for callback in callbacks:
        own = next((kept for kept in states if kept["callback"] == type(callback).__qualname__), None)
        if own is not None:
            states.remove(own)
            callback.load_state_dict(own["state"])


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
