"""The engine's settings: each field with the reason for its default. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ganvae_core.errors import ConfigurationError

STOP, SKIP = "stop", "skip"
DISABLE = "disable"


def _require(condition: bool, key: str, value: object, what: str) -> None:
    if not condition:
        raise ConfigurationError(f"{key}: {value} is not possible: {what}.")


@dataclass(frozen=True)
class EngineSettings:
    """How to train, whatever the objective.

    Args:
        steps: global batches in all; a resumed run counts on from where it was.
        batch_size: rows a step, of all processes together.
        seed: initial weights, random draws and the order of the data follow from it.
        device: auto (the accelerator that torch reports, else cpu), cpu, cuda, cuda:1, mps, …
        precision: auto (bf16 on accelerators that have it, else fp32), fp32 or bf16.
        micro_batch_size: rows that a process computes at once; fewer save memory. What ties rows together (batch norm)
            stays whole.
        channels_last: how image tensors lie in memory; null means with bf16 only.
        ema_half_life_samples: the model that is sampled averages the weights over this many rows; 0 takes the last.
        log_every: steps between two lines of metrics.jsonl.
        samples_every: steps between two sample grids; 0 draws them at the end only.
        checkpoint_every: steps between two checkpoints; there is always one at the end.
        keep_checkpoints: how many of the newest checkpoints stay on disk; the best by the first metric stays besides.
        evaluate_every: steps between two held-out measurements, taken when a checkpoint is; null: at every checkpoint.
        on_nonfinite: where a loss or gradient is not finite: stop, or skip that update.
        on_callback_error: where a callback fails: stop, or disable that callback and go on.
    """

    steps: int = 2000
    batch_size: int = 128
    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    micro_batch_size: int | None = None
    channels_last: bool | None = None
    ema_half_life_samples: float = 10_000.0
    log_every: int = 50
    samples_every: int = 500
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    evaluate_every: int | None = None
    on_nonfinite: Literal["stop", "skip"] = "stop"
    on_callback_error: Literal["stop", "disable"] = "stop"

    def __post_init__(self) -> None:
        positive = ("steps", "batch_size", "log_every", "checkpoint_every", "keep_checkpoints")
        for name in positive:
            _require(getattr(self, name) >= 1, f"engine.{name}", getattr(self, name), "it must be at least 1")
        for name in ("seed", "samples_every", "ema_half_life_samples"):
            _require(
                getattr(self, name) >= 0, f"engine.{name}", getattr(self, name), "it must not be negative"
            )
        for name in ("micro_batch_size", "evaluate_every"):
            value = getattr(self, name)
            _require(value is None or value >= 1, f"engine.{name}", value, "it must be at least 1, or null")

    def measured_at(self, step: int) -> bool:
        """Whether the checkpoint of a step is measured: the first one at or after each ``evaluate_every`` steps."""
        every = self.evaluate_every
        return every is None or step // every > (step - self.checkpoint_every) // every
