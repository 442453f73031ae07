"""Optimizers from settings, and learning rates as a function of the rows seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganvae_core.engine.settings import OptimizerSettings
from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.types import Phase

DEFAULT = "default"


class ScheduledOptimizer:
    """One torch optimizer, its schedule and its clipping.

    ``masks_updates`` says that the optimizer itself skips an update when ``found_inf`` is 1, without a host sync.
    """

    def __init__(
        self, settings: OptimizerSettings, parameters: Sequence[nn.Parameter], total_samples: int
    ) -> None:
        self.settings = settings
        self.parameters = parameters
        self.total_samples = total_samples
        self.factor = 1.0
        self.torch_optimizer, self.masks_updates = _make(settings, parameters)

    def learning_rate(self, samples_seen: int) -> float:
        """The learning rate of the step that starts after ``samples_seen`` rows."""
        settings = self.settings
        rate = settings.lr * self.factor
        if settings.warmup_samples:
            rate *= min(1.0, (samples_seen + 1) / settings.warmup_samples)
        if settings.schedule == "constant":
            return rate
        progress = min(1.0, samples_seen / max(1, self.total_samples))
        if settings.schedule == "linear":
            return rate * (1.0 - progress)
        return rate * 0.5 * (1.0 + math.cos(math.pi * progress))

    def slow_down(self, factor: float) -> None:
        """Multiply the learning rate of the settings by a factor from now on; 1 is the settings' own."""
        self.factor = factor
        for group in self.torch_optimizer.param_groups:  # a rate that varies is set with each step
            group["lr"] = self.settings.lr * factor

    def clear_gradients(self) -> None:
        """Forget the gradients of the last update. (torch's ``zero_grad`` does this twenty times slower.)"""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, samples_seen: int, found_inf: Tensor) -> None:
        """Update the parameters, unless ``found_inf`` () is 1."""
        if self.settings.schedule != "constant" or self.settings.warmup_samples:
            for group in self.torch_optimizer.param_groups:
                group["lr"] = self.learning_rate(samples_seen)
        if self.masks_updates:
            self.torch_optimizer.found_inf = found_inf  # pyright: ignore[reportAttributeAccessIssue]
        elif found_inf.item():
            return
        self.torch_optimizer.step()


def _make(
    settings: OptimizerSettings, parameters: Sequence[nn.Parameter]
) -> tuple[torch.optim.Optimizer, bool]:
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.name in ("adam", "adamw"):
        optimizer = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
        return optimizer(parameters, betas=settings.betas, eps=settings.eps, fused=True, **common), True
    if settings.name == "sgd":
        descent = torch.optim.SGD(parameters, momentum=settings.momentum, fused=True, **common)
        if settings.momentum:
            # torch makes these in the first step, and leaves them as memory happened to be where that one is masked.
            for parameter in parameters:
                descent.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return descent, True
    return torch.optim.RMSprop(parameters, momentum=settings.momentum, eps=settings.eps, **common), False


def make_optimizers(
    phases: Sequence[Phase],
    parameters: Mapping[str, Sequence[nn.Parameter]],
    settings: Mapping[str, OptimizerSettings],
    total_samples: int,
) -> dict[str, ScheduledOptimizer]:
    """One optimizer for each optimizer name of the phases, over the union of what its phases train.

    Args:
        phases: of the objective.
        parameters: by phase name, in module order.
        settings: by optimizer name; ``default`` stands in for names that have none.
        total_samples: rows that the whole run will eat; where falling schedules end.

    Raises:
        ConfigurationError: settings for an optimizer that no phase uses.
    """
    names = list(dict.fromkeys(phase.optimizer for phase in phases))
    for unknown in set(settings) - {*names, DEFAULT}:
        raise ConfigurationError(
            f"optimizers.{unknown}: this objective has no optimizer '{unknown}'.{did_you_mean(unknown, names)}",
            f"it has: {', '.join(names)}; 'default' holds for all of them",
        )
    optimizers: dict[str, ScheduledOptimizer] = {}
    for name in names:
        union: dict[nn.Parameter, None] = {}
        for phase in phases:
            if phase.optimizer == name:
                union.update(dict.fromkeys(parameters[phase.name]))
        chosen = settings.get(name, settings.get(DEFAULT, OptimizerSettings()))
        optimizers[name] = ScheduledOptimizer(chosen, list(union), total_samples)
    return optimizers
