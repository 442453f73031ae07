"""Checks on batches that differ in their rows, their condition or their memory layout, and of interrupted training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.writer import CheckpointWriter
from ganvae_core.types import Batch
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.exercise import Inputs, outputs
from ganvae_kit.models import Play, engine_of, evaluated, gradients, loss_of
from ganvae_kit.modules import fresh, perturb, place_of_error, run
from ganvae_kit.objectives import causes_first, place_of_attribute, plays
from ganvae_kit.places import Place, place_of
from ganvae_kit.random_draws import Draws, cut
from ganvae_kit.situations import Situation, seeded
from ganvae_kit.state import changed, remembered, same
from ganvae_kit.subjects import Component
from ganvae_kit.tracing import differ, line_of_return

ROWS = 14
ROUNDING = 1e-4
"""Tolerance for another order of sums, relative to the largest value."""
IMAGE_AXES = 4
SUM_ROUNDING = 2e-5
"""Tolerance for another order of sums in fp32, relative to the size of what is compared."""
MOST_STEPS = 64
RESUMED = 2
"""Situations in which training is interrupted: usually with a condition and without one."""


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
        parts = [whole, whole.rows(slice(0, ROWS // 2)), whole.rows(slice(ROWS // 2, ROWS))]
        runs = cut(component.owns, parts, ROWS, lambda inputs: of_rows(made, inputs))  # noqa: B023
        together, *apart = [run() for run in runs]
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


@check("objective", needs=["losses", "work-of-the-engine", "loss-same-seed", "every-parameter-learns"])
def rows(component: Component) -> None:
    """A loss is an average over rows: two halves of a batch give its value and gradients, unless couples_rows says no.

    Each row gets the same random numbers in its half as in the batch, so that nothing but the cut differs.
    """
    for play, prepared in plays(component):
        if prepared.couples_rows:
            continue
        batch = play.batch(ROWS)
        parts = [batch, _part(batch, slice(0, ROWS // 2)), _part(batch, slice(ROWS // 2, ROWS))]
        runs = cut(component.owns, parts, ROWS, lambda part: evaluated(prepared, part))  # noqa: B023
        whole, *halves = [run() for run in runs]
        mean = (halves[0].value + halves[1].value) / 2
        summed = whole.value.detach(), halves[0].value.detach() + halves[1].value.detach()
        found = gradients(whole, prepared)
        expected = [gradients(half, prepared) for half in halves]
        far = _apart([whole.value.detach(), *found], [mean.detach(), *map(_mean, *expected)])
        if far is None:
            continue
        hint = (
            "say so:  Phase(…, couples_rows=True)  so that a batch is never split, or treat rows one by one"
        )
        if not differ(*summed, SUM_ROUNDING) and abs(float(summed[0])) > 1e-6:
            hint = "the loss is a sum over rows: average over the batch, whatever its size"
        raise CheckFailure(
            f"{play.where(prepared)}rows are tied together: a batch of {ROWS} rows has a loss of"
            f" {whole.value.item():.6g}, and its halves one of {mean.item():.6g} on average ({far})",
            line_of_return(runs[0], component.owns, loss_of(prepared)) or place_of(loss_of(prepared)),
            hint,
        )


def _part(batch: Batch, rows: slice) -> Batch:
    condition = None if batch.condition is None else batch.condition[rows]
    return Batch(batch.x[rows], condition, None, batch.index[rows], batch.samples_seen)


def _mean(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else (first + second) / 2


def _apart(found: list[Tensor | None], expected: list[Tensor | None]) -> str | None:
    """The difference beyond rounding, of the value or the gradients, or None."""
    value, *own = found
    other, *others = expected
    assert value is not None
    assert other is not None
    if differ(value, other, SUM_ROUNDING) and abs(float(value - other)) > 1e-6:
        return f"they differ by {float((value - other).abs()):.1g}"
    pairs = [(a, b) for a, b in zip(own, others, strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    off = torch.stack([(a - b).square().sum() for a, b in pairs]).sum().sqrt()
    size = torch.stack([a.square().sum() for a, _ in pairs]).sum().sqrt()
    return (
        None
        if off <= 1e-4 * size + 1e-7
        else f"their gradients differ by {float(off / size):.1g} of their length"
    )


@check("objective", needs=["losses", "work-of-the-engine", "loss-same-seed", "trains-what-it-says"])
def resume(component: Component) -> None:
    """Training that is broken off and gone on with from a checkpoint ends bit for bit where it would have ended."""
    for situation in component.situations[:RESUMED]:
        every = max(prepared.phase.every for prepared in Play.of(situation).phases)
        steps = min(MOST_STEPS, max(4, 2 * every))
        whole = engine_of(situation, steps)
        started = remembered(whole.objective)
        whole.fit()
        with tempfile.TemporaryDirectory() as folder:
            engine_of(situation, steps, saver=CheckpointWriter(folder)).fit(steps // 2)
            checkpoint = read_checkpoint(next(Path(folder, "checkpoints").iterdir()))
            resumed = engine_of(
                situation, steps, seed=1
            )  # with other weights: what is restored is all that counts
            resumed.restore(checkpoint)
            resumed.fit()
        after = remembered(whole.objective)
        differing = changed(after, remembered(resumed.objective))
        if not differing:
            continue
        name = causes_first(whole.objective, differing)[0]
        stored = name in whole.objective.state_dict()
        moved = "changed by training and" if name in changed(started, after) else "drawn at the start and"
        raise CheckFailure(
            f"{situation.where}after {steps} steps with a break, {name} is not what it is without one"
            + (f": it is {moved} not stored" if not stored else ""),
            place_of_attribute(whole.objective, name) or place_of(type(whole.objective)),
            "what training changes or draws is a buffer, so that it is stored: self.register_buffer(…)",
        )
