"""Numbers that follow the rows seen: weights of losses, and factors of learning rates.

Where ``samples`` is None, a schedule lasts the whole training. Only a learning rate is given the length of the
training, so a schedule among an objective's options needs ``samples``.
"""

from __future__ import annotations

import math
from typing import final

from ganvae_core.builtin.option_checks import positive_number
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Schedule


@final
class Constant(Schedule):
    """The same value always.

    Args:
        value: the value.
    """

    def __init__(self, *, value: float = 1.0) -> None:
        self.value = value

    def __call__(self, samples_seen: int, total_samples: int | None = None) -> float:
        return self.value


class _Ramp(Schedule):
    """From one value to another.

    Args:
        from_: value at the start.
        to: value at the end.
        samples: rows from start to end; null: the whole training.
    """

    def __init__(self, *, from_: float = 1.0, to: float = 0.0, samples: int | None = None) -> None:
        self.from_, self.to = from_, to
        self.samples = None if samples is None else int(positive_number("samples", samples))

    def progress(self, samples_seen: int, total_samples: int | None) -> float:
        """How much of its rows the schedule has behind it, from 0 to 1.

        Raises:
            ConfigurationError: it lasts the whole training, whose length is not known.
        """
        total = total_samples if self.samples is None else self.samples
        if total is None:
            name = type(self).__name__.lower()
            raise ConfigurationError(
                f"the schedule '{name}' has no samples: in a loss its length in rows must be given.",
                f"give it:  {{name: {name}, samples: 500000}}",
            )
        return min(1.0, samples_seen / max(1, total))


@final
class Linear(_Ramp):
    """A straight line from one value to another, which is held afterwards."""

    def __call__(self, samples_seen: int, total_samples: int | None = None) -> float:
        return self.from_ + (self.to - self.from_) * self.progress(samples_seen, total_samples)


@final
class Cosine(_Ramp):
    """Half a period of a cosine from one value to another, which is held afterwards (Loshchilov & Hutter 2017)."""

    def __call__(self, samples_seen: int, total_samples: int | None = None) -> float:
        progress = self.progress(samples_seen, total_samples)
        return self.to + (self.from_ - self.to) * 0.5 * (1.0 + math.cos(math.pi * progress))


@final
class Cyclical(_Ramp):
    """Several rises from one value to another, each followed by a plateau (cyclical annealing, Fu et al. 2019).

    Args:
        from_: value at the start of each cycle.
        to: value of the plateaus, held after the last cycle.
        samples: rows of all cycles together; null: the whole training.
        cycles: number of cycles.
        rising: share of each cycle in which the value rises.
    """

    def __init__(
        self,
        *,
        from_: float = 0.0,
        to: float = 1.0,
        samples: int | None = None,
        cycles: int = 4,
        rising: float = 0.5,
    ) -> None:
        super().__init__(from_=from_, to=to, samples=samples)
        self.cycles, self.rising = positive_number("cycles", cycles), positive_number("rising", rising)

    def __call__(self, samples_seen: int, total_samples: int | None = None) -> float:
        progress = self.progress(samples_seen, total_samples)
        within = 1.0 if progress == 1.0 else math.fmod(progress * self.cycles, 1.0)
        return self.from_ + (self.to - self.from_) * min(1.0, within / self.rising)


@final
class WarmUp(Schedule):
    """A linear rise from zero, then another schedule: ``min(1, (samples_seen + 1) / samples)`` times that.

    Args:
        samples: rows of the rise.
        then: what is scaled; it counts rows from the start of the training, not from the end of the rise.
    """

    def __init__(self, *, samples: int, then: Schedule | float = 1.0) -> None:
        self.samples, self.then = positive_number("samples", samples), as_schedule(then, probe=False)

    def __call__(self, samples_seen: int, total_samples: int | None = None) -> float:
        return min(1.0, (samples_seen + 1) / self.samples) * self.then(samples_seen, total_samples)


@final
class Step(Schedule):
    """A value that is multiplied by a factor every so many rows.

    Args:
        samples: rows between two changes.
        factor: of one change.
        from_: value at the start.
    """

    def __init__(self, *, samples: int, factor: float = 0.1, from_: float = 1.0) -> None:
        self.samples, self.factor, self.from_ = int(positive_number("samples", samples)), factor, from_

    def __call__(self, samples_seen: int, total_samples: int | None = None) -> float:
        return self.from_ * self.factor ** (samples_seen // self.samples)


def as_schedule(value: Schedule | float, *, probe: bool = True) -> Schedule:
    """An option annotated ``Schedule | float`` as a schedule; a number is constant.

    Args:
        value: the option.
        probe: whether to evaluate it once without the length of the training, as a loss does.

    Raises:
        ConfigurationError: the schedule needs the length of the training.
    """
    schedule = value if isinstance(value, Schedule) else Constant(value=float(value))
    if probe:
        schedule(0)
    return schedule
