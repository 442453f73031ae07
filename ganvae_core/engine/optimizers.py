"""Optimizers of phases, and their learning rates as a function of the rows seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganvae_core.engine.phases import PreparedPhase
from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.interfaces import Optimizer, Schedule

DEFAULT = "default"


@dataclass(frozen=True)
class OptimizerSettings:
    """How the parameters of one optimizer are updated.

    Args:
        lr: learning rate, before schedule and warm-up.
        optimizer: the algorithm with its options; None: Adam as torch sets it, fused.
        schedule: factor of the learning rate; null: constant.
        warmup_samples: rows over which the learning rate rises from zero.
        clip_norm: gradients are scaled down to this norm; null never clips.
    """

    lr: float = 1e-3
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    warmup_samples: int = 0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("lr", "warmup_samples"):
            if not getattr(self, name) >= 0:
                raise _impossible(name, getattr(self, name), "it must not be negative")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise _impossible("clip_norm", self.clip_norm, "it must be positive, or null")


def _impossible(name: str, value: float, what: str) -> ConfigurationError:
    return ConfigurationError(f"optimizers: {name}: {value} is not possible: {what}.")


class ScheduledOptimizer:
    """A torch optimizer with its schedule and clipping.

    ``masks_updates``: the optimizer itself skips an update when ``found_inf`` is 1, without a host sync. On a CPU it is
    read: there is nothing to wait for, and a masked update takes longer.
    """

    def __init__(
        self, settings: OptimizerSettings, parameters: Sequence[nn.Parameter], total_samples: int
    ) -> None:
        self.settings = settings
        self.parameters = parameters
        self.total_samples = total_samples
        if settings.optimizer is None:
            self.torch_optimizer = torch.optim.Adam(parameters, settings.lr, fused=True)
        else:
            self.torch_optimizer = settings.optimizer.make(parameters, settings.lr)
        # Set by torch in what is fused, for its own gradient scaler.
        fused = bool(getattr(self.torch_optimizer, "_step_supports_amp_scaling", False))
        self.masks_updates = fused and parameters[0].device.type != "cpu"

    def learning_rate(self, samples_seen: int) -> float:
        """The learning rate of the step that starts after ``samples_seen`` rows."""
        settings = self.settings
        rate = settings.lr
        if settings.warmup_samples:
            rate *= min(1.0, (samples_seen + 1) / settings.warmup_samples)
        if settings.schedule is not None:
            rate *= settings.schedule(samples_seen, self.total_samples)
        return rate

    def clear_gradients(self) -> None:
        """Remove the gradients of the last update. (torch's ``zero_grad`` takes twenty times as long.)"""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, samples_seen: int, found_inf: Tensor) -> None:
        """Update the parameters, unless ``found_inf`` () is 1."""
        if self.settings.schedule is not None or self.settings.warmup_samples:
            for group in self.torch_optimizer.param_groups:
                group["lr"] = self.learning_rate(samples_seen)
        if self.masks_updates:
            self.torch_optimizer.found_inf = found_inf  # pyright: ignore[reportAttributeAccessIssue]
        elif found_inf.item():
            return
        self.torch_optimizer.step()


def make_optimizers(
    phases: Sequence[PreparedPhase], settings: Mapping[str, OptimizerSettings], total_samples: int
) -> dict[str, ScheduledOptimizer]:
    """One optimizer for each optimizer name of the phases, over the union of what its phases train.

    Args:
        phases: of the objective.
        settings: by optimizer name; ``default`` stands in for names that have none.
        total_samples: rows of the whole training; where falling schedules end.

    Raises:
        ConfigurationError: settings for an optimizer that no phase uses.
    """
    parameters: dict[str, dict[nn.Parameter, None]] = {}
    for prepared in phases:
        parameters.setdefault(prepared.phase.optimizer, {}).update(dict.fromkeys(prepared.parameters))
    for unknown in set(settings) - {*parameters, DEFAULT}:
        raise ConfigurationError(
            f"optimizers.{unknown}: this objective has no optimizer '{unknown}'.{did_you_mean(unknown, parameters)}",
            f"it has: {', '.join(parameters)}; 'default' applies to all of them",
        )
    default = settings.get(DEFAULT, OptimizerSettings())
    return {
        name: ScheduledOptimizer(settings.get(name, default), list(trained), total_samples)
        for name, trained in parameters.items()
    }


def lasts_whole_training(schedule: Schedule | None) -> bool:
    """Whether the values of a schedule depend on the length of the training."""
    try:
        if schedule is not None:
            schedule(0)
    except ConfigurationError:
        return True
    return False
