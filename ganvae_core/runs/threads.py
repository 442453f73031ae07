"""How many threads torch computes with on a CPU: one or all, whichever makes steps faster on this machine now."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ganvae_core.config.build import conditions_of
from ganvae_core.engine.devices import computing_threads
from ganvae_core.engine.loop import Engine
from ganvae_core.runs.stages import train_only

if TYPE_CHECKING:
    from ganvae_core.engine.settings import EngineSettings
    from ganvae_core.runs.preparation import Preparation

FEWEST_STEPS = 500
"""Steps of a run below which nothing is tried: a trial would take longer than it saves."""
WARM_UP = 2
"""Steps with each number of threads that do not count."""
TURN_SECONDS, TRIAL_SECONDS = 0.05, 1.0
"""Least time of a turn, and time after which no further pair of turns begins. There is at least one pair."""
CLEARLY = 0.95
"""Share of the time with one thread below which all threads are taken; others who compute are disturbed less by one."""

Turn = Callable[[int], float]
"""Makes so many steps and returns the seconds that they took."""


def chosen_threads(preparation: Preparation) -> tuple[int | None, str | None]:
    """The threads for a new run, and a sentence on why; None for as many as torch takes by itself.

    The trial trains a second model that is made like the run's and thrown away, so what is trained depends on the seed
    and the number of threads alone.
    """
    engine = preparation.engine
    settings, every = engine.settings, torch.get_num_threads()
    if settings.threads != "auto":
        return settings.threads, None
    given = "OMP_NUM_THREADS" in os.environ
    if (
        given
        or every == 1
        or engine.device.type != "cpu"
        or engine.world.size > 1
        or settings.steps < FEWEST_STEPS
    ):
        return None, None
    objective = preparation.builder.objective(preparation.data.spec, conditions_of(preparation.data))
    trainable = {parameter for parameter in objective.model.parameters() if parameter.requires_grad}
    train_only(objective.model, trainable, preparation.configuration.train)
    trial = Engine(
        objective,
        preparation.data,
        settings,
        optimizers=preparation.builder.optimizers(),
    )

    def turn_of(threads: int) -> Turn:
        def turn(steps: int) -> float:
            with computing_threads(threads):
                began = time.perf_counter()
                trial.fit(trial.state.step + steps)
                return time.perf_counter() - began

        return turn

    seconds, ratio = compared(turn_of(1), turn_of(every))
    count = every if ratio < CLEARLY else 1
    one, other = (f"{engine.batch_size / each:,.0f}" for each in seconds)
    return (
        count,
        f"{count} of {every} threads: one trains {one} rows/s here now, {every} train {other} (engine.threads)",
    )


def compared(one: Turn, every: Turn) -> tuple[tuple[float, float], float]:
    """Seconds of a step with one thread and with all, and the second as a share of the first.

    Turns alternate, and each pair gives a share, since other programs that begin or end in a trial slow both turns of a
    pair. All three are medians.
    """
    one(WARM_UP)
    steps = max(1, round(TURN_SECONDS / (one(1) + 1e-6)))
    every(WARM_UP)
    began = time.perf_counter()
    pairs: list[tuple[float, float]] = []
    while not pairs or time.perf_counter() - began < TRIAL_SECONDS:
        if len(pairs) % 2:
            other = every(steps)
            pairs.append((one(steps), other))
        else:
            pairs.append((one(steps), every(steps)))
    first, second = (statistics.median(pair[side] for pair in pairs) / steps for side in (0, 1))
    return (first, second), statistics.median(other / first for first, other in pairs)


def remembered_threads(settings: EngineSettings, manifest: Mapping[str, Any]) -> int | None:
    """The threads that a run goes on with: those that are set, or those of its checkpoint."""
    if settings.threads != "auto":
        return settings.threads
    runtime = manifest.get("runtime")
    found = runtime.get("threads") if isinstance(runtime, Mapping) else None
    return found if isinstance(found, int) and found >= 1 else None
