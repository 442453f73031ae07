"""Checks of objectives: what a loss returns, what it leaves alone, and what its phases train."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganvae_core.engine.log import GRADIENT_NORM, LOSS
from ganvae_core.engine.phases import WORDS, PreparedPhase, check_loss, check_words
from ganvae_core.errors import GanvaeError
from ganvae_core.types import Batch, Loss
from ganvae_kit.calls import double_gradients, engine_work, unplaced
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.models import Play, evaluated, gradients, loss_of
from ganvae_kit.modules import follows_seed, place_of_parameter
from ganvae_kit.places import Place, place_in_traceback, place_of, place_of_assignment
from ganvae_kit.state import changed, remembered, same, statistics
from ganvae_kit.subjects import Component
from ganvae_kit.tracing import line_not_finite, line_of_return, line_that

ROWS = 8
NEEDS_HINT = "what a loss uses of the model stands in `needs`: prior, encoder, posterior, likelihood"


@check("objective", needs=["target"])
def needs_and_accepts(component: Component) -> None:
    """``needs`` and ``accepts`` are sets of valid values: a misspelt one would have no effect."""
    made = component.target
    for attribute in WORDS:
        try:
            check_words(made, attribute, component.label)
        except GanvaeError as error:
            place = place_of_assignment(made, attribute) or place_of(made)
            raise CheckFailure(error.message, place, *error.hints) from None


@check("objective", needs=["makes"])
def losses(component: Component) -> None:
    """Each phase's loss is a finite scalar that depends on what the phase trains, with named scalar terms.

    It is made around the smallest model that its ``needs`` allow, so they name everything that it uses.
    """
    for play, prepared in plays(component):
        where, batch = play.where(prepared), play.batch(ROWS)
        try:
            loss = evaluated(prepared, batch)
        except Exception as error:
            hint = NEEDS_HINT if isinstance(error, GanvaeError) else ""
            message = error.message if isinstance(error, GanvaeError) else f"{type(error).__name__}: {error}"
            place = place_in_traceback(error, component.owns) or place_of(loss_of(prepared))
            raise CheckFailure(f"{where}{message}", place, hint) from error
        try:
            check_loss(prepared.phase, loss)
        except GanvaeError as error:
            raise CheckFailure(
                f"{play.situation.where}{error.message}", _returned(play, prepared), *error.hints
            ) from None
        names: list[Any] = list(loss.terms)  # of whatever type
        for name in names:
            if not isinstance(name, str) or not name or "/" in name or name in (LOSS, GRADIENT_NORM):
                raise CheckFailure(f"{where}a term is called {name!r}", _returned(play, prepared),
                                   f"terms are words without /, and neither {LOSS} nor {GRADIENT_NORM}")  # fmt: skip
        if not loss.value.isfinite():
            line = line_not_finite(lambda: evaluated(prepared, batch), component.owns)  # noqa: B023
            raise CheckFailure(
                f"{where}the loss is {float(loss.value.detach())}", line or place_of(loss_of(prepared))
            )


@check("objective", needs=["losses"])
def work_of_the_engine(component: Component) -> None:
    """A loss calls neither ``backward`` nor an optimizer's ``step``, and reads no tensor by ``item`` or ``if``."""
    for play, prepared in plays(component):
        with engine_work(component.owns) as calls:
            evaluated(prepared, play.batch(ROWS))
        if calls:
            raise CheckFailure(
                f"{play.where(prepared)}it calls {calls[0].name}", calls[0].place, calls[0].why
            )
        left = [name for name, parameter in play.objective.named_parameters() if parameter.grad is not None]
        if left:
            line = line_that(
                lambda: evaluated(prepared, play.batch(ROWS)), component.owns, _gradient_in(play)  # noqa: B023
            )  # fmt: skip
            raise CheckFailure(f"{play.where(prepared)}it leaves a gradient in {left[0]}", line,
                               "the engine calls backward, on what the loss returns")  # fmt: skip


def _gradient_in(play: Play) -> Callable[[object], bool]:
    play.objective.zero_grad()
    return lambda frame: any(parameter.grad is not None for parameter in play.objective.parameters())


@check("objective", needs=["losses"])
def second_order(component: Component) -> None:
    """A phase whose loss differentiates a gradient says ``second_order``, so that it runs in full precision."""
    for play, prepared in plays(component):
        if prepared.phase.second_order:
            continue
        with double_gradients(component.owns) as found:
            evaluated(prepared, play.batch(ROWS))
        if found:
            raise CheckFailure(
                f"{play.where(prepared)}it differentiates a gradient, and does not say so",
                found[0].place or place_of(loss_of(prepared)),
                "Phase(…, second_order=True)",
            )


@check("objective", needs=["losses", "work-of-the-engine"])
def loss_keeps_state(component: Component) -> None:
    """A loss changes no state: no parameter, buffer, attribute or row of the batch; only batch norm and its like may.

    The engine may evaluate it once for each micro-batch, and again after it ran out of memory.
    """
    for play, prepared in plays(component):
        batch, allowed = play.batch(ROWS), statistics(play.objective)
        evaluated(prepared, batch)  # what is cached is there from now on
        play.objective.train()
        # Within a phase other parameters are frozen, so the comparison is made within it.
        with prepared.only_training():
            before = _state(play, batch)
            prepared.phase.loss(batch)
            moved = [name for name in changed(before, _state(play, batch)) if name not in allowed]
        if moved:
            raise CheckFailure(
                f"{play.where(prepared)}evaluating the loss changes {moved[0]}",
                _line_of_change(play, prepared, batch) or place_of(loss_of(prepared)),
                "what must change is changed by Phase(after=…), once an update; schedules follow batch.samples_seen",
            )


def _line_of_change(play: Play, prepared: PreparedPhase, batch: Batch) -> Place | None:
    allowed = statistics(play.objective)
    play.objective.train()
    with prepared.only_training():
        before = _state(play, batch)
        return line_that(
            lambda: prepared.phase.loss(batch),
            play.situation.component.owns,
            lambda frame: bool(set(changed(before, _state(play, batch))) - allowed),
        )


def _state(play: Play, batch: Batch) -> dict[str, Any]:
    """All that a loss could change."""
    flags = {f"requires_grad of {name}": p.requires_grad for name, p in play.objective.named_parameters()}
    modes = {f"the mode of {name}": part.training for name, part in play.objective.named_modules()}
    condition = None if batch.condition is None else batch.condition.clone()
    return {
        **remembered(play.objective),
        **flags,
        **modes,
        "the batch's x": batch.x.clone(),
        "the batch's condition": condition,
    }


@check("objective", needs=["loss-keeps-state"])
def loss_same_seed(component: Component) -> None:
    """All randomness of a loss is torch's default generator: one seed, one loss, and no other generator asked."""
    for play, prepared in plays(component):
        batch = play.batch(ROWS)
        follows_seed(play.situation, play.objective, lambda: evaluated(prepared, batch))  # noqa: B023
        first, second = evaluated(prepared, batch), evaluated(prepared, batch)
        if not same(first.value.detach(), second.value.detach()):
            raise CheckFailure(
                f"{play.where(prepared)}the loss is {first.value.item()} and then {second.value.item()}, with one seed",
                place_of(loss_of(prepared)),
                "state that changes from call to call, or a source of randomness that the engine does not seed",
            )


@check("objective", needs=["losses", "work-of-the-engine", "loss-keeps-state"])
def trains_what_it_says(component: Component) -> None:
    """An update of a phase changes the parameters of its ``trains`` and no other, and leaves no gradient elsewhere."""
    for play, prepared in plays(component):
        others = _others(play, prepared)
        with prepared.only_training():
            prepared.phase.loss(play.batch(ROWS)).value.backward()
            torch.optim.SGD(prepared.parameters, lr=1e-2).step()
            found = others()
        if found:
            message = f"{play.where(prepared)}an update {found[0]}, which is not in its `trains`"
            raise CheckFailure(message, _line_of_leak(play, prepared) or place_of(loss_of(prepared)))


def _others(play: Play, prepared: PreparedPhase) -> Callable[[], list[str]]:
    """A function that says what was done since to the parameters that a phase does not train."""
    own = {id(parameter) for parameter in prepared.parameters}
    others = {name: p for name, p in play.objective.named_parameters() if id(p) not in own}
    before = {name: parameter.detach().clone() for name, parameter in others.items()}

    def done() -> list[str]:
        left = [f"leaves a gradient in {name}" for name, p in others.items() if p.grad is not None]
        return left + [f"changes {name}" for name, p in others.items() if not same(before[name], p.detach())]

    return done


def _line_of_leak(play: Play, prepared: PreparedPhase) -> Place | None:
    """The line that does it, in a fresh objective."""
    play = Play.of(play.situation)
    again = play.phases[prepared.index]
    others = _others(play, again)
    with again.only_training():
        return line_that(
            lambda: again.phase.loss(play.batch(ROWS)).value.backward(),
            play.situation.component.owns,
            lambda frame: bool(others()),
        )


@check("objective", needs=["losses", "work-of-the-engine"])
def every_parameter_learns(component: Component) -> None:
    """Every trainable parameter of the objective gets a finite gradient from at least one of its phases."""
    for situation in component.situations:
        play = Play.of(situation)
        reached: set[int] = set()
        for prepared in play.phases:
            with prepared.only_training():
                found = gradients(prepared.phase.loss(play.batch(ROWS)), prepared)
            for parameter, gradient in zip(prepared.parameters, found, strict=True):
                if gradient is None:
                    continue
                reached.add(id(parameter))
                if not gradient.isfinite().all():
                    name = name_of(play, parameter)
                    raise CheckFailure(f"{play.where(prepared)}the gradient of {name} is not finite",
                                       place_of(loss_of(prepared)))  # fmt: skip
        trained = [parameter for prepared in play.phases for parameter in prepared.parameters]
        if "prior" not in play.objective.needs:  # its prior is trained in a further stage
            reached |= {id(parameter) for parameter in play.objective.model.prior.parameters()}
        for parameter in trained:
            if id(parameter) not in reached:
                name = name_of(play, parameter)
                raise CheckFailure(
                    f"{situation.where}no phase's loss depends on {name}, which is trained",
                    _place_of_unused(play, name),
                    "remove it, use it in a loss, or leave it out of `trains` and freeze it",
                )


def _place_of_unused(play: Play, name: str) -> Place | None:
    if name.startswith("model."):
        return place_of(type(play.objective).phases)
    return place_of_parameter(play.objective, name, play.situation.component.owns)


@check("objective", needs=["losses"])
def loss_device(component: Component) -> None:
    """A loss makes its tensors on the device of the batch."""
    for play, prepared in plays(component):
        with unplaced(component.owns) as found:
            evaluated(prepared, play.batch(ROWS))
        if found:
            message = f"{play.where(prepared)}{found[0].name} makes a tensor on the default device"
            raise CheckFailure(
                message, found[0].place, "say where:  device=batch.x.device, or batch.x.new_zeros(…)"
            )


@check("objective", needs=["losses", "loss-same-seed"])
def closed_forms(component: Component) -> None:
    """In the cases that its author gives, a loss and its terms have the values that the author worked out.

    A case is a function ``(objective, batch) -> {"phase/term": value}``, which may set weights; ``phase/loss`` is the
    loss itself.
    """
    if not component.closed_forms:
        raise NotChecked("its author gives no closed form (closed_forms= of PluginSuite)")
    for case in component.closed_forms:
        play = Play.of(component.situations[0])
        batch = play.batch(ROWS)
        expected = dict(case(play.objective, batch))
        found: dict[str, Tensor] = {}
        for prepared in play.phases:
            loss: Loss = evaluated(prepared, batch)
            found |= {
                f"{prepared.phase.name}/{key}": value.detach()
                for key, value in {LOSS: loss.value, **loss.terms}.items()
            }
        for key, value in expected.items():
            if key not in found:
                raise CheckFailure(f"{component.label}, {_called(case)}: there is no term '{key}'", place_of(case),
                                   f"there are: {', '.join(found)}")  # fmt: skip
            if not math.isclose(float(found[key]), float(value), rel_tol=1e-4, abs_tol=1e-5):
                prepared = next(p for p in play.phases if p.phase.name == key.partition("/")[0])
                raise CheckFailure(
                    f"{component.label}, {_called(case)}: {key} is {float(found[key]):.6g}, not {float(value):.6g}",
                    place_of(loss_of(prepared)),
                    f"the case is at {place_of(case)}",
                )


@check("generator", "encoder", "critic", "observation", "prior", needs=["shapes"])
def worked_out(component: Component) -> None:
    """In the cases that its author gives, it computes what the author worked out.

    A case is a function ``component -> (tensor, expected tensor)``.
    """
    if not component.closed_forms:
        raise NotChecked("its author gives no closed form (closed_forms= of PluginSuite)")
    for case in component.closed_forms:
        found, expected = case(component.situations[0].make())
        expected = torch.as_tensor(expected, dtype=found.dtype)
        if not torch.allclose(found, expected, rtol=1e-4, atol=1e-5):
            worst = float((found - expected).abs().max())
            raise CheckFailure(f"{component.label}, {_called(case)}: it is off by {worst:.3g}",
                               place_of(component.target), f"the case is at {place_of(case)}")  # fmt: skip


def plays(component: Component) -> list[tuple[Play, PreparedPhase]]:
    """Each phase of a fresh objective, in each situation."""
    found: list[tuple[Play, PreparedPhase]] = []
    for situation in component.situations:
        number = len(Play.of(situation).phases)
        for index in range(number):
            play = Play.of(situation)
            found.append((play, play.phases[index]))
    return found


def name_of(play: Play, parameter: nn.Parameter) -> str:
    """A parameter's name in its objective."""
    return next(name for name, other in play.objective.named_parameters() if other is parameter)


def _called(case: Callable[..., Any]) -> str:
    return str(getattr(case, "__name__", case))


def _returned(play: Play, prepared: PreparedPhase) -> Place | None:
    owns, function = play.situation.component.owns, loss_of(prepared)
    line = line_of_return(lambda: evaluated(prepared, play.batch(ROWS)), owns, function)
    return line or place_of(function)


def causes_first(objective: nn.Module, names: Sequence[str]) -> list[str]:
    """The names of what differs, plain attributes before the stored tensors that follow from them."""
    stored = objective.state_dict().keys()
    return sorted(names, key=lambda name: name in stored)


def place_of_attribute(objective: nn.Module, name: str) -> Place | None:
    """The line that assigns an attribute that a remembered value's name begins with."""
    return place_of_assignment(type(objective), name.partition(" ")[0].partition("[")[0])
