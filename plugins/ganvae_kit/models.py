"""The small model that an objective is tried around: the least that it says it needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ganvae_core.config.build import Builder, conditions_of
from ganvae_core.data.split import Split, split
from ganvae_core.engine.loop import Engine
from ganvae_core.engine.phases import PreparedPhase, prepare_phases
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.errors import GanvaeError
from ganvae_core.training import Objective
from ganvae_core.types import Batch, DataSpec, Loss
from ganvae_kit.checks import CheckFailure
from ganvae_kit.exercise import codes
from ganvae_kit.places import place_in_traceback, place_of
from ganvae_kit.situations import PRIORS, ROWS, RandomRows, Situation, condition_of, seeded, x_of

if TYPE_CHECKING:
    from ganvae_kit.subjects import Settings

SMALL: Settings = {
    "generator": "builtin/mlp", "generator.hidden": [8], "encoder": "builtin/mlp", "encoder.hidden": [8],
    "critic": "builtin/mlp", "critic.hidden": [8],
}  # fmt: skip
WEIGHTS_GROW = 2.0
"""Initial weights give outputs near zero, where rows hardly differ; these are larger."""


def objective_of(situation: Situation, seed: int = 0) -> Objective:
    """The objective around the smallest model that it accepts, with weights that follow from the seed.

    Raises:
        GanvaeError: it accepts none; of several refusals the last, which is that of the model that offers most.
        CheckFailure: the engine can do nothing with its phases.
    """
    refusal: GanvaeError | None = None
    mistake: CheckFailure | None = None
    tried = (
        [situation.model] if situation.model or situation.recipe else models_for(situation.component.target)
    )
    for around in tried:
        builder = Builder(
            situation.configuration({**around, "engine.seed": seed}), situation.component.owner.catalogue
        )
        try:
            objective = builder.objective(situation.data, conditions_of(split_of(situation.data)))
            _prepared(situation, objective)
            situation.model.update(around)  # no other has to be tried the next time
            return objective
        except GanvaeError as error:
            refusal = error
        except CheckFailure as failure:
            mistake = failure
    if mistake is not None:
        raise mistake
    assert refusal is not None
    raise refusal


def _prepared(situation: Situation, objective: Objective) -> None:
    """Prepare the phases. That data is not for an objective it says itself; what the engine refuses is a mistake.

    Raises:
        CheckFailure: the engine can do nothing with its phases.
    """
    try:
        phases_of(objective)
    except (GanvaeError, TypeError) as error:
        if place_in_traceback(error, situation.component.owns) is not None:
            raise
        hints = error.hints if isinstance(error, GanvaeError) else ()
        message = error.message if isinstance(error, GanvaeError) else str(error)
        raise CheckFailure(f"{situation.where}{message}", place_of(type(objective).phases), *hints) from error


def phases_of(objective: Objective) -> list[PreparedPhase]:
    """The phases as the engine prepares them."""
    return prepare_phases(objective, freeze_unclaimed=objective.batches == "codes")


def models_for(objective: Any) -> Iterator[Settings]:
    """Settings of models for an objective, from the one that offers least to the one that offers most.

    The least shows whether ``needs`` and ``accepts`` say all: a likelihood that was not asked for is not there.
    """
    needs, accepts = getattr(objective, "needs", frozenset()), getattr(objective, "accepts", frozenset())
    posteriors = ["normal"] if "posterior" in needs else ["dirac", "normal"]
    observations = ["builtin/auto"] if "likelihood" in needs else ["builtin/point", "builtin/auto"]
    support = next((support for support in PRIORS if support in accepts), "real")
    priors = [PRIORS[support]]
    if "prior" not in needs and needs & {"encoder", "posterior"} and support == "real":
        priors.insert(0, {"prior": "builtin/gaussian-mixture", "prior.components": 2})
    if getattr(objective, "batches", "rows") == "codes" and support == "real":
        priors.append({"prior": "builtin/mixture", "prior.components": 2})
    for prior, observation, posterior in itertools.product(priors, observations, posteriors):
        yield {**SMALL, "encoder.posterior": posterior, "observation": observation, **prior}


def split_of(data: DataSpec, rows: int = ROWS) -> Split:
    """Random rows like the data, none of them held out."""
    source = RandomRows(replace(data, count=rows))
    return split(source, held_out=0.0, conditional=data.condition is not None)


def batch_of(data: DataSpec, rows: int, samples_seen: int = 0) -> Batch:
    """A batch of random rows like the data."""
    import torch

    return Batch(x_of(data, rows), condition_of(data, rows), None, torch.arange(rows), samples_seen)


@dataclass(frozen=True)
class Play:
    """An objective in a situation, and what its losses are evaluated with.

    Args:
        situation: that it was made in.
        objective: in train mode, with weights that tell rows apart.
        phases: as the engine prepares them.
    """

    situation: Situation
    objective: Objective
    phases: list[PreparedPhase]

    @classmethod
    def of(cls, situation: Situation, seed: int = 0) -> Play:
        """A fresh one."""
        objective: Objective = situation.make(seed)
        objective.train()
        enlarge(objective)
        return cls(situation, objective, phases_of(objective))

    def batch(self, rows: int) -> Batch:
        """A batch of its data, or of codes in the support of its prior."""
        batch = batch_of(self.situation.data, rows)
        if self.objective.batches == "rows":
            return batch
        prior = self.objective.model.prior
        return replace(batch, x=codes(self.situation.shape, prior.support, rows))

    def where(self, prepared: PreparedPhase) -> str:
        """The beginning of a failure's message about a phase."""
        return f"{self.situation.label}, phase '{prepared.phase.name}': "


def enlarge(objective: Objective) -> None:
    """Make weights larger, where they are plain parameters of two axes or more."""
    import torch

    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.dim() > 1:
                parameter.mul_(WEIGHTS_GROW)


def evaluated(prepared: PreparedPhase, batch: Batch, seed: int = 0) -> Loss:
    """The loss of a phase, as the engine evaluates it: from a seed, with a gradient for what the phase trains alone.

    Batch norm and its like are as before afterwards, so that one evaluation does not depend on another.
    """
    with seeded(seed), prepared.only_training():
        try:
            return prepared.phase.loss(batch)
        finally:
            prepared.moving.put_back()


def loss_of(prepared: PreparedPhase) -> Callable[..., Any]:
    """The function behind a phase's loss, for messages that name its line."""
    loss: Any = prepared.phase.loss
    return getattr(loss, "func", loss)  # of a functools.partial


def engine_of(situation: Situation, steps: int, seed: int = 0, **changes: Any) -> Engine:
    """An engine with a fresh objective, on the CPU in fp32, which logs each step."""
    settings: dict[str, Any] = {
        "steps": steps, "batch_size": 8, "device": "cpu", "precision": "fp32", "log_every": 1,
        "samples_every": 0, "checkpoint_every": 10_000, "seed": 0,
    }  # fmt: skip
    objective = situation.make(seed)
    extras = {key: changes.pop(key) for key in ("callbacks", "saver") if key in changes}
    return Engine(objective, split_of(situation.data), EngineSettings(**{**settings, **changes}), **extras)


def gradients(loss: Loss, prepared: PreparedPhase) -> list[Tensor | None]:
    """The gradient of a loss for each parameter that its phase trains."""
    import torch

    return list(torch.autograd.grad(loss.value, prepared.parameters, allow_unused=True))
