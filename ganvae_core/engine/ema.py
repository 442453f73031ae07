"""An exponential moving average of a model's weights, with its half-life counted in rows of data."""

from __future__ import annotations

import copy

import torch

from ganvae_core.model import Model

EVERY = 4
"""Steps from one update of a long average to the next."""
LONG = 4
"""So many updates within a half-life make an average long."""
RAMP = 0.05
"""Early on the half-life is this share of the rows seen, so that the initial weights lose their influence."""


class EMA:
    """The model that is sampled: parameters averaged, buffers copied, always in evaluation mode.

    A long average takes every fourth step's parameters and buffers: reading all of them takes time.

    Args:
        model: the model that is trained.
        half_life_samples: rows after which a weight counts half; 0 follows the model exactly.
    """

    def __init__(self, model: Model, half_life_samples: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.half_life_samples = half_life_samples
        self._averaged = [parameter.data for parameter in self.model.parameters()]
        self._trained = [parameter.data for parameter in model.parameters()]
        self._copied = [buffer for buffer in self.model.buffers() if buffer.numel()]
        self._current = [buffer for buffer in model.buffers() if buffer.numel()]

    def update(self, samples_seen: int, batch_size: int) -> None:
        """Average in the weights reached after ``samples_seen`` rows, ``batch_size`` of them in the last step."""
        half_life = min(self.half_life_samples, samples_seen * RAMP)
        if half_life > LONG * EVERY * batch_size:
            if samples_seen // batch_size % EVERY:
                return
            batch_size *= EVERY
        weight = 1.0 if half_life <= 0 else 1.0 - 0.5 ** (batch_size / half_life)
        torch._foreach_lerp_(self._averaged, self._trained, weight)  # pyright: ignore
        if self._copied:
            torch._foreach_copy_(self._copied, self._current)  # pyright: ignore
