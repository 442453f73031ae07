"""Notices while a model trains what no loss shows: samples that are all alike, a critic that has won."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from ganvae_core.data.codec import rows_of
from ganvae_core.engine.phases import PreparedPhase
from ganvae_core.evaluation.measuring import evenly, sample_rows
from ganvae_core.interfaces import Callback, Critic
from ganvae_core.runs.observers import can_sample, drawn_with_noise

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine

ACCURACY = "accuracy"
SPREAD, NEAREST = "samples/spread", "samples/nearest"
COMPARED = 256
"""Samples, and rows of data, that are measured."""
ALIKE, NO_LONGER_ALIKE = 0.2, 0.3
"""Of the mean distance of two rows: below the first, samples are nearly alike; above the second they have recovered."""
REPEATED, NO_LONGER_REPEATED = 0.05, 0.1
"""The same of the mean distance of a row to the one that is nearest to it."""
REAL_REPEATED = 0.001
"""Share of the spread of data below which its own rows repeat each other."""
ALIKE_STEPS = 500
"""Steps over which samples must stay so: untrained networks make nothing else."""
WON, NO_LONGER_WON = 0.998, 0.98
"""Share of pairs that a critic ranks rightly in each logging interval."""
WON_UPDATES = 1000
"""Updates of the generator over which a critic must win: near the beginning every one does."""


@final
class Watch(Callback):
    """Measures a fixed batch of samples whenever samples are drawn, and follows how often the critic is right.

    A warning is given once, and again only after what it was about had recovered.
    """

    def __init__(self) -> None:
        self._real: tuple[float, float] | None = None
        self._alike_since: int | None = None
        self._won_since: dict[str, int] = {}
        self._said: set[str] = set()

    def on_step(self, engine: Engine, record: Mapping[str, Any]) -> None:
        """Follow the critics' accuracy."""
        for prepared in engine.phases:
            accuracy = record.get(f"{prepared.phase.name}/{ACCURACY}")
            if accuracy is not None and trains_critic(prepared):
                self._follow(engine, prepared, accuracy)

    def on_samples(self, engine: Engine) -> None:
        """Measure how far samples are from each other."""
        measured = self._measure(engine)
        if measured is None:
            return
        spread, nearest = measured[SPREAD], measured.get(NEAREST, 1.0)
        if isfinite(spread):
            engine.pending |= measured
        if spread > NO_LONGER_ALIKE and nearest > NO_LONGER_REPEATED:
            self._said.discard(SPREAD)
        if spread >= ALIKE and nearest >= REPEATED:
            self._alike_since = None
            return
        step = engine.step_index
        self._alike_since = step if self._alike_since is None else self._alike_since
        if SPREAD not in self._said and step - self._alike_since >= ALIKE_STEPS:
            self._said.add(SPREAD)
            engine.warn(f"step {step:,}: {_collapse(spread, nearest)}", *_against_collapse(engine))

    def state_dict(self) -> dict[str, Any]:
        """What was noticed so far."""
        return {"alike_since": self._alike_since, "won_since": self._won_since, "said": sorted(self._said)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what was noticed."""
        self._alike_since = state.get("alike_since")
        self._won_since = dict(state.get("won_since", {}))
        self._said = set(state.get("said", ()))

    def _follow(self, engine: Engine, prepared: PreparedPhase, accuracy: float) -> None:
        name, step = prepared.phase.name, engine.step_index
        if accuracy < NO_LONGER_WON:
            self._said.discard(name)
        if accuracy < WON:
            self._won_since.pop(name, None)
            return
        steps = step - self._won_since.setdefault(name, step)
        if name not in self._said and steps >= WON_UPDATES * _generator_every(engine):
            self._said.add(name)
            engine.warn(
                f"step {step:,}: the critic has won: for {steps:,} steps phase '{name}' has told real from generated"
                f" in over {WON:.1%} of pairs, and the generator learns little from it",
                *_against_winning(engine, prepared),
            )

    def _measure(self, engine: Engine) -> dict[str, float] | None:
        """Distances of samples as shares of the data's; None where there is nothing to compare."""
        if not can_sample(engine.model):
            return None
        rows = evenly(engine.data.training, COMPARED)
        if self._real is None:
            self._real = distances(rows_of(engine.data, rows, engine.device)[0])
        if not self._real[0]:
            return None
        noise = drawn_with_noise(engine.data.spec)
        # As many as there are rows: among more of them the nearest is nearer.
        made = sample_rows(engine.model, len(rows), engine.settings.seed, engine.device, noise=noise)
        spread, nearest = distances(made)
        measured = {SPREAD: spread / self._real[0]}
        if self._real[1] > REAL_REPEATED * self._real[0]:  # rows of categories, say, repeat each other
            measured[NEAREST] = nearest / self._real[1]
        return measured


def distances(x: Tensor) -> tuple[float, float]:
    """Mean distance of two rows of x (N, *X), and of a row to its nearest; (0, 0) where there are fewer than two."""
    if len(x) < 2:
        return 0.0, 0.0
    flat = x.detach().float().flatten(1)
    flat = flat - flat.mean(dim=0)  # distances come from products, whose digits go where rows lie far from 0
    apart = torch.cdist(flat, flat, compute_mode="use_mm_for_euclid_dist")  # (N, N)
    mean = apart.sum() / (len(x) * (len(x) - 1))
    nearest = apart.fill_diagonal_(torch.inf).min(dim=1).values.mean()
    return mean.item(), nearest.item()


def trains_critic(prepared: PreparedPhase) -> bool:
    """Whether a phase trains a critic: its accuracy is then that of telling real from generated rows."""
    return any(isinstance(part, Critic) for module in prepared.phase.trains for part in module.modules())


def _trains_generator(engine: Engine, prepared: PreparedPhase) -> bool:
    own = {id(parameter) for parameter in prepared.parameters}
    return any(id(parameter) in own for parameter in engine.objective.model.generator.parameters())


def _generator_every(engine: Engine) -> int:
    """Steps from one update of the generator to the next."""
    found = [prepared.phase.every for prepared in engine.phases if _trains_generator(engine, prepared)]
    return min(found, default=1)


def _collapse(spread: float, nearest: float) -> str:
    if not isfinite(spread):
        return "samples are not finite: what the generator computes is too large"
    if spread < ALIKE:
        return (
            f"samples are nearly all alike: two of them differ {spread:.2g} times as much as two rows of data"
        )
    return (
        "samples repeat each other: to the one nearest to it, a sample differs"
        f" {nearest:.2g} times as much as a row of data"
    )


def _against_collapse(engine: Engine) -> list[str]:
    if any(isinstance(module, Critic) for module in engine.objective.modules()):
        means = "another loss, a gradient penalty, or a critic that judges several rows together"
    else:
        means = "less weight on what keeps codes near the prior, or a larger latent space"
    slower = [_slower(engine, prepared) for prepared in engine.phases if _trains_generator(engine, prepared)]
    return [f"try  {', '.join([*slower[:1], 'another seed', means])}"]


def _against_winning(engine: Engine, prepared: PreparedPhase) -> list[str]:
    means = "a gradient penalty, or dropout, noise or less capacity in the critic"
    return [f"try  {_slower(engine, prepared)}, {means}"]


def _slower(engine: Engine, prepared: PreparedPhase) -> str:
    """Half the learning rate of a phase, as it is typed."""
    name = prepared.phase.optimizer
    return f"optimizers.{name}.lr={engine.optimizers[name].settings.lr / 2:g}"
