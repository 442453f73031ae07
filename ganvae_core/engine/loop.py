"""The loop that trains any objective: read ``step`` and ``fit``, the rest serves them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn

from ganvae_core.builtin.sources.arrays import as_source
from ganvae_core.data.memory import keep_freed_memory
from ganvae_core.data.randomness import borrowed_randomness, mixed_seed, purpose
from ganvae_core.data.split import Split, split
from ganvae_core.data.stream import DataStream
from ganvae_core.engine.callbacks import Callbacks
from ganvae_core.engine.devices import Precision, peak_memory, runtime, select_device, select_precision
from ganvae_core.engine.ema import EMA
from ganvae_core.engine.measuring import Measurements
from ganvae_core.engine.optimizers import OptimizerSettings, make_optimizers
from ganvae_core.engine.phases import check_needs, is_frozen, prepare_phases
from ganvae_core.engine.precision import Computing
from ganvae_core.engine.processes import world
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.engine.sharing import broadcast_state, sharing_notes, synchronises
from ganvae_core.engine.state import Results, TrainingState
from ganvae_core.engine.stopping import StopFlag
from ganvae_core.engine.updates import Updates
from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_core.evaluation.sampling import RowLimit, in_parts
from ganvae_core.model import Model, has_batch_norm
from ganvae_core.store.checkpoints import Checkpoint, Snapshot
from ganvae_core.store.writer import CheckpointWriter
from ganvae_core.training import Callback, Metric, Objective, TrainingView
from ganvae_core.types import Batch

STAGE = purpose("random numbers of a further stage")
AFTER = purpose("random numbers after an update")
CODES = purpose("codes of a batch")

T = TypeVar("T")
Before = Callable[[torch.Generator], Mapping[str, float]]


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
        metrics: measured on held-out rows at intervals, with each checkpoint, and at the end.
        callbacks: watch the run; they are called at intervals, never inside a step.
        saver: writes checkpoints, as ``gv.CheckpointWriter("runs/mine")`` does; None keeps everything in memory.
        stage: number of the stage of a run that this engine trains, from 0. In later stages, the parts of the model
            that no phase trains are frozen.
        first_step: steps of the stages before.

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
        saver: CheckpointWriter | None = None,
        stage: int = 0,
        first_step: int = 0,
    ) -> None:
        self.data = data if isinstance(data, Split) else split(as_source(data))
        self.settings = (settings or EngineSettings()).for_rows(len(self.data.training))
        self.world = world()
        self.device = self.world.own_device(select_device(self.settings.device))
        if self.device.type == "cpu":
            keep_freed_memory()
        self.precision: Precision = select_precision(self.settings, self.device)
        self.objective = objective.to(self.device)
        self.metrics = list(metrics)
        self.batch_size = min(self.settings.batch_size, len(self.data.training))
        self.target_steps = self.settings.steps
        synchronised = synchronises(self.world, self.device)
        fewest = self.batch_size if synchronised else self.batch_size // self.world.size
        if fewest == 1 and has_batch_norm(objective):
            raise ConfigurationError(
                f"{'a batch of one row' if self.batch_size == 1 else 'one row a process'} cannot be normalised: these"
                " networks have batch norm.",
                "take a larger engine.batch_size, more data, or networks without it (generator.batch_norm=false)",
            )

        check_needs(objective, fitted_before=stage > 0)
        if synchronised:
            nn.SyncBatchNorm.convert_sync_batchnorm(objective)
        if self._channels_last:
            objective.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.phases = prepare_phases(objective, freeze_unclaimed=stage > 0 or objective.batches == "codes")
        self.state = TrainingState(
            objective,
            EMA(objective.model, self.settings.ema_half_life_samples),
            make_optimizers(self.phases, optimizers or {}, self.settings.steps * self.batch_size),
            self.batch_size,
            stage,
            first_step,
            micro_batch_size=self.settings.micro_batch_size,
            reports=self.world.first,
        )
        # Later stages draw other numbers and another order of the data.
        seed = mixed_seed(self.settings.seed, STAGE, stage) if stage else self.settings.seed
        self._seed = seed
        self._computing = Computing(objective, self.phases, self.settings, self.device, self.precision)
        self.stop_flag = StopFlag(self.world, self.device)
        self._updates = Updates(
            self.state, self.phases, self.world, seed, self._computing, self.stop_flag,
            release_data=lambda: self._stream.release(),
        )  # fmt: skip
        sharers = self.world.local_size if self.device.type == "cpu" else 1
        self._stream = DataStream(
            self.data, self.batch_size, seed, self.device,
            rows=self._updates.rows, sharers=sharers, channels_last=self._channels_last,
        )  # fmt: skip
        self._callbacks = Callbacks(callbacks, self.view)
        self.saver = saver
        self.interrupted = False
        """Whether the last ``fit`` was interrupted, which may be in its last step."""
        self._measurements = Measurements(self.state, self.data, self.metrics, self.settings, self.device)
        self._best: Snapshot | None = (
            None  # of the best measurement, until it is written with the next checkpoint
        )
        self._encoded_rows = RowLimit()
        self._clock = (time.perf_counter(), 0)

    @property
    def model(self) -> Model:
        """The averaged model, in evaluation mode: what to sample, encode and keep."""
        return self.state.ema.model

    @property
    def step_index(self) -> int:
        """Steps done, of all stages."""
        return self.state.run_step

    @property
    def samples_seen(self) -> int:
        """Rows of data that this stage has used: the position in the data."""
        return self.state.samples_seen

    @property
    def results(self) -> Mapping[str, float]:
        """The newest held-out results, by name."""
        return self.state.results.values

    @property
    def callbacks(self) -> list[Callback]:
        """The callbacks, to which more may be added before training starts."""
        return self._callbacks.callbacks

    @property
    def saved_step(self) -> int | None:
        """The step of the newest checkpoint that is on disk."""
        return None if self.saver is None else self.saver.saved_step

    @property
    def rows_at_once(self) -> int:
        """Rows of a micro-batch, where a phase's rows can be split."""
        return self._updates.rows_at_once

    def view(self) -> TrainingView:
        """What callbacks see of training now."""
        state, first = self.state, self.state.first_step
        return TrainingView(
            step=state.run_step,
            stage=state.stage,
            samples_seen=state.samples_seen,
            target_steps=first + self.target_steps,
            model=self.model,
            objective=self.objective,
            phases=[prepared.phase for prepared in self.phases],
            data=self.data,
            settings=self.settings,
            optimizer_settings={name: each.settings for name, each in state.optimizers.items()},
            metrics=self.metrics,
            device=self.device,
            directory=self._directory,
            results=state.results.values,
            results_step=state.results.step,
            saved_step=self.saved_step,
            ending=state.step >= self.target_steps or self.stop_flag.requested,
            warn=state.warn,
            stop=self.stop,
            interrupt=self.interrupt,
            log=state.pending.update,
        )

    def attach(
        self,
        saver: CheckpointWriter | None,
        callbacks: Sequence[Callback],
        states: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Take what belongs to a run, before training starts.

        Args:
            saver: writes the checkpoints.
            callbacks: further ones.
            states: of callbacks, that a checkpoint held and no callback has taken yet.
        """
        self.saver = saver
        self.callbacks.extend(callbacks)
        self.state.callback_states.extend(states)

    def fit(self, steps: int | None = None, *, before: Before | None = None) -> Engine:
        """Train until ``steps`` steps have been done in all (default: the settings'), and return the engine.

        A prior that is fitted in closed form is not fitted here: ``ganvae_core.runs.stages`` does it.

        Args:
            steps: in all, those done before included.
            before: work of rank 0 before the first of these steps, given the generator of the device's random numbers;
                the numbers that it returns are passed to the callbacks.

        Raises:
            RunError: another process writes checkpoints to the same place.
            TrainingError: a loss or gradient was not finite, memory ran out, or a checkpoint could not be written.
        """
        with self._holding():
            return self._fit(self.settings.steps if steps is None else steps, before)

    def _fit(self, steps: int, before: Before | None) -> Engine:
        if steps < 0:
            raise ConfigurationError(f"fit: {steps} steps are not possible: it must not be negative.")
        self.target_steps, self.state.ended = steps, False
        for optimizer in self.state.optimizers.values():
            optimizer.total_samples = steps * self.batch_size
        self._updates.found_inf.zero_()
        self.stop_flag.clear()
        self.objective.train()
        for part in self.objective.model.children():
            if is_frozen(part):
                part.eval()
        self._clock = (time.perf_counter(), self.state.step)
        with borrowed_randomness(self.device) as generator, self._computing.training():
            try:
                numbers = {} if before is None else self.world.from_first(lambda: before(generator))
                broadcast_state(self.state, self.world, self.device, self.target_steps)
                self._on_first(lambda: self._callbacks.restore(self.state.callback_states))
                self._call("on_start")
                if numbers:
                    now = time.perf_counter()
                    cost = {"seconds": now - self._clock[0], **peak_memory(self.device)}
                    self._clock = (now, self.state.step)
                    self._call("on_step", self.state.record({**numbers, **cost}))
                while self.state.step < steps and not self.stop_flag.stops:
                    self.step(generator)
                    self._at_intervals(last=self.state.step == steps)
                self._finish(ended=self.state.step >= steps or not self.stop_flag.incomplete)
            except BaseException as error:
                self._end_writing(error)
                if self.world.first:
                    with suppress(GanvaeError):  # the first error is the one to show
                        self._callbacks.call_warnings(self.state)
                    self._callbacks.call("on_error", error)
                raise
            finally:
                self._end_writing()
                self.stop_flag.requested = self.stop_flag.interrupted = False
                self._stream.close()
        return self

    def step(self, generator: torch.Generator) -> None:
        """One global batch through every phase that is due, then the average of the weights."""
        state, found_inf = self.state, self._updates.found_inf
        batch = self._batch(generator)
        for prepared in self.phases:
            if (state.step + 1) % prepared.phase.every:  # + 1: what runs at every step leads
                continue
            with prepared.only_training():
                loss, norm = self._updates.make(prepared, batch, generator)
                prepared.moving.put_back_where(found_inf)
                state.log.add(state.run_step, prepared.phase.name, loss, norm)
            # Not before other modules' buffers are back: it may change them, and that is to stay.
            if prepared.phase.after is not None:
                # Every rank draws the same numbers in it, whatever its own rows have drawn.
                generator.manual_seed(mixed_seed(self._seed, AFTER, state.step, prepared.index))
                self._updates.after(prepared, loss)

        state.step += 1
        state.ema.update(state.samples_seen, self.batch_size)

    def stop(self, because: str) -> None:
        """End training after the current step as if it were complete.

        Args:
            because: the end of a sentence that begins with "stopped early:".
        """
        self.stop_flag.request(because)

    def interrupt(self) -> None:
        """End training after the current step and save it, to be resumed later."""
        self.stop_flag.request(interrupted=True)

    def save(self) -> None:
        """Measure, and write a checkpoint where the engine has a saver; it is on disk afterwards."""
        with self._holding():
            self._save(measured=True)
            self._finish_saving()

    def restore(self, checkpoint: Checkpoint, *, prior: bool = True) -> None:
        """Go on from a checkpoint of a run with the same configuration.

        Args:
            checkpoint: to go on from.
            prior: whether the prior is restored, too.

        Raises:
            RunError: its tensors do not fit.
        """
        self.state.restore(checkpoint, prior=prior)
        self.state.micro_batch_size = self.state.micro_batch_size or self.settings.micro_batch_size
        # With fewer processes than before, random numbers stay those of the smaller parts.
        rows = checkpoint.manifest.get("runtime", {}).get("rows_at_once", self.batch_size)
        if rows < self.rows_at_once:
            self.state.micro_batch_size = rows

    def notes(self) -> list[str]:
        """Sentences for the person who trains, on what several processes do otherwise than one."""
        return sharing_notes(self.world, self.device, self.phases, has_batch_norm(self.objective))

    def runtime(self) -> dict[str, Any]:
        """What rounding and random numbers depend on, beside configuration and data."""
        return {
            **runtime(self.device, self.precision),
            "compiled": bool(self._computing.compiled),
            "deterministic": self.settings.deterministic,
            "processes": self.world.size,
            "rows_at_once": self.rows_at_once,
        }

    def report(self, *, measured: bool = False) -> dict[str, Any]:
        """Read the log, hand its averages to the callbacks, and stop where something was not finite.

        Args:
            measured: measure held-out rows, too.

        Raises:
            TrainingError: a loss or gradient was not finite, and the weights are those from before it.
        """
        state = self.state
        state.log.check_finite()
        reading = state.log.read()
        if self.world.size > 1:
            self.stop_flag.read()
        if measured:
            self._share_results(self._on_first(self._measure))
        now, done = time.perf_counter(), state.step
        seconds, steps = now - self._clock[0], done - self._clock[1]
        self._clock = (now, done)
        speed = steps * self.batch_size / seconds if seconds else 0.0
        cost = {"samples_per_second": speed, "seconds": reading.seconds + seconds, **peak_memory(self.device)}
        record = state.record({**reading.averages, **state.take_pending(), **cost})
        self._call("on_step", record)
        return record

    def _batch(self, generator: torch.Generator) -> Batch:
        """This rank's rows of the next batch; for a stage on codes, a draw from each row's posterior."""
        batch = self._stream.batch_at(self.state.samples_seen)
        if self.objective.batches == "codes":
            generator.manual_seed(mixed_seed(self._seed, CODES, self.state.step))

            def encoded(rows: slice) -> Tensor:
                condition = None if batch.condition is None else batch.condition[rows]
                return self.model.encode(batch.x[rows], condition).rsample()

            with torch.no_grad():
                parts = list(in_parts(encoded, len(batch.x), self._encoded_rows))
            return dataclasses.replace(batch, x=torch.cat(parts), mask=None)
        return batch

    def _at_intervals(self, last: bool) -> None:
        settings, step = self.settings, self.state.run_step
        saved = step % settings.checkpoint_every == 0
        measured = self._measurements.due(saved=saved)
        if last or measured or step % settings.log_every == 0:
            self._finish_saving()  # at a fixed step: what callbacks do then must not depend on how fast a disk is
            self.report(measured=measured)
        if last:
            return
        if measured and not saved and self.saver is not None:
            self._on_first(self._keep_best)
        if settings.samples_every and step % settings.samples_every == 0:
            self._call("on_samples")
        if saved:
            self._report_unread()
            self._save(measured=False)

    def _report_unread(self) -> None:
        if self.state.log.pending:
            self.report()

    def _finish(self, *, ended: bool) -> None:
        """Save. A stage that is complete is also measured, and gets its last pictures.

        After an interrupt between two records the averages and the time since the last one go into the checkpoint, so
        that a resumed run logs what an uninterrupted one does.
        """
        if ended:
            self._report_unread()
        else:
            self.state.log.seconds += time.perf_counter() - self._clock[0]
        self.state.log.check_finite()
        self.state.ended, self.interrupted = ended, self.stop_flag.incomplete
        complete = self.state.complete
        self._save(measured=complete, last=complete)
        self._finish_saving()
        self._on_first(lambda: self._callbacks.call_warnings(self.state))
        self._call("on_end")

    def _share_results(self, values: Mapping[str, float]) -> None:
        """Take over what rank 0 has measured."""
        self.state.results = dataclasses.replace(self.state.results, values=values)

    def _measure(self, *, last: bool = False) -> Mapping[str, float]:
        """Measure held-out rows: a few hundred by the cheap metrics, or at the end all that the metrics ask for."""
        if last:
            values = self._measurements.take_last(self._directory)
        else:
            values = self._measurements.take(self._directory, more_steps=self.state.step < self.target_steps)
        if values:
            self._callbacks.call("on_results", values)
        return values

    def _keep_best(self) -> None:
        """Copy the state if it has just been measured as the best so far; it is written with the next checkpoint."""
        if self._measurements.is_best:
            self._best = self.state.capture(self._callbacks.states(), self.runtime()).copied()

    def _save(self, measured: bool, last: bool = False) -> None:
        """Begin to write a checkpoint of now; ``_finish_saving`` waits for it.

        Args:
            measured: whether held-out results go with it.
            last: draw the last pictures before it is written, and after its state is copied: a run that is killed
                while it draws repeats its end.
        """
        self._share_results(self._on_first(lambda: self._begin_writing(measured, last)))

    def _begin_writing(self, measured: bool, last: bool) -> Mapping[str, float]:
        state = self.state
        self._finish_writing()
        if measured:
            self._measure(last=last)
        elif state.results.step != state.run_step:
            state.results = Results()
        snapshot = None
        if self.saver is not None:
            snapshot = state.capture(self._callbacks.states(), self.runtime()).copied()
        try:
            if last:
                self._callbacks.call("on_samples")
        finally:
            if self.saver is not None and snapshot is not None:
                best, self._best = self._best, None
                self.saver.begin(*([] if best is None else [best]), snapshot)
        return state.results.values

    def _finish_saving(self) -> None:
        """Wait until the checkpoint that is being written, if any, is on disk, and call the callbacks.

        Raises:
            TrainingError: it could not be written; those before it are whole.
        """
        if self.saver is not None:
            self._on_first(self._finish_writing)

    def _finish_writing(self) -> None:
        if self.saver is not None and self.saver.finish():
            self._callbacks.call("on_checkpoint")

    def _end_writing(self, error: BaseException | None = None) -> None:
        """Wait for the writer; where it failed, say so with the error that ended training."""
        failure = None if self.saver is None else self.saver.close()
        if error is not None and failure is not None and failure is not error:
            error.add_note(str(failure))
            if isinstance(error, GanvaeError):
                error.hints += (str(failure),)

    def _holding(self) -> AbstractContextManager[None]:
        """A context in which no other process writes checkpoints to the same place."""
        return nullcontext() if self.saver is None else self.world.entered_by_first(self.saver.held)

    def _call(self, hook: str, *arguments: Any) -> None:
        """Call rank 0's callbacks, while the others wait."""
        self._on_first(lambda: self._callbacks.call(hook, *arguments))

    def _on_first(self, work: Callable[[], T]) -> T:
        """The result of work that rank 0 does alone; if a callback asks for a stop meanwhile, all ranks stop."""
        if self.world.size == 1:
            return work()

        def work_and_request() -> tuple[T, bool, bool]:
            return work(), self.stop_flag.requested, self.stop_flag.interrupted

        found, requested, interrupted = self.world.from_first(work_and_request)
        self.stop_flag.adopt(requested, interrupted)
        return found

    @property
    def _directory(self) -> Path | None:
        return None if self.saver is None else self.saver.directory

    @property
    def _channels_last(self) -> bool:
        wanted = self.settings.channels_last
        return self.precision == "bf16" if wanted is None else wanted
