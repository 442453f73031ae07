"""What training goes on from: one small type, captured for a checkpoint and restored from one."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ganvae_core import __version__
from ganvae_core.engine.ema import EMA
from ganvae_core.engine.log import StepLog
from ganvae_core.engine.optimizers import ScheduledOptimizer
from ganvae_core.errors import RunError
from ganvae_core.interfaces import FittedPrior
from ganvae_core.store.checkpoints import Checkpoint, Snapshot, load_tensors, tensors_of
from ganvae_core.store.manifests import numbers, read_figures, texts
from ganvae_core.training import Objective
from ganvae_core.types import Better, Figure

LOGGER = logging.getLogger("ganvae")
OBJECTIVE = "objective."
OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class Results:
    """Held-out results.

    Args:
        values: by name.
        step: of the measurement; None before the first.
        judged_by: the result that the best checkpoint is chosen by, and whether ``lower`` or ``higher`` is better.
        judged: that result, of as many rows as are measured while training.
        figures: of the run's metrics: what each result is.
        gaps: why figures cannot be had, by their names.
    """

    values: Mapping[str, float] = field(default_factory=dict[str, float])
    step: int | None = None
    judged_by: tuple[str, Better] | None = None
    judged: float | None = None
    figures: Sequence[Figure] = ()
    gaps: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass
class TrainingState:
    """The state of one stage of training.

    Args:
        objective: the modules that are trained.
        ema: the averaged model.
        optimizers: by name.
        batch_size: rows of one global batch.
        stage: number of this stage, from 0.
        first_step: steps of the stages before this one.
        step: steps done in this stage.
        ended: whether the stage has come to its end: its steps are done, or it was stopped as if they were.
        fitted_step: steps of all stages after which the prior was fitted in closed form; None before.
        log: what was computed since the last record.
        micro_batch_size: rows computed at once; fewer than configured after memory ran out; None is the whole batch.
        results: the newest held-out results.
        best: the best of those while training so far, and its step; None before the first.
        worse: measurements since then that were much worse.
        pending: what goes into the next record of the log: warnings, measurements.
        callback_states: states of callbacks that a checkpoint held and no callback has taken yet.
        reports: whether this process logs warnings, which one of several does.
    """

    objective: Objective
    ema: EMA
    optimizers: Mapping[str, ScheduledOptimizer]
    batch_size: int
    stage: int = 0
    first_step: int = 0
    step: int = 0
    ended: bool = False
    fitted_step: int | None = None
    log: StepLog = field(default_factory=StepLog)
    micro_batch_size: int | None = None
    results: Results = field(default_factory=Results)
    best: tuple[float, int] | None = None
    worse: int = 0
    pending: dict[str, Any] = field(default_factory=dict[str, Any])
    callback_states: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reports: bool = True

    @property
    def run_step(self) -> int:
        """Steps done in all stages."""
        return self.first_step + self.step

    @property
    def samples_seen(self) -> int:
        """Rows used in this stage: the position in the data."""
        return self.step * self.batch_size

    @property
    def awaits_fit(self) -> bool:
        """Whether the averaged model has a prior that is fitted in closed form, and it was not fitted at this step."""
        return isinstance(self.ema.model.prior, FittedPrior) and self.fitted_step != self.run_step

    @property
    def complete(self) -> bool:
        """Whether nothing of this stage is left to do."""
        return self.ended and not self.awaits_fit

    def mark_fitted(self) -> None:
        """Note that the prior is fitted to the codes of this step."""
        self.fitted_step = self.run_step

    def warn(self, message: str, *hints: str) -> None:
        """Log a warning at once, and add it to the next record under ``warnings``."""
        text = "\n  ".join((message, *hints))
        if self.reports:
            LOGGER.warning(text)
        self.pending.setdefault("warnings", []).append(text)

    def record(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A record of now for the log."""
        stage = {"stage": self.stage} if self.stage else {}
        return {"step": self.run_step, **stage, "samples_seen": self.samples_seen, **values}

    def take_pending(self) -> dict[str, Any]:
        """Return what waits for the next record, and clear it."""
        pending, self.pending = self.pending, {}
        return pending

    def capture(self, callback_states: Sequence[Mapping[str, Any]], runtime: Mapping[str, Any]) -> Snapshot:
        """The state as a snapshot. Its tensors are those that training goes on to change.

        Args:
            callback_states: as ``callbacks.states_of`` gives them.
            runtime: what rounding depends on beside configuration and data.
        """
        objective = {OBJECTIVE + name: tensor for name, tensor in tensors_of(self.objective).items()}
        name, better = self.results.judged_by or (None, None)
        manifest = {
            "step": self.run_step,
            "stage": self.stage,
            "stage_step": self.step,
            "ended": self.ended,
            "complete": self.complete,
            "fitted_step": self.fitted_step,
            "samples_seen": self.samples_seen,
            "batch_size": self.batch_size,
            "results": dict(self.results.values),
            "judged_by": name,
            "better": better,
            "judged": self.results.judged,
            "best": self.best,
            "worse": self.worse,
            "gaps": dict(self.results.gaps),
            "figures": [dataclasses.asdict(figure) for figure in self.results.figures],
            "callbacks": list(callback_states),
            "micro_batch_size": self.micro_batch_size,
            "log": self.log.state(),
            "pending": copy.deepcopy(self.pending),  # written while training goes on
            "versions": {"ganvae": __version__, "torch": torch.__version__},
            "runtime": dict(runtime),
        }
        return Snapshot(tensors_of(self.ema.model), objective | self._optimizer_tensors(), manifest)

    def restore(self, checkpoint: Checkpoint, *, prior: bool = True) -> None:
        """Go on from a checkpoint of the same configuration and stage.

        Args:
            checkpoint: to go on from.
            prior: whether the prior is restored, too; a prior that is still to be fitted may have other options.

        Raises:
            RunError: its tensors, its batch size or its manifest do not fit.
        """
        manifest, what = checkpoint.manifest, str(checkpoint.folder)
        if manifest.get("batch_size") != self.batch_size:
            raise RunError(f"{what} was written with another batch size: {manifest.get('batch_size')}.")
        try:
            self.step = checkpoint.stage_step
            self._restore_numbers(manifest)
        except (TypeError, ValueError, AttributeError) as error:
            raise RunError(f"the manifest of {what} is damaged: {error}") from error
        tensors = checkpoint.state()
        load_objective(self.objective, tensors, what, skip="" if prior else "model.prior.")
        load_tensors(self.ema.model, checkpoint.model(), what, skip="" if prior else "prior.")
        self._load_optimizers(tensors, what)

    def _restore_numbers(self, manifest: Mapping[str, Any]) -> None:
        judged_by, better = manifest.get("judged_by"), manifest.get("better")
        by = None
        if isinstance(judged_by, str) and better in ("lower", "higher"):
            by = (judged_by, better)
        figures = read_figures(manifest.get("figures"))
        values = numbers(manifest.get("results"))
        self.results = Results(
            values, self.run_step, by, manifest.get("judged"), figures, texts(manifest.get("gaps"))
        )
        best = manifest.get("best")
        self.best = None if best is None else (float(best[0]), int(best[1]))
        self.worse = int(manifest.get("worse", 0))
        self.ended = bool(manifest.get("ended"))
        self.fitted_step = manifest.get("fitted_step")
        self.log.restore(manifest.get("log", {}))
        self.callback_states = list(manifest.get("callbacks", []))
        self.pending = copy.deepcopy(dict(manifest.get("pending", {})))
        rows = manifest.get("micro_batch_size")
        self.micro_batch_size = None if rows is None else max(1, int(rows))

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        """The optimizers' state, named ``optimizer.<name>.<number of the parameter>.<key>``."""
        return {
            f"{OPTIMIZER}{name}.{number}.{key}": value
            for name, optimizer in self.optimizers.items()
            for number, values in optimizer.torch_optimizer.state_dict()["state"].items()
            for key, value in values.items()
            if value is not None
        }

    def _load_optimizers(self, tensors: Mapping[str, Tensor], what: str) -> None:
        for name, optimizer in self.optimizers.items():
            prefix = f"{OPTIMIZER}{name}."
            values: dict[int, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                if key.startswith(prefix):
                    number, _, entry = key[len(prefix) :].partition(".")
                    like = optimizer.parameters[int(number)]
                    values.setdefault(int(number), {})[entry] = _laid_out_like(like, tensor)
            groups = optimizer.torch_optimizer.state_dict()["param_groups"]
            try:
                optimizer.torch_optimizer.load_state_dict({"state": values, "param_groups": groups})
            except (ValueError, KeyError) as error:
                raise RunError(f"{what} does not fit the optimizer '{name}': {error}") from error


def load_objective(objective: Objective, tensors: Mapping[str, Tensor], what: str, skip: str = "") -> None:
    """Load an objective's trained weights, which are not the averaged ones, from a checkpoint's state.

    Args:
        objective: that they are loaded into.
        tensors: of the checkpoint's state.
        what: they are, in messages.
        skip: prefix of names that are left as they are.

    Raises:
        RunError: they do not fit.
    """
    own = {name[len(OBJECTIVE) :]: tensor for name, tensor in tensors.items() if name.startswith(OBJECTIVE)}
    load_tensors(objective, own, what, skip)


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The tensor in its parameter's memory order, since fused optimizers pair the two element by element in memory."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, device="cpu", requires_grad=False).copy_(tensor)
