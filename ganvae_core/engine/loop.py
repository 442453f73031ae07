"""The loop that trains any objective: read ``step`` and ``fit``, the rest serves them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from ganvae_core.engine.averaging import AveragedModel
from ganvae_core.engine.checkpoints import Checkpoint
from ganvae_core.engine.data import DataStream, Split, split
from ganvae_core.engine.devices import select_device, select_precision
from ganvae_core.engine.evaluation import evaluate, fit_prior
from ganvae_core.engine.log import StepLog
from ganvae_core.engine.optimizers import make_optimizers
from ganvae_core.engine.phases import PreparedPhase, check_loss, check_needs, has_batch_norm, prepare_phases
from ganvae_core.engine.precision import ComponentPrecision
from ganvae_core.engine.randomness import borrowed_randomness, mixed_seed, purpose
from ganvae_core.engine.ranks import world
from ganvae_core.engine.saving import CheckpointStore, restore_callbacks
from ganvae_core.engine.settings import EngineSettings, OptimizerSettings
from ganvae_core.engine.sharing import UpdateSum, same_everywhere, synchronises
from ganvae_core.engine.stopping import StopAgreement
from ganvae_core.errors import ConfigurationError, GanvaeError, TrainingError
from ganvae_core.interfaces import Callback, FittedPrior, Metric, Objective
from ganvae_core.memory import keep_freed_memory
from ganvae_core.model import Model
from ganvae_core.types import Batch, Loss

STEP = purpose("random numbers of a step")


@final
class Engine:
    """Trains an objective on data. It has no subclasses: what differs is in the objective's phases.

    Under torchrun, or in a process group of torch, the engines of all processes train as one: each computes its own
    rows of the batch, and the callbacks, metrics and files are those of rank 0.

    Args:
        objective: what is trained; it is moved to the device.
        data: a split source, a source, an array, a tensor or a map-style dataset.
        settings: steps, batch size, seed, device and so on.
        optimizers: settings by optimizer name; ``default`` stands in for the others.
        metrics: measured on held-out rows whenever a checkpoint is written, and at the end.
        callbacks: watch the run; they are asked at intervals, never inside a step.
        directory: where ``checkpoints/`` is written; None keeps everything in memory.

    Raises:
        ConfigurationError: the objective, its model and the settings do not go together.
        DataError: the data cannot be used.
    """

    def __init__(
        self,
        objective: Objective,
        data: Any,
        settings: EngineSettings | None = None,
        *,
        optimizers: Mapping[str, OptimizerSettings] | None = None,
        metrics: Sequence[Metric] = (),
        callbacks: Sequence[Callback] = (),
        directory: Path | None = None,
    ) -> None:
        self.settings = settings or EngineSettings()
        self.world = world()
        self.device = self.world.own_device(select_device(self.settings.device))
        self.precision = select_precision(self.settings, self.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.objective = objective.to(self.device)
        self.data = _as_split(data)
        self.metrics, self.callbacks = list(metrics), list(callbacks)
        self.batch_size = min(self.settings.batch_size, len(self.data.training))
        self._rows = self.world.rows(self.batch_size)
        self.rows_at_once = self.settings.micro_batch_size or self._rows.stop - self._rows.start
        synchronised = synchronises(self.world, self.device)
        fewest = self.batch_size if synchronised else self.batch_size // self.world.size
        if fewest == 1 and has_batch_norm(objective):
            raise ConfigurationError(
                f"{'a batch of one row' if self.batch_size == 1 else 'one row a process'} cannot be normalised: these"
                " networks have batch norm.",
                "take a larger engine.batch_size, more data, or networks without it (generator.batch_norm=false)",
            )
        self.step_index = 0
        self.target_steps = self.settings.steps
        self.results: dict[str, float] = {}
        self.stop_requested = self.interrupted = False
        self.callback_states: list[dict[str, Any]] = []

        check_needs(objective)
        if synchronised:
            nn.SyncBatchNorm.convert_sync_batchnorm(objective)
        if self._channels_last:
            objective.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.phases = prepare_phases(objective)
        self.averaged = AveragedModel(objective.model, self.settings.ema_half_life_samples)
        self.optimizers = make_optimizers(
            [prepared.phase for prepared in self.phases],
            {prepared.phase.name: prepared.parameters for prepared in self.phases},
            optimizers or {},
            self.settings.steps * self.batch_size,
        )
        self._components = ComponentPrecision(objective, self.device, self.precision)
        sharers = self.world.local_size if self.device.type == "cpu" else 1
        self._stream = DataStream(
            self.data, self.batch_size, self.settings.seed, self.device, rows=self._rows, sharers=sharers
        )
        self._sums = [UpdateSum(self.world, prepared) for prepared in self.phases]
        self._agreement = StopAgreement(self.world, self.device)
        self._found_inf = torch.zeros((), device=self.device)
        self._log = StepLog()
        self._checked: set[str] = set()
        self._store: CheckpointStore | None = None
        self.directory: Path | None = None
        if directory is not None:
            self.keep_in(directory)
        self._clock = (time.perf_counter(), 0)

    @property
    def model(self) -> Model:
        """The averaged model, in evaluation mode: what to sample, encode and keep."""
        return self.averaged.model

    @property
    def samples_seen(self) -> int:
        """Rows of data that training has eaten: the position in the data."""
        return self.step_index * self.batch_size

    def fit(self, steps: int | None = None) -> Engine:
        """Train until ``steps`` steps have been done in all (default: the settings'), and return the engine.

        Raises:
            TrainingError: a loss or gradient was not finite, or a checkpoint could not be written.
        """
        self.target_steps = steps = self.settings.steps if steps is None else steps
        for optimizer in self.optimizers.values():
            optimizer.total_samples = steps * self.batch_size
        if steps < 0:
            raise ConfigurationError(f"fit: {steps} steps are not possible: it must not be negative.")
        self._found_inf.zero_()
        self._agreement.clear()
        self.objective.train()
        self._clock = (time.perf_counter(), self.step_index)
        with borrowed_randomness(self.device) as generator, self._components.covering():
            try:
                same_everywhere(self)
                restore_callbacks(self.callbacks, self.callback_states)
                self._tell("on_start")
                while self.step_index < steps and not self._stops:
                    self.step(generator)
                    self._at_intervals(last=self.step_index == steps)
                self._finish(complete=not self._interrupted)
            except BaseException as error:
                self._tell_callbacks("on_error", error)
                raise
            finally:
                self.stop_requested = self.interrupted = False
                self._stream.close()
        return self

    def step(self, generator: torch.Generator) -> None:
        """One global batch through every phase that is due, then the average of the weights."""
        batch = self._stream.batch_at(self.samples_seen)
        if self._channels_last and batch.x.dim() == 4:
            batch = Batch(batch.x.contiguous(memory_format=torch.channels_last), *_rest(batch))

        for prepared in self.phases:
            if (self.step_index + 1) % prepared.phase.every:  # + 1: what runs at every step leads
                continue
            with prepared.only_training():
                loss = self._update(prepared, batch, generator)
                prepared.moving.put_back_where(self._found_inf)
            # Not before other modules' buffers are back: it may change them, and that is to stay.
            if prepared.phase.after is not None and not self._found_inf.item():
                with torch.no_grad():
                    prepared.phase.after(_averages(loss))

        self.step_index += 1
        self.averaged.update(self.samples_seen, self.batch_size)

    def report(self) -> dict[str, Any]:
        """Read the log, hand its averages to the callbacks, and stop where something was not finite.

        Raises:
            TrainingError: a loss or gradient was not finite; the weights are those from before it.
        """
        averages, not_finite = self._log.read()
        if not_finite is not None:
            raise TrainingError(
                f"step {not_finite.step + 1:,}: not finite in phase '{not_finite.phase}':"
                f" {', '.join(not_finite.terms).replace('_', ' ')}; training has stopped.",
                "the weights were left as they were before that step",
                "try a smaller learning rate:  optimizers.default.lr=…",
            )
        self._agreement.read()
        now, done = time.perf_counter(), self.step_index
        seconds, steps = now - self._clock[0], done - self._clock[1]
        self._clock = (now, done)
        speed = steps * self.batch_size / seconds if seconds else 0.0
        record = {"step": done, "samples_seen": self.samples_seen, **averages, "samples_per_second": speed}
        self._tell("on_step", record)
        return record

    def keep_in(self, directory: Path) -> None:
        """Write checkpoints into ``directory/checkpoints`` from now on."""
        self.directory = directory
        self._store = CheckpointStore(directory / "checkpoints", self)

    def save(self) -> None:
        """Measure, and write a checkpoint where the engine has a directory: on rank 0, while the others wait."""
        self.results = self.world.from_first(self._save)

    def _save(self) -> dict[str, float]:
        self.results = evaluate(self.model, self.data, self.metrics, self.settings.seed, self.device)
        if self._store is not None:
            self._store.save()
            self._tell_callbacks("on_checkpoint")
        return self.results

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of a run with the same configuration.

        Raises:
            RunError: its tensors do not fit.
        """
        CheckpointStore.restore(self, checkpoint)

    def _update(self, prepared: PreparedPhase, batch: Batch, generator: torch.Generator) -> Loss:
        """One phase's update: loss and gradient by micro-batches, then norm, clip and step."""
        phase = prepared.phase
        optimizer = self.optimizers[phase.optimizer]
        optimizer.clear_gradients()
        losses: list[Loss] = []
        for row, share, part in self._micro_batches(prepared.couples_rows, batch):
            generator.manual_seed(mixed_seed(self.settings.seed, STEP, self.step_index, prepared.index, row))
            if phase.second_order:
                with self._components.full():
                    loss = phase.loss(part)
            else:
                loss = phase.loss(part)
            if phase.name not in self._checked:
                check_loss(phase, loss)
                self._checked.add(phase.name)
            loss = loss if share == 1.0 else _scaled(loss, share)
            loss.value.backward()
            losses.append(loss)

        loss = losses[0] if len(losses) == 1 else _sum(losses)
        if self.world.size > 1:
            loss = self._over_ranks(prepared, loss)
        norm = self._gradient_norm(prepared.parameters, loss.value.detach())
        if optimizer.settings.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(prepared.parameters, optimizer.settings.clip_norm, norm)
        optimizer.step(batch.samples_seen, self._found_inf)
        self._log.add(self.step_index, phase.name, loss, norm)
        return loss

    def _over_ranks(self, prepared: PreparedPhase, loss: Loss) -> Loss:
        """The loss of the whole batch, after its gradient has been summed over ranks."""
        share = (self._rows.stop - self._rows.start) / self.batch_size
        wish = self._agreement.flags(self.stop_requested, self.interrupted)
        loss, wishes = self._sums[prepared.index].over_ranks(loss, share, wish)
        self._agreement.hear(wishes)
        return loss

    def _gradient_norm(self, parameters: list[nn.Parameter], value: Tensor) -> Tensor:
        """() the norm of the gradient; notes in ``_found_inf``, which is sticky, if it or the loss is not finite."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = torch._foreach_norm(gradients)  # pyright: ignore
        norm = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros_like(value)
        total = norm + value
        self._found_inf.logical_or_(total - total)  # 0 where it is finite, else NaN, which counts as true
        return norm

    def _micro_batches(self, couples_rows: bool, batch: Batch) -> Iterator[tuple[int, float, Batch]]:
        """(first row in the global batch, share of it, rows) for each micro-batch of this rank.

        Where rows are coupled there is one.
        """
        first, count = self._rows.start, self._rows.stop - self._rows.start
        if couples_rows or self.rows_at_once >= count:
            yield first, count / self.batch_size, batch
            return
        for row in range(0, count, self.rows_at_once):
            rows = slice(row, min(row + self.rows_at_once, count))
            condition = None if batch.condition is None else batch.condition[rows]
            part = Batch(batch.x[rows], condition, batch.index[rows], batch.samples_seen)
            yield first + row, (rows.stop - row) / self.batch_size, part

    def _at_intervals(self, last: bool) -> None:
        settings = self.settings
        if last or self.step_index % settings.log_every == 0:
            self.report()
        if last:
            return
        if settings.samples_every and self.step_index % settings.samples_every == 0:
            self._tell("on_samples")
        if self.step_index % settings.checkpoint_every == 0:
            self.report_pending()
            self.save()

    def report_pending(self) -> None:
        """Make sure that what is about to be saved is finite."""
        if self._log.pending:
            self.report()

    def _finish(self, complete: bool) -> None:
        """Save; a run that is complete, and not only interrupted, also gets its prior fitted and its last pictures."""
        self.report_pending()
        if complete and isinstance(self.model.prior, FittedPrior):
            try:
                self.world.from_first(lambda: fit_prior(self.model, self.data, self.device))
            except GanvaeError:
                self.save()  # what was trained is not lost with it
                raise
            self.world.broadcast_(self.model.prior.state_dict().values(), self.device)
            self.objective.model.prior.load_state_dict(self.model.prior.state_dict())
        self.save()
        if complete:
            self._tell("on_samples")
        self._tell("on_end")

    def _tell(self, event: str, *arguments: Any) -> None:
        """Tell rank 0's callbacks, while the others wait; if one of them asks for a stop, all ranks know it."""

        def tell() -> list[bool]:
            self._tell_callbacks(event, *arguments)
            return [self.stop_requested, self.interrupted]

        self._agreement.adopt(*self.world.from_first(tell))

    def _tell_callbacks(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks if self.world.first else ():
            getattr(callback, event)(self, *arguments)

    @property
    def _stops(self) -> bool:
        """Whether training ends after this step: what this process was asked for, or what all ranks agree on."""
        return self.stop_requested if self.world.size == 1 else self._agreement.stop

    @property
    def _interrupted(self) -> bool:
        return self.interrupted if self.world.size == 1 else self._agreement.interrupted

    @property
    def _channels_last(self) -> bool:
        wanted = self.settings.channels_last
        return self.precision != torch.float32 if wanted is None else wanted


def _as_split(data: Any) -> Split:
    if isinstance(data, Split):
        return data
    from ganvae_core import as_source

    return split(as_source(data))


def _rest(batch: Batch) -> tuple[Tensor | None, Tensor, int]:
    return batch.condition, batch.index, batch.samples_seen


def _averages(loss: Loss) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in {**loss.terms, **loss.statistics}.items()}


def _scaled(loss: Loss, share: float) -> Loss:
    terms = {name: value.detach() * share for name, value in loss.terms.items()}
    statistics = {name: value.detach() * share for name, value in loss.statistics.items()}
    return Loss(loss.value * share, terms, statistics)


def _sum(losses: list[Loss]) -> Loss:
    first = losses[0]
    return Loss(
        torch.stack([loss.value.detach() for loss in losses]).sum(),
        {name: torch.stack([loss.terms[name] for loss in losses]).sum() for name in first.terms},
        {name: torch.stack([loss.statistics[name] for loss in losses]).sum(0) for name in first.statistics},
    )
