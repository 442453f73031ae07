"""Warnings of collapse: samples that are nearly alike, a critic that has won, codes or a codebook without use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, final

import torch
from torch import Tensor

from ganvae_core.data.codec import batch_of
from ganvae_core.evaluation.sampling import can_sample, evenly, sample_rows
from ganvae_core.interfaces import Critic
from ganvae_core.training import Callback, TrainingView
from ganvae_core.types import OF_SAMPLES, Phase

ACCURACY, KL, USAGE = "accuracy", "kl", "usage"
SPREAD, NEAREST = OF_SAMPLES + "spread", OF_SAMPLES + "nearest"
COMPARED = 256
"""Samples, and rows of data, that are measured."""
ALIKE, NO_LONGER_ALIKE = 0.2, 0.3
"""Of the mean distance of two rows: below the first, samples are nearly alike; above the second they have recovered."""
REPEATED, NO_LONGER_REPEATED = 0.05, 0.1
"""The same for the mean distance of a row to its nearest neighbour."""
REAL_REPEATED = 0.001
"""Share of the spread of data below which its own rows repeat each other."""
ALIKE_STEPS = 500
"""Steps for which samples must stay so: those of untrained networks are all alike."""
WON, NO_LONGER_WON = 0.998, 0.98
"""Share of pairs that a critic ranks correctly in each logging interval."""
EMPTY, NO_LONGER_EMPTY = 0.05, 0.2
"""Nats that all codes hold about their rows: below the first, the posterior has collapsed to the prior."""
UNUSED, NO_LONGER_UNUSED = 0.25, 0.5
"""Share of a codebook's entries that are in use."""
CODE_STEPS = 500
"""Steps for which codes must stay so: a codebook takes some to be spread out, and a weight of the KL may rise."""
WON_UPDATES = 1000
"""Updates of the generator over which a critic must win: at the beginning every critic does."""


@final
class CollapseMonitor(Callback):
    """Warns of samples that are nearly alike, and of a critic that has won.

    It also warns of codes that hold nothing, and of a codebook of which little is used. It measures a fixed batch of
    samples at each sampling interval, and reads the terms ``accuracy`` of critics, ``kl`` and ``usage`` at each logging
    interval. A warning is given once, and again only after a recovery.
    """

    def __init__(self) -> None:
        self._real: tuple[float, float] | None = None
        self._problems: dict[str, _Problem] = {}

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """Follow the critics' accuracy, the information in codes and the use of codebooks."""
        for phase in training.phases:
            name, step = phase.name, training.step
            self._codes(training, name, record)
            accuracy = record.get(f"{name}/{ACCURACY}")
            if accuracy is None or not trains_critic(phase):
                continue
            steps = self._problem(name).lasts(step, accuracy >= WON, recovered=accuracy < NO_LONGER_WON)
            if self._problem(name).is_due(steps, WON_UPDATES * _generator_every(training)):
                training.warn(
                    f"step {step:,}: the critic has won: for {steps:,} steps phase '{name}' has ranked real above"
                    f" generated in over {WON:.1%} of pairs, and the generator learns little from it",
                    f"try  {_slower(training, phase)}, a gradient penalty, or dropout, noise or less capacity in the"
                    " critic",
                )

    def _codes(self, training: TrainingView, phase: str, record: Mapping[str, Any]) -> None:
        """Warn of a posterior or a codebook that has collapsed."""
        for term, low, recovered, said, means in (
            (KL, EMPTY, NO_LONGER_EMPTY, "the posterior has collapsed: codes hold {:.2g} nats about their rows",
             "objective.free_bits=0.1 (nats of each coordinate), a smaller objective.beta or one that rises, or a"
             " generator and observation that can do less without the code"),
            (USAGE, UNUSED, NO_LONGER_UNUSED, "the codebook has collapsed: {:.0%} of its entries are in use",
             "fewer entries (encoder.codes=64), a smaller learning rate, or encoder.quantiser=scalar, which has no"
             " codebook to learn"),
        ):  # fmt: skip
            value = record.get(f"{phase}/{term}")
            if value is None:
                continue
            problem = self._problem(f"{phase}/{term}")
            steps = problem.lasts(training.step, value < low, recovered=value > recovered)
            if problem.is_due(steps, CODE_STEPS):
                training.warn(f"step {training.step:,}: {said.format(value)}", f"try  {means}")

    def on_samples(self, training: TrainingView) -> None:
        """Measure how far samples are from each other."""
        measured = self._measure(training)
        if measured is None:
            return
        step, spread, nearest = training.step, measured[SPREAD], measured.get(NEAREST, 1.0)
        if isfinite(spread):
            training.log(measured)
        steps = self._problem(SPREAD).lasts(
            step,
            not (spread >= ALIKE and nearest >= REPEATED),  # true where they are not numbers
            recovered=spread > NO_LONGER_ALIKE and nearest > NO_LONGER_REPEATED,
        )
        if self._problem(SPREAD).is_due(steps, ALIKE_STEPS):
            training.warn(f"step {step:,}: {_collapse(spread, nearest)}", _against_collapse(training))

    def state_dict(self) -> dict[str, Any]:
        """The findings so far."""
        return {name: asdict(problem) for name, problem in self._problems.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the findings."""
        self._problems = {name: _Problem(**problem) for name, problem in state.items()}

    def _problem(self, name: str) -> _Problem:
        return self._problems.setdefault(name, _Problem())

    def _measure(self, training: TrainingView) -> dict[str, float] | None:
        """Distances of samples as shares of the data's; None where there is nothing to compare."""
        if not can_sample(training.model):
            return None
        rows = evenly(training.data.training, COMPARED)
        if self._real is None:
            self._real = distances(batch_of(training.data, rows, training.device).x)
        if not self._real[0]:
            return None
        noise = training.model.shown == "draw"
        # As many as there are rows: among more of them the nearest is nearer.
        made = sample_rows(training.model, len(rows), training.settings.seed, training.device, noise=noise)
        spread, nearest = distances(made.x)
        measured = {SPREAD: spread / self._real[0]}
        if self._real[1] > REAL_REPEATED * self._real[0]:  # rows of categories, say, repeat each other
            measured[NEAREST] = nearest / self._real[1]
        return measured


@dataclass
class _Problem:
    """Since when something has been wrong, and whether it was warned of."""

    since: int | None = None
    warned: bool = False

    def lasts(self, step: int, wrong: bool, *, recovered: bool) -> int | None:
        """Steps for which it has been wrong, or None where it is not."""
        self.warned = self.warned and not recovered
        self.since = (step if self.since is None else self.since) if wrong else None
        return None if self.since is None else step - self.since

    def is_due(self, steps: int | None, least: int) -> bool:
        """Whether to warn of it now: once it has lasted for ``least`` steps."""
        if steps is None or steps < least or self.warned:
            return False
        self.warned = True
        return True


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


def _against_collapse(training: TrainingView) -> str:
    if any(isinstance(module, Critic) for module in training.objective.modules()):
        means = "another loss, a gradient penalty, or a critic that judges several rows together"
    else:
        means = "less weight on what keeps codes near the prior, or a larger latent space"
    slower = [_slower(training, phase) for phase in training.phases if _trains_generator(training, phase)]
    return f"try  {', '.join([*slower[:1], 'another seed', means])}"


def _slower(training: TrainingView, phase: Phase) -> str:
    """Half the learning rate of a phase, as it is typed."""
    name = phase.optimizer
    return f"optimizers.{name}.lr={training.optimizer_settings[name].lr / 2:g}"
