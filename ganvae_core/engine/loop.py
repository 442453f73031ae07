"""The loop that trains any objective: read ``step`` and ``fit``, the rest serves them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn

from ganvae_core.data.memory import keep_freed_memory
from ganvae_core.data.randomness import borrowed_randomness
from ganvae_core.data.split import Split, split
from ganvae_core.data.stream import DataStream
from ganvae_core.engine.callbacks import restore, tell
from ganvae_core.engine.devices import select_device, select_precision
from ganvae_core.engine.ema import AveragedModel
from ganvae_core.engine.log import StepLog
from ganvae_core.engine.optimizers import make_optimizers
from ganvae_core.engine.phases import check_needs, has_batch_norm, prepare_phases
from ganvae_core.engine.precision import ComponentPrecision
from ganvae_core.engine.processes import world
from ganvae_core.engine.recovery import NotFiniteError, Recovery, count_dropped, stopped_by
from ganvae_core.engine.rollback import ReturnPoints
from ganvae_core.engine.saving import CheckpointStore
from ganvae_core.engine.settings import ROLLBACK, SKIP, EngineSettings, OptimizerSettings
from ganvae_core.engine.sharing import same_everywhere, synchronises
from ganvae_core.engine.stopping import StopAgreement
from ganvae_core.engine.updates import Updates
from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_core.evaluation.measuring import evaluate, fit_prior, judged_by, unfitted_prior
from ganvae_core.interfaces import Callback, FittedPrior, Metric, Objective
from ganvae_core.model import Model
from ganvae_core.store.checkpoints import Checkpoint
from ganvae_core.store.ownership import held_by_first
from ganvae_core.types import Batch, Loss

LOGGER = logging.getLogger("ganvae")


T = TypeVar("T")


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
        directory: where ``checkpoints/`` is written, by one process at a time; None keeps everything in memory.

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
        self.rows = self.world.rows(self.batch_size)  # of a batch, those that this rank computes
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
        self.results_step: int | None = None
        # Which of the results the best checkpoint is chosen by, and whether the lower or the higher is better.
        self.judged_by: tuple[str, str] | None = None
        self.stop_requested = self.interrupted = False
        self.stopped_because: str | None = None
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
        sharers = self.world.local_size if self.device.type == "cpu" else 1
        self._stream = DataStream(
            self.data, self.batch_size, self.settings.seed, self.device, rows=self.rows, sharers=sharers
        )
        self._components = ComponentPrecision(objective, self.device, self.precision)
        self._agreement = StopAgreement(self.world, self.device)
        self._updates = Updates(self, self._components, self._agreement)
        self._log = StepLog()
        self.recovery = Recovery(micro_batch_size=self.settings.micro_batch_size)
        self.pending: dict[str, Any] = {}
        self.store: CheckpointStore | None = None
        self._return_points = ReturnPoints(self)
        self._unfitted = unfitted_prior(objective.model)
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

    @property
    def rows_at_once(self) -> int:
        """Rows of a micro-batch, where a phase's rows can be split."""
        own = self.rows.stop - self.rows.start
        return min(self.recovery.micro_batch_size or own, own)

    def apply_recovery(self) -> None:
        """Let the optimizers go as slowly as the recovery says."""
        for optimizer in self.optimizers.values():
            optimizer.slow_down(self.recovery.learning_rate_factor)

    def fit(self, steps: int | None = None) -> Engine:
        """Train until ``steps`` steps have been done in all (default: the settings'), and return the engine.

        Raises:
            RunError: another process trains in the engine's directory.
            TrainingError: a loss or gradient was not finite, memory ran out, or a checkpoint could not be written.
        """
        with self._holding_directory():
            return self._fit(steps)

    def _fit(self, steps: int | None) -> Engine:
        self.target_steps = steps = self.settings.steps if steps is None else steps
        for optimizer in self.optimizers.values():
            optimizer.total_samples = steps * self.batch_size
        if steps < 0:
            raise ConfigurationError(f"fit: {steps} steps are not possible: it must not be negative.")
        self._updates.found_inf.zero_()
        self._agreement.clear()
        self.objective.train()
        self._clock = (time.perf_counter(), self.step_index)
        with borrowed_randomness(self.device) as generator, self._components.covering():
            try:
                same_everywhere(self)
                self._on_first(lambda: restore(self))
                self._tell("on_start")
                self._return_points.keep()
                self._train(steps, generator)
                self._finish(complete=self.step_index >= steps or not self._interrupted)
            except BaseException as error:
                self._end_writing(error)
                if self.world.first:
                    tell(self, "on_error", error)
                raise
            finally:
                self._end_writing()
                self.stop_requested = self.interrupted = False
                self._stream.close()
        return self

    def _train(self, steps: int, generator: torch.Generator) -> None:
        """Step after step; where a number was not finite, back to the last checkpoint if the policy says so."""
        finished = False
        while not finished:
            if self._unfitted and self.step_index < steps:
                # A run that goes on after its end is as one that has not ended: its prior is fitted at the next end.
                self.model.prior.load_state_dict(self._unfitted)
                self.objective.model.prior.load_state_dict(self._unfitted)
            try:
                while self.step_index < steps and not self._stops:
                    self.step(generator)
                    self._at_intervals(last=self.step_index == steps)
                self.report_pending()
                finished = True
            except NotFiniteError as error:
                if self.settings.on_nonfinite != ROLLBACK:
                    raise
                self._return_points.go_back(error)
                self._updates.found_inf.zero_()
                self._clock = (time.perf_counter(), self.step_index)

    def step(self, generator: torch.Generator) -> None:
        """One global batch through every phase that is due, then the average of the weights."""
        found_inf = self._updates.found_inf
        batch = self._stream.batch_at(self.samples_seen)
        if self._channels_last and batch.x.dim() == 4:
            batch = Batch(batch.x.contiguous(memory_format=torch.channels_last), *_rest(batch))

        for prepared in self.phases:
            if (self.step_index + 1) % prepared.phase.every:  # + 1: what runs at every step leads
                continue
            with prepared.only_training():
                if self.settings.on_nonfinite == SKIP:
                    found_inf.zero_()  # that one update was dropped is no reason to drop the next
                loss, norm = self._updates.make(prepared, batch, generator)
                prepared.moving.put_back_where(found_inf)
                self._log.add(self.step_index, prepared.phase.name, loss, norm)
            # Not before other modules' buffers are back: it may change them, and that is to stay.
            if prepared.phase.after is not None and not found_inf.item():
                with torch.no_grad():
                    prepared.phase.after(_averages(loss))

        self.step_index += 1
        self.averaged.update(self.samples_seen, self.batch_size)

    def stop(self, because: str) -> None:
        """End training after the current step as if it were complete, for a reason that the person is told.

        Args:
            because: the end of a sentence that begins with "stopped early:".
        """
        self.stop_requested, self.stopped_because = True, because

    def report(self) -> dict[str, Any]:
        """Read the log, hand its averages to the callbacks, and stop where something was not finite.

        Raises:
            TrainingError: a loss or gradient was not finite; the weights are those from before it. Where such updates
                are skipped, a phase had no other ones.
        """
        reading = self._log.read()
        if reading.first is not None and self.settings.on_nonfinite != SKIP:
            raise stopped_by(reading.first)
        numbers = {**reading.averages, **count_dropped(self, reading)}
        if self.world.size > 1:
            self._agreement.read()
        now, done = time.perf_counter(), self.step_index
        seconds, steps = now - self._clock[0], done - self._clock[1]
        self._clock = (now, done)
        speed = steps * self.batch_size / seconds if seconds else 0.0
        record = {"step": done, "samples_seen": self.samples_seen, **numbers, **self.take_pending(),
                  "samples_per_second": speed}  # fmt: skip
        self._tell("on_step", record)
        return record

    def warn(self, message: str, *hints: str) -> None:
        """Say something to whoever trains: at once by Python's logging, and in the next record under ``warnings``."""
        text = "\n  ".join((message, *hints))
        if self.world.first:
            LOGGER.warning(text)
        self.pending.setdefault("warnings", []).append(text)

    def take_pending(self) -> dict[str, Any]:
        """What waits for the next record, which is forgotten here: ``warnings``, ``returned_to``, measurements."""
        pending, self.pending = self.pending, {}
        return pending

    def keep_in(self, directory: Path) -> None:
        """Write checkpoints into ``directory/checkpoints`` from now on."""
        self.directory = directory
        self.store = CheckpointStore(directory / "checkpoints", self)

    @property
    def saved_step(self) -> int | None:
        """The step of the newest checkpoint that this engine knows to be on disk."""
        return None if self.store is None else self.store.saved_step

    def save(self) -> None:
        """Measure, and write a checkpoint where the engine has a directory; it is on disk afterwards."""
        with self._holding_directory():
            self._begin_saving(measured=True)
            self.finish_saving()

    def finish_saving(self) -> None:
        """Wait until the checkpoint that is being written, if any, is on disk, and tell the callbacks of it.

        Raises:
            TrainingError: it could not be written; those before it are whole.
        """
        if self.store is not None:
            self._on_first(self._finish_writing)

    def _finish_writing(self) -> None:
        if self.store is not None and self.store.finish():
            tell(self, "on_checkpoint")

    def _begin_saving(self, measured: bool, last: bool = False) -> None:
        """Have a checkpoint of this moment written; that is known to be done after ``finish_saving``.

        Args:
            measured: whether held-out results go with it.
            last: draw the last pictures before it is written, and not before its state is copied: a run that is killed
                over them does its end again, and one that goes on later does not know of them.
        """
        self.results = self._on_first(lambda: self._begin_writing(measured, last))
        self._return_points.keep()

    def _begin_writing(self, measured: bool, last: bool) -> dict[str, float]:
        self._finish_writing()
        if measured:
            self.results = evaluate(self.model, self.data, self.metrics, self.settings.seed, self.device)
            self.results_step = self.step_index
            self.judged_by = judged_by(self.metrics, self.model, self.results)
            if self.results:
                tell(self, "on_results", self.results)
        elif self.results_step != self.step_index:
            self.results, self.judged_by = {}, None
        moment = None if self.store is None else self.store.moment()
        try:
            if last:
                tell(self, "on_samples")
        finally:
            if self.store is not None and moment is not None:
                self.store.begin(moment)
        return self.results

    def _end_writing(self, error: BaseException | None = None) -> None:
        """Let the writing end, and say with the error that ended training if it failed, too."""
        failure = None if self.store is None else self.store.close()
        if error is not None and failure is not None and failure is not error:
            error.add_note(str(failure))
            if isinstance(error, GanvaeError):
                error.hints += (str(failure),)

    def _holding_directory(self) -> AbstractContextManager[None]:
        return nullcontext() if self.directory is None else held_by_first(self.directory, self.world)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of a run with the same configuration.

        Raises:
            RunError: its tensors do not fit.
        """
        CheckpointStore.restore(self, checkpoint)

    def _at_intervals(self, last: bool) -> None:
        settings = self.settings
        if last or self.step_index % settings.log_every == 0:
            self.finish_saving()  # at a fixed step: what callbacks do then must not depend on how fast a disk is
            self.report()
        if last:
            return
        if settings.samples_every and self.step_index % settings.samples_every == 0:
            self._tell("on_samples")
        if self.step_index % settings.checkpoint_every == 0:
            self.report_pending()
            self._begin_saving(measured=settings.measured_at(self.step_index))

    def report_pending(self) -> None:
        """Make sure that what is about to be saved is finite."""
        if self._log.pending:
            self.report()

    def _finish(self, complete: bool) -> None:
        """Save; a run that is complete also gets its prior fitted, is measured, and gets its last pictures.

        Whoever interrupts one waits for a file to be written and no longer.
        """
        if complete and isinstance(self.model.prior, FittedPrior):
            try:
                self.world.from_first(lambda: fit_prior(self.model, self.data, self.device))
            except GanvaeError:
                self.save()  # what was trained is not lost with it
                raise
            self.world.broadcast_(self.model.prior.state_dict().values(), self.device)
            self.objective.model.prior.load_state_dict(self.model.prior.state_dict())
        with self._holding_directory():
            self._begin_saving(measured=complete, last=complete)
            self.finish_saving()
        self._tell("on_end")

    def _tell(self, event: str, *arguments: Any) -> None:
        """Tell rank 0's callbacks, while the others wait."""
        self._on_first(lambda: tell(self, event, *arguments))

    def _on_first(self, work: Callable[[], T]) -> T:
        """What rank 0 gets from doing something alone; if a callback asks for a stop meanwhile, all ranks know it."""
        if self.world.size == 1:
            return work()

        def work_and_wish() -> tuple[T, bool, bool]:
            return work(), self.stop_requested, self.interrupted

        found, stop, interrupted = self.world.from_first(work_and_wish)
        self._agreement.adopt(stop, interrupted)
        return found

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


def _rest(batch: Batch) -> tuple[Tensor | None, Tensor | None, Tensor, int]:
    return batch.condition, batch.mask, batch.index, batch.samples_seen


def _averages(loss: Loss) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in {**loss.terms, **loss.statistics}.items()}
