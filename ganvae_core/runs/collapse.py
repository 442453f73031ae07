"""Notices while a model trains what no loss shows: samples that are all alike, a critic that has won."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, final

import torch
from torch import Tensor

from ganvae_core.data.codec import rows_of
from ganvae_core.evaluation.measuring import evenly, sample_rows
from ganvae_core.interfaces import Callback, Critic, TrainingView
from ganvae_core.runs.observers import can_sample, drawn_with_noise
from ganvae_core.types import Phase

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
class CollapseMonitor(Callback):
    """Measures a fixed batch of samples whenever samples are drawn, and follows how often the critic is right.

    A warning is given once, and again only after what it was about had recovered.
    """

    def __init__(self) -> None:
        self._real: tuple[float, float] | None = None
        self._alike_since: int | None = None
        self._won_since: dict[str, int] = {}
        self._said: set[str] = set()

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """Follow the critics' accuracy."""
        for phase in training.phases:
            accuracy = record.get(f"{phase.name}/{ACCURACY}")
            if accuracy is not None and trains_critic(phase):
                self._follow(training, phase, accuracy)

    def on_samples(self, training: TrainingView) -> None:
        """Measure how far samples are from each other."""
        measured = self._measure(training)
        if measured is None:
            return
        spread, nearest = measured[SPREAD], measured.get(NEAREST, 1.0)
        if isfinite(spread):
            training.log(measured)
        if spread > NO_LONGER_ALIKE and nearest > NO_LONGER_REPEATED:
            self._said.discard(SPREAD)
        if spread >= ALIKE and nearest >= REPEATED:
            self._alike_since = None
            return
        step = training.step
        self._alike_since = step if self._alike_since is None else self._alike_since
        if SPREAD not in self._said and step - self._alike_since >= ALIKE_STEPS:
            self._said.add(SPREAD)
            training.warn(f"step {step:,}: {_collapse(spread, nearest)}", *_against_collapse(training))

    def state_dict(self) -> dict[str, Any]:
        """What was noticed so far."""
        return {"alike_since": self._alike_since, "won_since": self._won_since, "said": sorted(self._said)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what was noticed."""
        self._alike_since = state.get("alike_since")
        self._won_since = dict(state.get("won_since", {}))
        self._said = set(state.get("said", ()))

    def _follow(self, training: TrainingView, phase: Phase, accuracy: float) -> None:
        name, step = phase.name, training.step
        if accuracy < NO_LONGER_WON:
            self._said.discard(name)
        if accuracy < WON:
            self._won_since.pop(name, None)
            return
        steps = step - self._won_since.setdefault(name, step)
        if name not in self._said and steps >= WON_UPDATES * _generator_every(training):
            self._said.add(name)
            training.warn(
                f"step {step:,}: the critic has won: for {steps:,} steps phase '{name}' has told real from generated"
                f" in over {WON:.1%} of pairs, and the generator learns little from it",
                *_against_winning(training, phase),
            )

    def _measure(self, training: TrainingView) -> dict[str, float] | None:
        """Distances of samples as shares of the data's; None where there is nothing to compare."""
        if not can_sample(training.model):
            return None
        rows = evenly(training.data.training, COMPARED)
        if self._real is None:
            self._real = distances(rows_of(training.data, rows, training.device)[0])
        if not self._real[0]:
            return None
        noise = drawn_with_noise(training.data.spec)
        # As many as there are rows: among more of them the nearest is nearer.
        made = sample_rows(training.model, len(rows), training.settings.seed, training.device, noise=noise)
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


def trains_critic(phase: Phase) -> bool:
    """Whether a phase trains a critic: its accuracy is then that of telling real from generated rows."""
    return any(isinstance(part, Critic) for module in phase.trains for part in module.modules())


def _trains_generator(training: TrainingView, phase: Phase) -> bool:
    own = {id(parameter) for module in phase.trains for parameter in module.parameters()}
    return any(id(parameter) in own for parameter in training.objective.model.generator.parameters())


def _generator_every(training: TrainingView) -> int:
    """Steps from one update of the generator to the next."""
    found = [phase.every for phase in training.phases if _trains_generator(training, phase)]
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


def _against_collapse(training: TrainingView) -> list[str]:
    if any(isinstance(module, Critic) for module in training.objective.modules()):
        means = "another loss, a gradient penalty, or a critic that judges several rows together"
    else:
        means = "less weight on what keeps codes near the prior, or a larger latent space"
    slower = [_slower(training, phase) for phase in training.phases if _trains_generator(training, phase)]
    return [f"try  {', '.join([*slower[:1], 'another seed', means])}"]


def _against_winning(training: TrainingView, phase: Phase) -> list[str]:
    means = "a gradient penalty, or dropout, noise or less capacity in the critic"
    return [f"try  {_slower(training, phase)}, {means}"]


def _slower(training: TrainingView, phase: Phase) -> str:
    """Half the learning rate of a phase, as it is typed."""
    name = phase.optimizer
    return f"optimizers.{name}.lr={training.optimizer_settings[name].lr / 2:g}"
