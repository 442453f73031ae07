"""The stages of a run, trained one after the other on one model, each by an engine of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from ganvae_core.engine.loop import Engine
from ganvae_core.model import Model
from ganvae_core.store.checkpoints import Checkpoint, load_tensors, tensors_of
from ganvae_core.training import Callback, Objective

if TYPE_CHECKING:
    from torch import nn

    from ganvae_core.config.build import Builder
    from ganvae_core.data.split import Split


@final
class Stages:
    """The stages of a run.

    Args:
        builder: makes the objectives of the stages after the first.
        data: what is trained on.
        engine: of the stage that training begins or goes on with.
        trainable: the parameters that the components of the model leave trainable.
        done: whether that stage is complete already, so that training goes on with the next.

    Attributes:
        engine: of the current stage.
    """

    def __init__(
        self,
        builder: Builder,
        data: Split,
        engine: Engine,
        trainable: set[nn.Parameter],
        *,
        done: bool = False,
    ) -> None:
        self.builder = builder
        self.data = data
        self.engine = engine
        self.done = False
        self._trainable = trainable
        self._interrupted = False

    @property
    def is_last(self) -> bool:
        """Whether no stage follows."""
        return self.engine.state.stage == len(self.builder.configuration.stages)

    @property
    def complete(self) -> bool:
        """Whether all stages have come to their end."""
        return self.is_last and self.engine.complete

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint that was written in the current stage.

        Raises:
            RunError: its tensors do not fit.
        """
        self.engine.restore(checkpoint)
        self.done = checkpoint.complete and not self.is_last

    def fit(self) -> None:
        """Train the current stage and those after it.

        Raises:
            TrainingError: as ``Engine.fit``.
        """
        if not self.done:
            self.engine.fit(steps_of(self.builder, self.engine.state.stage))
        while (self.done or self.engine.complete) and not self.is_last:
            interrupted = self._interrupted or self.engine.interrupted
            if any(
                self.engine.world.exchange(interrupted)
            ):  # one rank may know of a signal before the others
                return
            self.engine, self.done = self._next(), False
            self.engine.fit(steps_of(self.builder, self.engine.state.stage))

    def interrupt(self) -> None:
        """End training after the current step and save it, to be resumed later."""
        self._interrupted = True
        self.engine.interrupt()

    def _next(self) -> Engine:
        """The engine of the next stage, which begins with the averaged model of this one."""
        before = self.engine
        model, stage = before.objective.model, before.state.stage + 1
        load_tensors(model, tensors_of(before.model), "the averaged model")
        engine = stage_engine(
            self.builder,
            self.data,
            self.builder.stage_objective(stage - 1, model, self.data.spec),
            self._trainable,
            stage=stage,
            first_step=before.step_index,
            callbacks=before.callbacks,
        )
        # States that no callback has taken yet: those of a stage that was complete when training went on.
        engine.state.callback_states = before.state.callback_states
        engine.state.pending = before.state.pending
        if before.directory is not None:
            engine.keep_in(before.directory)
        return engine


def steps_of(builder: Builder, stage: int) -> int:
    """Steps of a stage, from 0; one that only fits the prior in closed form has none."""
    configuration = builder.configuration
    return configuration.stages[stage - 1].steps if stage else configuration.engine.steps


def stage_engine(
    builder: Builder,
    data: Split,
    objective: Objective,
    trainable: set[nn.Parameter],
    *,
    stage: int,
    first_step: int,
    callbacks: Sequence[Callback],
) -> Engine:
    """The engine of a stage.

    Args:
        builder: makes its optimizers and metrics.
        data: what is trained on.
        objective: of the stage, around the run's model.
        trainable: the parameters that the components of the model leave trainable.
        stage: its number, from 0.
        first_step: steps of the stages before.
        callbacks: of the run.
    """
    configuration = builder.configuration
    settings = configuration.stages[stage - 1] if stage else None
    train_only(objective.model, trainable, settings.train if settings else configuration.train)
    return Engine(
        objective,
        data,
        dataclasses.replace(configuration.engine, steps=max(1, steps_of(builder, stage))),
        optimizers=builder.optimizers(settings),
        metrics=builder.metrics(objective.model, data.source.spec),
        callbacks=callbacks,
        stage=stage,
        first_step=first_step,
    )


def train_only(model: Model, trainable: set[nn.Parameter], parts: Sequence[str] | None) -> None:
    """Freeze all parts of a model but these.

    Args:
        model: whose parts they are.
        trainable: the parameters that its components leave trainable.
        parts: ``generator``, ``encoder``, ``prior``, ``observation``; None for all.
    """
    for name, part in model.named_children():
        for parameter in part.parameters():
            parameter.requires_grad_(parameter in trainable and (parts is None or name in parts))
