"""Data, components and engine of a run: everything that is built before the first step. Nothing is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ganvae_core.config.build import Builder, conditions_of
from ganvae_core.config.configuration import Configuration
from ganvae_core.data.specifications import stored_specs
from ganvae_core.data.split import Split
from ganvae_core.engine.devices import subnormals_as_zero
from ganvae_core.engine.loop import Engine
from ganvae_core.errors import DataError, name_of
from ganvae_core.interfaces import Source
from ganvae_core.plugins import Catalogue
from ganvae_core.runs.stages import Stages, check_later_stages, stage_engine
from ganvae_core.runs.weights import load_initial
from ganvae_core.store.checkpoints import Checkpoint
from ganvae_core.store.directory import RunDirectory
from ganvae_core.types import DataSpec

CODES_OF_NOTHING = (
    "this objective trains on the codes of an encoder that is not trained: begin with the weights of a run that has"
    " trained one, --from RUN"
)


@dataclasses.dataclass(frozen=True)
class Preparation:
    """A run that is ready to train, and has written nothing yet."""

    configuration: Configuration
    catalogue: Catalogue
    builder: Builder
    data: Split
    stages: Stages
    warnings: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    """A sentence for each newer checkpoint that was passed over because it is not whole."""

    @property
    def engine(self) -> Engine:
        """The engine of the current stage."""
        return self.stages.engine

    @property
    def prior_to_fit(self) -> str | None:
        """The prior for ``fit-prior``, where this run does not learn one and its samples are noise.

        It is the run's own one where that has parameters.
        """
        if self.builder.learns_prior:
            return None
        if any(True for _ in self.engine.model.prior.parameters()):
            return self.configuration.components["prior"].id.removeprefix("builtin/")
        return "gaussian-mixture" if self.builder.takes_real_codes else "autoregressive"

    @property
    def notes(self) -> list[str]:
        """What the person who started the run should know, a sentence each."""
        wanted, batch = self.configuration.engine.batch_size, self.engine.batch_size
        rows = "is only 1 row" if batch == 1 else f"are only {batch:,} rows"
        small = [f"there {rows} to learn from, so the batch is {batch:,} instead of {wanted:,}"]
        of_codes = self.engine.state.stage == 0 and self.engine.objective.batches == "codes"
        unmeasurable = self.builder.unmeasurable(self.engine.model, self.data.source.spec)
        return [
            *self.warnings,
            *self.configuration.notes,
            *self.engine.notes(),
            *(
                f"the metric '{name}' is not applicable and is left out: this run has no {' and no '.join(lacking)}"
                for name, lacking in unmeasurable.items()
            ),
            *self.data.source.notes,
            *self.builder.notes,
            *([self._of_noise(self.prior_to_fit)] if self.prior_to_fit is not None else []),
            *([CODES_OF_NOTHING] if of_codes and self.configuration.initial is None else []),
            *self.stages.notes,
            *(small if batch < wanted else []),
        ]

    def _of_noise(self, prior: str) -> str:
        objective, own = (self.configuration.components[slot].id for slot in ("objective", "prior"))
        return (
            f"'{objective}' does not train the prior '{own}', so samples will be noise;"
            f" train one on the codes afterwards:  ganvae fit-prior RUN --prior {prior}"
        )


@subnormals_as_zero()  # torch's threads may begin here
def prepare(
    configuration: Configuration,
    catalogue: Catalogue,
    source: Source | None = None,
    *,
    frame: Any = None,
    epochs: int | None = None,
    checkpoint: Checkpoint | None = None,
    trained: DataSpec | None = None,
) -> Preparation:
    """Open the data and build everything; wrong pairings are errors here, and nothing is written.

    Args:
        configuration: what to build.
        catalogue: where components come from.
        source: stands in for the configuration's data.
        frame: a data frame in place of the file that the configuration's source reads.
        epochs: passes over the training rows, instead of the configuration's steps.
        checkpoint: that training will go on from: the engine is that of its stage, and is not restored yet.
        trained: the specification of the data of the run that goes on.

    Raises:
        DataError: the data cannot be used.
        ConfigurationError: components do not go together.
    """
    data = Builder(configuration, catalogue).split(source, frame=frame)
    _refuse_constants(data.spec)
    if configuration.initial is not None and trained is None:
        trained = stored_specs(RunDirectory.open(Path(configuration.initial.path)))[0]
    if trained is not None:  # networks centre data as they did when their weights were learned
        data = dataclasses.replace(data, mean=_same_place(trained, data.source.spec.range))
    if epochs is not None:
        batch = min(configuration.engine.batch_size, len(data.training))
        settings = dataclasses.replace(configuration.engine, steps=-(-epochs * len(data.training) // batch))
        settings = dataclasses.replace(settings, most_epochs=None)
    else:
        settings = configuration.engine.for_rows(len(data.training))
    configuration = dataclasses.replace(configuration, engine=settings)
    builder = Builder(configuration, catalogue)
    objective = builder.objective(data.spec, conditions_of(data))
    model = objective.model
    if builder.fits_prior and len(data.training) < 2:
        raise DataError(
            f"{name_of(model.prior)} is fitted on the codes of two rows or more, and there is one to learn from.",
            "take another prior (prior=normal) or more data",
        )
    trainable = {parameter for parameter in model.parameters() if parameter.requires_grad}
    warnings, stage, first_step = (), 0, 0
    if checkpoint is not None:
        stage, first_step = checkpoint.stage, checkpoint.step - checkpoint.stage_step
    elif configuration.initial is not None:
        warnings = load_initial(model, configuration.initial)
    if stage:
        objective = builder.stage_objective(stage - 1, model, data.spec)
    check_later_stages(builder, data.spec, model, trainable, after=stage)
    engine = stage_engine(builder, data, objective, trainable, stage=stage, first_step=first_step)
    engine.callbacks.extend(builder.callbacks())
    stages = Stages(builder, data, engine, trainable)
    return Preparation(configuration, catalogue, builder, data, stages, warnings)


def _refuse_constants(spec: DataSpec) -> None:
    """Refuse tables of which nothing can be learned, unless a condition is given with them.

    Raises:
        DataError: no column varies.
    """
    if spec.fields and spec.condition is None and not any(field.varies for field in spec.fields):
        rows = " in all rows" if spec.count > 1 else ", since there is one row to learn from"
        raise DataError(
            f"there is nothing to learn: each column has one value{rows}.",
            "give a table with rows that differ:  --data FILE",
            *(f"column '{name}' is left out: {why}" for name, _, why in spec.details.get("left_out", ())[:3]),
        )


def _same_place(trained: DataSpec, bounds: tuple[float, float] | None) -> float | None:
    """The place of the mean within the bounds of the data that weights were learned on, within other bounds."""
    if trained.mean is None or trained.range is None or bounds is None:
        return None
    (low, high), (least, most) = trained.range, bounds
    return least + (trained.mean - low) / (high - low) * (most - least)
