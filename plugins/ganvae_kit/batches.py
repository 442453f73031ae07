"""Checks on batches that differ in their rows, their condition or their memory layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ganvae_core.types import Batch
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.exercise import Inputs, outputs
from ganvae_kit.models import evaluated
from ganvae_kit.modules import fresh, perturb, place_of_error, run
from ganvae_kit.objectives import plays
from ganvae_kit.places import Place, place_of
from ganvae_kit.random_draws import Draws, Halves
from ganvae_kit.situations import Situation, seeded
from ganvae_kit.state import same
from ganvae_kit.subjects import Component
from ganvae_kit.tracing import differ

ROWS = 14
ROUNDING = 1e-4
"""Tolerance for another order of sums, relative to the largest value."""
IMAGE_AXES = 4


@check("generator", "encoder", "observation", "prior", needs=["same-seed"])
def rows_apart(component: Component) -> None:
    """In evaluation mode, what it gives for a row depends on that row alone, whatever batch the row is in.

    A critic is left out: it may look at a whole batch (Salimans et al. 2016), in phases that say ``couples_rows``.
    """
    for situation in component.situations:
        made = fresh(situation)
        perturb(made)
        made.eval()
        whole = Inputs.of(situation, made, ROWS)
        halves = [whole.rows(slice(0, ROWS // 2)), whole.rows(slice(ROWS // 2, ROWS))]
        draws: list[Draws] = []
        for inputs in (whole, halves[0]):
            with Draws(component.owns) as mode:
                of_rows(made, inputs)
            draws.append(mode)
        same_draws = Halves(draws[0].draws, draws[1].draws, ROWS)
        with Draws(component.owns, same_draws.of_whole):
            together = of_rows(made, whole)
        apart: list[Mapping[str, tuple[Tensor, Place | None]]] = []
        for which, inputs in enumerate(halves):
            with Draws(component.owns, same_draws.of_half(which)):
                apart.append(of_rows(made, inputs))
        for name, (value, place) in together.items():
            first, second = apart[0][name][0], apart[1][name][0]
            axis = next((n for n, size in enumerate(value.shape) if size != first.shape[n]), 0)
            if differ(value, torch.cat([first, second], axis), ROUNDING):
                raise CheckFailure(
                    f"{situation.where}{name} of a row depends on the other rows of its batch",
                    place,
                    "axis 0 holds rows: sums, softmax and statistics are along the other axes",
                )


def of_rows(made: nn.Module, inputs: Inputs) -> Mapping[str, tuple[Tensor, Place | None]]:
    """The output of a component for given rows and a seed, and the method that gives it."""
    with torch.no_grad(), seeded():
        if inputs.situation.component.of == "prior":
            value = made.log_prob(inputs.main, inputs.condition)  # pyright: ignore[reportCallIssue]
            return {"log_prob": (value, place_of(type(made).log_prob))}  # pyright: ignore
        found = outputs(made, inputs)
    return {name: (output.value, place_of(output.method)) for name, output in found.items()}


@check("generator", "encoder", "critic", needs=["same-seed"])
def conditions(component: Component) -> None:
    """Where it is made for a condition, another condition gives another output: it is not left out in silence."""
    checked = 0
    for situation in component.situations:
        if situation.data.condition is None:
            continue
        made = fresh(situation)
        perturb(made)
        made.eval()
        inputs = Inputs.of(situation, made, 7)
        assert inputs.condition is not None
        other = replace(inputs, condition=inputs.condition.roll(1, 0))
        first, second = run(made, inputs), run(made, other)
        if all(same(output.value, second[name].value) for name, output in first.items()):
            raise CheckFailure(
                f"{situation.where}it takes a condition, and gives the same for another one",
                place_of(type(made).forward),
                "use it, or refuse it:  gv.check_condition(condition, None)",
            )
        checked += 1
    if not checked:
        raise NotChecked("it takes no conditions")


@check("generator", "encoder", "critic", "observation", needs=["same-seed"])
def memory_layout(component: Component) -> None:
    """Images of several channels may lie in memory channel by channel or pixel by pixel, as accelerators get them."""
    situation = next((wide for at in component.situations if (wide := _coloured(at))), None)
    if situation is None:
        raise NotChecked("it takes no images of several channels")
    made = fresh(situation).eval()
    inputs = Inputs.of(situation, made, 7)
    with Draws(component.owns) as drawn:
        plain = {name: output.value for name, output in run(made, inputs).items()}
    made.to(memory_format=torch.channels_last)
    laid = replace(inputs, main=channels_last(inputs.main), x=channels_last(inputs.x))
    try:
        # torch draws in the order in which memory is laid out, so the numbers are given.
        with Draws(component.owns, lambda number, draw: drawn.draws[number].values):
            found = run(made, laid)
    except RuntimeError as error:
        raise CheckFailure(
            f"{situation.where}in the memory format channels_last: {str(error).partition(chr(10))[0]}",
            place_of_error(error, component) or place_of(type(made).forward),
            "x.flatten(1) and x.reshape(…) take every layout; x.view(…) does not",
        ) from error
    for name, output in found.items():
        if differ(output.value, plain[name], ROUNDING):
            raise CheckFailure(
                f"{situation.where}{name} is another one in the memory format channels_last",
                place_of(output.method),
            )


def _coloured(situation: Situation) -> Situation | None:
    """The situation, if it is one of images, with two channels or more."""
    channels, *sides = situation.data.shape
    if len(sides) != 2:
        return None
    if channels > 1:
        return situation
    wide = replace(
        situation, name=f"{situation.name} of two channels", data=replace(situation.data, shape=(2, *sides))
    )
    return wide if wide.refusal is None else None


def channels_last(x: Tensor) -> Tensor:
    """The same values, laid out pixel by pixel where they are images."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == IMAGE_AXES else x


@check("objective", needs=["losses", "loss-same-seed"])
def loss_memory_layout(component: Component) -> None:
    """A loss takes images of several channels that lie in memory pixel by pixel, as accelerators get them."""
    checked = 0
    for play, prepared in plays(component):
        batch = play.batch(ROWS)
        if batch.x.dim() != IMAGE_AXES or batch.x.shape[1] == 1:
            continue
        laid = Batch(channels_last(batch.x), batch.condition, batch.mask, batch.index, batch.samples_seen)
        try:
            evaluated(prepared, laid)
        except RuntimeError as error:
            raise CheckFailure(
                f"{play.where(prepared)}in the memory format channels_last:"
                f" {str(error).partition(chr(10))[0]}",
                place_of_error(error, component),
                "x.flatten(1) and x.reshape(…) take every layout; x.view(…) does not",
            ) from error
        checked += 1
    if not checked:
        raise NotChecked("it takes no images of several channels")
