"""Checks of objectives: what a loss returns, what its phases train, rows, and interrupted training."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvae_core.engine.log import GRADIENT_NORM, LOSS
from ganvae_core.engine.phases import WORDS, check_loss, check_words
from ganvae_core.errors import GanvaeError
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.writer import CheckpointWriter
from ganvae_core.types import Batch
from ganvae_kit.calls import double_gradients, engine_work
from ganvae_kit.checks import CheckFailure, check
from ganvae_kit.data import seeded
from ganvae_kit.models import phases_of
from ganvae_kit.random_draws import cut
from ganvae_kit.situations import Situation, engine_of, situations
from ganvae_kit.state import changed, differ, moved_by, remembered
from ganvae_kit.subjects import Component
from ganvae_kit.trials import PhaseTrial, trials, trials_in

ROWS = 14
ROUNDING = 2e-5
"""Tolerance for another order of sums in fp32, relative to the size of what is compared."""
MOST_STEPS = 64
RESUMED = 2
"""Situations in which training is interrupted: usually with a condition and without one."""


@check("objective", needs=["target"])
def needs_and_accepts(component: Component) -> None:
    """``needs`` and ``accepts`` are sets of valid values: a misspelt one would have no effect."""
    for attribute in WORDS:
        check_words(component.target, attribute, component.target.__name__)


@check("objective", needs=["makes"], each=trials)
def losses(trial: PhaseTrial) -> None:
    """Each phase's loss is a finite scalar that depends on what the phase trains, with named scalar terms.

    It is made around the smallest model that its ``needs`` allow, so they name everything that it uses.
    """
    try:
        loss = trial.loss()
    except Exception as error:
        hint = "declare what a loss uses of the model in `needs`: prior, encoder, posterior, likelihood"
        hints = (hint,) if isinstance(error, GanvaeError) else ()
        raise CheckFailure.of(error, *hints) from error
    check_loss(trial.prepared.phase, loss)
    names: list[Any] = list(loss.terms)  # of whatever type
    for name in names:
        if not isinstance(name, str) or not name or "/" in name or name in (LOSS, GRADIENT_NORM):
            hint = f"terms are words without /, and neither {LOSS} nor {GRADIENT_NORM}"
            raise CheckFailure(f"a term is called {name!r}", hint)
    if not loss.value.isfinite():
        raise CheckFailure(f"the loss is {float(loss.value.detach())}")


@check("objective", needs=["losses"], each=trials)
def work_of_the_engine(trial: PhaseTrial) -> None:
    """A loss calls neither ``backward`` nor an optimizer's ``step``, and reads no tensor by ``item`` or ``if``."""
    with engine_work(trial.owns) as calls:
        trial.loss()
    if calls:
        raise CheckFailure(f"it calls {calls[0].name}", calls[0].why, place=calls[0].place)
    left = [name for name, parameter in trial.made.named_parameters() if parameter.grad is not None]
    if left:
        hint = "the engine calls backward, on what the loss returns"
        raise CheckFailure(f"it leaves a gradient in {left[0]}", hint)


@check("objective", needs=["losses"], each=trials)
def second_order(trial: PhaseTrial) -> None:
    """A phase whose loss differentiates a gradient says ``second_order``, so that it runs in full precision."""
    with double_gradients(trial.owns) as found:
        trial.loss()
    if found and not trial.prepared.phase.second_order:
        message = "it differentiates a gradient, and its phase does not set second_order"
        raise CheckFailure(message, "Phase(…, second_order=True)", place=found[0].place)


@check("objective", needs=["losses", "keeps-state", "work-of-the-engine"], each=trials)
def trains_what_it_says(trial: PhaseTrial) -> None:
    """Computing a phase's gradients changes nothing, so that an update changes what is in its `trains` alone."""

    def gradients() -> None:
        with seeded():
            trial.prepared.phase.loss(trial.batch).value.backward()

    if names := moved_by(gradients, trial.state, trial.in_mode):
        raise CheckFailure(f"computing the gradients changes {names[0]}")


@check("objective", needs=["losses", "work-of-the-engine"], each=situations)
def every_parameter_learns(situation: Situation) -> None:
    """Every trainable parameter of the objective gets a finite gradient from at least one of its phases."""
    trial = PhaseTrial(situation)
    objective, reached = trial.made, set[nn.Parameter]()
    names = {parameter: name for name, parameter in objective.named_parameters()}
    if "prior" not in objective.needs:  # its prior is trained in a further stage
        reached |= set(objective.model.prior.parameters())
    for prepared in trial.phases:
        trial.prepared = prepared
        with seeded(), trial.in_mode():
            value = prepared.phase.loss(trial.batch).value
            found: Any = torch.autograd.grad(value, prepared.parameters, allow_unused=True)
        for parameter, gradient in zip(prepared.parameters, found, strict=True):
            if gradient is not None:
                reached.add(parameter)
                if not gradient.isfinite().all():
                    name = prepared.phase.name
                    raise CheckFailure(f"phase '{name}': the gradient of {names[parameter]} is not finite")
    for parameter in (parameter for prepared in trial.phases for parameter in prepared.parameters):
        if parameter not in reached:
            raise CheckFailure(
                f"no phase's loss depends on {names[parameter]}, which is trained",
                "remove it, use it in a loss, or leave it out of `trains` and freeze it",
            )


def _many_rows(component: Component) -> Any:
    return trials_in(component.situations, ROWS)


@check("objective", needs=["same-seed", "every-parameter-learns"], each=_many_rows)
def rows(trial: PhaseTrial) -> None:
    """A loss is an average over rows: two halves of a batch give its value and gradients, unless couples_rows says no.

    Each row gets the same random numbers in its half as in the batch, so that nothing but the cut differs.
    """
    if trial.prepared.couples_rows:
        return
    batch = trial.batch
    parts = [batch, _part(batch, slice(0, ROWS // 2)), _part(batch, slice(ROWS // 2, ROWS))]

    def learned(part: Batch) -> tuple[Tensor, Tensor]:
        loss = trial.loss(part).value
        found: Any = torch.autograd.grad(loss, trial.prepared.parameters, materialize_grads=True)
        return loss.detach(), torch.cat([gradient.flatten() for gradient in found])

    (whole, gradient), *halves = [run() for run in cut(trial.owns, parts, ROWS, learned)]
    total, expected = halves[0][0] + halves[1][0], (halves[0][1] + halves[1][1]) / 2
    off, length = float((gradient - expected).norm()), float(gradient.norm())
    if differ(whole, total / 2, ROUNDING) and abs(float(whole - total / 2)) > 1e-6:
        far = f"they differ by {float((whole - total / 2).abs()):.1g}"
    elif off > 1e-4 * length + 1e-7:
        far = f"their gradients differ by {off / max(length, 1e-7):.1g} of their length"
    else:
        return
    hint = (
        "declare it, so that a batch is never split:  Phase(…, couples_rows=True)  or treat rows one by one"
    )
    if not differ(whole, total, ROUNDING) and abs(float(whole)) > 1e-6:
        hint = "the loss is a sum over rows: average over the batch, whatever its size"
    message = f"rows are tied together: a batch of {ROWS} rows has a loss of {whole.item():.6g}, and its halves one of"
    raise CheckFailure(f"{message} {total.item() / 2:.6g} on average ({far})", hint)


def _part(batch: Batch, rows: slice) -> Batch:
    condition = None if batch.condition is None else batch.condition[rows]
    return replace(batch, x=batch.x[rows], condition=condition, index=batch.index[rows])


def _first_situations(component: Component) -> list[Situation]:
    return component.situations[:RESUMED]


@check("objective", needs=["same-seed"], each=_first_situations)
def resume(situation: Situation) -> None:
    """Training that is broken off and gone on with from a checkpoint ends bit for bit where it would have ended."""
    every = max(prepared.phase.every for prepared in phases_of(situation.make()))
    steps = min(MOST_STEPS, max(4, 2 * every))
    whole = engine_of(situation, steps)
    started = remembered(whole.objective)
    whole.fit()
    with tempfile.TemporaryDirectory() as folder:
        engine_of(situation, steps, saver=CheckpointWriter(folder)).fit(steps // 2)
        resumed = engine_of(
            situation, steps, seed=1
        )  # with other weights: what is restored is all that counts
        resumed.restore(read_checkpoint(next(Path(folder, "checkpoints").iterdir())))
    resumed.fit()
    after, stored = remembered(whole.objective), whole.objective.state_dict().keys()
    differing = changed(after, remembered(resumed.objective))
    # Plain attributes come before the stored tensors that follow from them.
    for name in sorted(differing, key=lambda name: name in stored)[:1]:
        moved = "changed by training and" if name in changed(started, after) else "drawn at the start and"
        raise CheckFailure(
            f"after {steps} steps with a stop between them, {name} differs from an uninterrupted run"
            + ("" if name in stored else f": it is {moved} not stored"),
            "what training changes or draws is a buffer, so that it is stored: self.register_buffer(…)",
        )
