"""An engine's state to and from checkpoints, and which of them stay."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganvae_core.engine.checkpoints import (
    Checkpoint,
    folder_name,
    list_checkpoints,
    load_tensors,
    tensors_of,
    write_checkpoint,
)
from ganvae_core.errors import RunError
from ganvae_core.interfaces import Callback
from ganvae_core.runs import best_step, manifests_in

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine

OBJECTIVE = "objective."
OPTIMIZER = "optimizer."


class CheckpointStore:
    """Writes an engine's checkpoints under one folder, and keeps the newest and the best of them."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine

    def save(self) -> None:
        """Write a checkpoint of this moment, then remove those that are neither among the newest nor the best."""
        engine = self.engine
        state = {OBJECTIVE + name: tensor for name, tensor in tensors_of(engine.objective).items()}
        state |= _optimizer_tensors(engine)
        write_checkpoint(self.folder, tensors_of(engine.model), state, _manifest(engine))
        self._retain()

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
        # Where fewer processes go on with what more of them began, random numbers stay those of the smaller parts.
        engine.rows_at_once = min(
            engine.rows_at_once, checkpoint.manifest.get("rows_at_once", engine.batch_size)
        )
        engine.step_index = checkpoint.step
        engine.callback_states = list(checkpoint.manifest.get("callbacks", []))

    def _retain(self) -> None:
        folders = list_checkpoints(self.folder)
        kept = {folder_name(self.engine.step_index)}
        kept |= {folder.name for folder in folders[-self.engine.settings.keep_checkpoints :]}
        best = best_checkpoint(self.folder)
        for folder in folders:
            if folder.name not in kept and folder != best:
                shutil.rmtree(folder)


def best_checkpoint(parent: Path) -> Path | None:
    """The checkpoint with the best held-out result, by the run's first metric; None where nothing was measured."""
    step = best_step(manifests_in(parent))
    return None if step is None else parent / folder_name(step)


def _manifest(engine: Engine) -> dict[str, Any]:
    import ganvae_core

    first = next(iter(engine.results), None)
    return {
        "step": engine.step_index,
        "samples_seen": engine.samples_seen,
        "batch_size": engine.batch_size,
        "results": engine.results,
        "judged_by": first,
        "better": engine.metrics[0].better if first is not None else None,
        "callbacks": _callback_states(engine.callbacks),
        "versions": {"ganvae": ganvae_core.__version__, "torch": torch.__version__},
        "processes": engine.world.size,
        "rows_at_once": engine.rows_at_once,
        "threads": torch.get_num_threads(),
        "settings": dataclasses.asdict(engine.settings),
    }


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
