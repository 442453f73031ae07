"""How a run computes: the precision of its networks, TF32, deterministic kernels, compiled components."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import final

import torch
from torch import nn

from ganvae_core.engine.devices import Precision, subnormals_as_zero
from ganvae_core.engine.phases import PreparedPhase
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.interfaces import Critic, Encoder
from ganvae_core.interfaces import Generator as Network
from ganvae_core.lower_precision import networks_in
from ganvae_core.training import Objective

STEPS_WORTH_COMPILING = 20_000
"""Steps from which ``engine.compile: auto`` compiles on CUDA, an estimate: compiling takes about a minute."""


@contextmanager
def computing(device: torch.device, precision: Precision, *, deterministic: bool = False) -> Generator[None]:
    """A context in which networks compute in a precision, and everything else in fp32.

    On CUDA fp32 is IEEE's, convolutions included, and ``tf32`` is TF32 in both. Subnormal numbers are zero.
    All settings are restored at the end.

    Args:
        device: that is computed on.
        precision: of the networks.
        deterministic: take only deterministic kernels, and raise torch's error where there is none.
    """
    flags, tf32 = torch.backends, precision == "tf32"
    before = (flags.cuda.matmul.allow_tf32, flags.cudnn.allow_tf32, flags.cudnn.benchmark)
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    _set_flags(tf32, tf32, device.type == "cuda" and not deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.use_deterministic_algorithms(True)
    try:
        with subnormals_as_zero(), networks_in(device.type, torch.bfloat16 if precision == "bf16" else None):
            yield
    finally:
        _set_flags(*before)
        if deterministic:
            torch.use_deterministic_algorithms(was_deterministic)


def _set_flags(matmul_tf32: bool, convolution_tf32: bool, benchmark: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = matmul_tf32
    torch.backends.cudnn.allow_tf32 = convolution_tf32
    torch.backends.cudnn.benchmark = benchmark


@final
class Computing:
    """How an engine computes.

    Args:
        objective: what is trained.
        phases: of it.
        settings: of the engine.
        device: of the engine.
        precision: of the networks.

    Attributes:
        compiled: the components that are compiled in place: none that a ``second_order`` phase trains, since gradients
            of gradients do not pass through compiled code.
    """

    def __init__(
        self,
        objective: Objective,
        phases: Sequence[PreparedPhase],
        settings: EngineSettings,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.device = device
        self.precision: Precision = precision
        self._deterministic = settings.deterministic
        wanted = settings.compile
        if wanted == "auto":
            wanted = device.type == "cuda" and settings.steps >= STEPS_WORTH_COMPILING
        second_order = [each.phase for each in phases if each.phase.second_order]
        twice = {
            parameter
            for phase in second_order
            for module in phase.trains
            for parameter in module.parameters()
        }
        self.compiled: list[nn.Module] = [
            module
            for module in objective.modules()
            if wanted
            and isinstance(module, Network | Encoder | Critic)
            and twice.isdisjoint(module.parameters())
        ]

    @contextmanager
    def training(self) -> Generator[None]:
        """A context for training: precision and flags are set, and components are compiled."""
        for module in self.compiled:
            module.compile()
        try:
            with self._computing(self.precision):
                yield
        finally:
            for module in self.compiled:
                module._compiled_call_impl = None  # pyright: ignore[reportPrivateUsage]

    def update(self, *, second_order: bool) -> AbstractContextManager[object]:
        """A context for the losses and gradients of one update.

        In bf16, weights that are trained are cast once in it: torch keeps the casts until the outermost autocast
        ends. Losses that differentiate a gradient are computed in fp32.
        """
        if second_order and self.precision != "fp32":
            return self._computing("fp32")
        return torch.autocast(self.device.type, enabled=False) if self.precision == "bf16" else nullcontext()

    def _computing(self, precision: Precision) -> AbstractContextManager[None]:
        return computing(self.device, precision, deterministic=self._deterministic)
