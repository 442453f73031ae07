"""The stages of a run, trained one after the other on one model, each by an engine of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from ganvae_core.data.randomness import mixed_seed, purpose
from ganvae_core.engine.devices import computing_threads
from ganvae_core.engine.loop import Engine
from ganvae_core.engine.optimizers import make_optimizers
from ganvae_core.engine.phases import check_needs, prepare_phases, uses_encoder
from ganvae_core.errors import ConfigurationError, name_of
from ganvae_core.evaluation.sampling import fit_prior
from ganvae_core.model import Model
from ganvae_core.store.checkpoints import Checkpoint, load_tensors, tensors_of
from ganvae_core.training import Objective

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ganvae_core.config.build import Builder
    from ganvae_core.config.configuration import Configuration
    from ganvae_core.data.split import Split
    from ganvae_core.types import DataSpec


FITTING = purpose("fitting of the prior")


@final
class Stages:
    """The stages of a run. A prior that is fitted in closed form is fitted after each of them, a stage without steps.

    Args:
        builder: makes the objectives of the stages after the first.
        data: what is trained on.
        engine: of the stage that training begins or goes on with.
        trainable: the parameters that the components of the model leave trainable.

    Attributes:
        engine: of the current stage.
        threads: of torch while it trains; None for as many as torch takes by itself.
        notes: sentences for the person who trains.
        trains: whether the current stage has steps to do; otherwise training goes on with its fit or the next stage.
    """

    def __init__(self, builder: Builder, data: Split, engine: Engine, trainable: set[nn.Parameter]) -> None:
        self.builder = builder
        self.data = data
        self.engine = engine
        self.trains = True
        self.threads: int | None = None
        self.notes: list[str] = []
        self._trainable = trainable
        self._interrupted = False
        self._fitting = False

    @property
    def is_last(self) -> bool:
        """Whether no stage follows."""
        return self.engine.state.stage == len(self.builder.configuration.stages)

    @property
    def target_steps(self) -> int:
        """Steps of all stages, those done included; a stage that was ended early counts as far as it came."""
        configuration, state = self.builder.configuration, self.engine.state
        further = sum(stage.steps for stage in configuration.stages[state.stage :])
        done_or_due = state.step if state.ended else self.engine.target_steps
        return state.first_step + done_or_due + further

    def where(self) -> str:
        """The step that training is at, of how many, and what of a run in several parts is done."""
        state, stages = self.engine.state, len(self.builder.configuration.stages) + 1
        at = f"step {state.run_step:,} of {self.target_steps:,}"
        if stages > 1:
            at += f", {'after' if state.complete else 'in'} stage {state.stage + 1} of {stages}"
        return f"{at}, before the prior is fitted" if state.ended and state.awaits_fit else at

    @property
    def complete(self) -> bool:
        """Whether all stages have come to their end."""
        return self.is_last and self.engine.state.complete

    def restore(self, checkpoint: Checkpoint, *, longer: bool = False) -> None:
        """Go on from a checkpoint that was written in the current stage.

        Args:
            checkpoint: to go on from.
            longer: whether the stage has more steps than before.

        Raises:
            RunError: its tensors do not fit.
        """
        self.trains = not checkpoint.ended or longer or (checkpoint.complete and self.is_last)
        # A prior that is fitted in closed form has no use before, and its options may change.
        waits = self.engine.state.awaits_fit and not checkpoint.stage
        self.engine.restore(checkpoint, prior=not (waits and (self.trains or not checkpoint.complete)))

    def fit(self) -> None:
        """Train the current stage and those after it.

        Raises:
            KeyboardInterrupt: an interrupt came while the prior was fitted; a checkpoint was written before.
            TrainingError: as ``Engine.fit``.
        """
        with computing_threads(self.threads):
            while self.fit_stage() and not self.is_last:
                self.engine, self.trains = self._next(), True

    def fit_stage(self) -> bool:
        """Train the current stage alone, and return whether another may follow: it is complete, and nothing interrupts.

        Raises:
            KeyboardInterrupt, TrainingError: as ``fit``.
        """
        if self.trains:
            self.engine.fit(steps_in(self.builder.configuration, self.engine.state.stage))
        state = self.engine.state
        if state.ended and state.awaits_fit and not self._stops():
            state.mark_fitted()  # on all ranks; where the fit fails nothing is saved
            self.engine.fit(state.step, before=self._fit_prior)
        return self.engine.state.complete and not self._stops()

    def interrupt(self) -> None:
        """End training after the current step and save it, to be resumed later.

        Raises:
            KeyboardInterrupt: the prior is being fitted, which has no steps.
        """
        self._interrupted = True
        self.engine.interrupt()
        if self._fitting:
            raise KeyboardInterrupt

    def _stops(self) -> bool:
        """Whether any rank was interrupted; the signal may reach one before the others."""
        return any(self.engine.world.exchange(self._interrupted or self.engine.interrupted))

    def _fit_prior(self, generator: torch.Generator) -> dict[str, float]:
        """Fit the averaged model's prior, and return its mean log-likelihood of the codes in nats."""
        engine, self._fitting = self.engine, True
        try:
            if self._interrupted:
                raise KeyboardInterrupt
            generator.manual_seed(mixed_seed(engine.settings.seed, FITTING))
            return {"prior/log_likelihood": fit_prior(engine.model, engine.data, engine.device)}
        finally:
            self._fitting = False

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
        )
        # No callback has taken the states of a stage that was complete when training went on.
        engine.attach(before.saver, before.callbacks, before.state.callback_states)
        return engine


def steps_in(configuration: Configuration, stage: int) -> int:
    """Steps of a stage, by its number from 0; one that only fits the prior in closed form has none."""
    return configuration.stages[stage - 1].steps if stage else configuration.engine.steps


def stage_engine(
    builder: Builder,
    data: Split,
    objective: Objective,
    trainable: set[nn.Parameter],
    *,
    stage: int,
    first_step: int,
) -> Engine:
    """The engine of a stage.

    Args:
        builder: makes its optimizers and metrics.
        data: what is trained on.
        objective: of the stage, around the run's model.
        trainable: the parameters that the components of the model leave trainable.
        stage: its number, from 0.
        first_step: steps of the stages before.
    """
    configuration = builder.configuration
    settings = configuration.stages[stage - 1] if stage else None
    train = settings.train if settings else configuration.train
    check_trained(objective, train)
    train_only(objective.model, trainable, train)
    objective.model.prior_waits = prior_waits(configuration, stage)  # the averaged model is a copy
    return Engine(
        objective,
        data,
        dataclasses.replace(
            configuration.engine, steps=max(1, steps_in(configuration, stage)), most_epochs=None
        ),
        optimizers=builder.optimizers(settings),
        metrics=builder.metrics(objective.model, data.source.spec),
        stage=stage,
        first_step=first_step,
    )


def check_later_stages(
    builder: Builder, spec: DataSpec, model: Model, trainable: set[nn.Parameter], *, after: int
) -> None:
    """Make the objective and the optimizers of each stage after one, so that what is wrong is known before training.

    Raises:
        ConfigurationError: a stage cannot be trained.
    """
    for number, settings in enumerate(builder.configuration.stages[after:], start=after):
        objective = builder.stage_objective(number, model, spec)
        check_trained(objective, settings.train)
        train_only(model, trainable, settings.train)
        check_needs(objective, fitted_before=True)
        make_optimizers(prepare_phases(objective, freeze_unclaimed=True), builder.optimizers(settings), 1)
    train_only(model, trainable, None)


def check_trained(objective: Objective, parts: Sequence[str] | None) -> None:
    """Check that an objective trains one of these parts: its loss uses the encoder or the prior only if it says so.

    Raises:
        ConfigurationError: it trains none of them.
    """
    unused = set[str]() if objective.batches == "codes" or "prior" in objective.needs else {"prior"}
    unused |= set[str]() if uses_encoder(objective) else {"encoder"}
    if parts is not None and not set(parts) - unused:
        raise ConfigurationError(
            f"train=[{', '.join(parts)}]: {name_of(objective)} does not train"
            f" {' and '.join(f'the {part}' for part in parts)}.",
            "leave train out, or name parts that its loss uses",
            "an objective of its own trains a prior on codes:  objective=prior-likelihood  with --from RUN"
            if "prior" in parts
            else "",
        )


def prior_waits(configuration: Configuration, stage: int) -> bool:
    """Whether no stage up to this one, by its number from 0, trains the prior, and a later one does."""
    trains = [train is None or "prior" in train for train in
              (configuration.train, *(each.train for each in configuration.stages))]  # fmt: skip
    return any(trains[stage + 1 :]) and not any(trains[: stage + 1])


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
