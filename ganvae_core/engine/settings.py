"""The engine's settings: each field with the reason for its default. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ganvae_core.errors import ConfigurationError

LEAST = {
    **dict.fromkeys(("steps", "batch_size", "log_every", "checkpoint_every", "keep_checkpoints"), 1),
    **dict.fromkeys(("threads", "micro_batch_size", "evaluate_every", "most_epochs"), 1),
    **dict.fromkeys(("seed", "samples_every", "ema_half_life_samples"), 0),
}
"""The lowest value of settings that are numbers."""


@dataclass(frozen=True)
class EngineSettings:
    """How to train, whatever the objective.

    Args:
        steps: global batches in all; a resumed run counts on from where it was.
        most_epochs: passes over the training rows after which a recipe's steps end, so that few rows are not learned by
            heart; null for no limit. Steps that are given end when they say.
        batch_size: rows a step, of all processes together.
        seed: initial weights, random draws and the order of the data follow from it.
        device: auto (the accelerator that torch reports, else cpu), cpu, cuda, cuda:1, mps, …
        threads: of torch on a CPU, in a run: a number, or auto: one or all, whichever is faster in a few steps at the
            start, unless ``OMP_NUM_THREADS`` is set. A resumed run takes as many as before.
        precision: auto (bf16 on accelerators that have it, else tf32 on CUDA, else fp32), fp32, tf32 or bf16. On CUDA
            fp32 is IEEE's everywhere, convolutions included.
        compile: compile generators, encoders and critics; auto does on CUDA, in runs that are long enough to repay it.
        deterministic: take only deterministic kernels, without which a resumed run on CUDA equals an uninterrupted one
            within rounding only.
        micro_batch_size: rows that a process computes at once; fewer save memory. What ties rows together (batch norm)
            stays whole.
        channels_last: how image tensors lie in memory; null means with bf16 only.
        ema_half_life_samples: the model that is sampled averages the weights over this many rows; 0 takes the last.
        log_every: steps between two lines of metrics.jsonl.
        samples_every: steps between two sample grids; 0 draws them at the end only.
        checkpoint_every: steps between two checkpoints; there is always one at the end.
        keep_checkpoints: how many of the newest checkpoints stay on disk; the best by the first metric stays besides.
        evaluate_every: steps between two measurements of held-out rows; null: with each checkpoint, and as often as
            takes about a fiftieth of the time, by the numbers of rows.
    """

    steps: int = 2000
    most_epochs: int | None = None
    batch_size: int = 128
    seed: int = 0
    device: str = "auto"
    threads: int | Literal["auto"] = "auto"
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    compile: Literal["auto"] | bool = "auto"
    deterministic: bool = False
    micro_batch_size: int | None = None
    channels_last: bool | None = None
    ema_half_life_samples: float = 10_000.0
    log_every: int = 50
    samples_every: int = 500
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    evaluate_every: int | None = None

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, str | None) and not value >= least:
                raise ConfigurationError(
                    f"engine.{name}: {value} is not possible: it must be at least {least}."
                )

    def for_rows(self, rows: int) -> EngineSettings:
        """The same with the steps that ``most_epochs`` leaves for a number of training rows."""
        if self.most_epochs is None:
            return self
        most = -(-self.most_epochs * rows // min(self.batch_size, rows))
        return replace(self, steps=min(self.steps, most))
