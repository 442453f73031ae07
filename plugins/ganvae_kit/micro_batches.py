"""Checks of coupled rows, and of interrupted training."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from ganvae_core.engine.phases import PreparedPhase
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.writer import CheckpointWriter
from ganvae_core.types import Batch, Loss
from ganvae_kit.checks import CheckFailure, check
from ganvae_kit.models import Play, engine_of, evaluated, gradients, loss_of
from ganvae_kit.objectives import causes_first, place_of_attribute, plays
from ganvae_kit.places import place_of
from ganvae_kit.random_draws import Draws, Halves
from ganvae_kit.state import changed, remembered
from ganvae_kit.subjects import Component
from ganvae_kit.tracing import differ, line_of_return

BATCH = 14
"""Rows of the batch that is cut in two: a number that no other size is likely to be."""
ROUNDING = 2e-5
"""What sums in fp32 may differ by, relative to the size of what is compared, when they are done in another order."""
MOST_STEPS = 64
RESUMED = 2
"""Situations in which training is interrupted: usually with a condition and without one."""


@check("objective", needs=["losses", "work-of-the-engine", "loss-same-seed", "every-parameter-learns"])
def rows(component: Component) -> None:
    """A loss is an average over rows: two halves of a batch give its value and gradients, unless couples_rows says no.

    Each row gets the same random numbers in its half as in the batch, so that nothing but the cut differs.
    """
    for play, prepared in plays(component):
        if prepared.couples_rows:
            continue
        cut = _Cut(play, prepared)
        whole, halves = cut.whole(), [cut.half(0), cut.half(1)]
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
        if not differ(*summed, ROUNDING) and abs(float(summed[0])) > 1e-6:
            hint = "the loss is a sum over rows: average over the batch, whatever its size"
        raise CheckFailure(
            f"{play.where(prepared)}rows are tied together: a batch of {BATCH} rows has a loss of"
            f" {whole.value.item():.6g}, and its halves one of {mean.item():.6g} on average ({far})",
            line_of_return(cut.whole, component.owns, loss_of(prepared)) or place_of(loss_of(prepared)),
            hint,
        )


class _Cut:
    """A phase, a batch and its halves, and random draws that agree."""

    def __init__(self, play: Play, prepared: PreparedPhase) -> None:
        self.prepared = prepared
        self.owns = play.situation.component.owns
        self.batch = play.batch(BATCH)
        self.parts = [_part(self.batch, 0), _part(self.batch, 1)]
        draws: list[Draws] = []
        for batch in (self.batch, self.parts[0]):
            with Draws(self.owns) as mode:
                evaluated(prepared, batch)
            draws.append(mode)
        self.halves = Halves(draws[0].draws, draws[1].draws, BATCH)

    def whole(self) -> Loss:
        """The loss of the batch."""
        with Draws(self.owns, self.halves.of_whole):
            return evaluated(self.prepared, self.batch)

    def half(self, which: int) -> Loss:
        """The loss of one half."""
        with Draws(self.owns, self.halves.of_half(which)):
            return evaluated(self.prepared, self.parts[which])


def _part(batch: Batch, which: int) -> Batch:
    rows = slice(which * BATCH // 2, (which + 1) * BATCH // 2)
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
    if differ(value, other, ROUNDING) and abs(float(value - other)) > 1e-6:
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
