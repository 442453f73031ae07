"""Mixed precision in the forwards of components only: draws, distributions and losses stay fp32."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganvae_core import interfaces


class ComponentPrecision:
    """Runs the networks of an objective in a lower precision, and returns their outputs in fp32.

    Only the objective that is trained is touched, and only while it is: the averaged model computes in fp32, and so
    does whatever is made of the modules afterwards.
    """

    def __init__(self, objective: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype
        self.enabled = dtype != torch.float32
        self._methods: list[tuple[nn.Module, str]] = []
        for module in objective.modules() if self.enabled else ():
            if isinstance(module, interfaces.Generator | interfaces.Encoder | interfaces.Critic):
                self._methods.append((module, "forward"))
            if isinstance(module, interfaces.Critic):
                self._methods.append((module, "features"))

    @contextmanager
    def covering(self) -> Generator[None]:
        """A context in which the networks compute in the lower precision."""
        for module, method in self._methods:
            self._cover(module, method)
        try:
            yield
        finally:
            for module, method in self._methods:
                delattr(module, method)

    @contextmanager
    def full(self) -> Generator[None]:
        """A context in fp32, for losses that differentiate a gradient."""
        enabled, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = enabled

    def _cover(self, module: nn.Module, method: str) -> None:
        inner: Callable[..., Any] = getattr(module, method)

        @functools.wraps(inner)
        def covered(*args: Any, **kwargs: Any) -> Any:
            if not self.enabled:
                return inner(*args, **kwargs)
            with torch.autocast(self.device.type, dtype=self.dtype):
                outcome = inner(*args, **kwargs)
            return as_fp32(outcome)

        setattr(module, method, covered)


def as_fp32(value: Any) -> Any:
    """The value with all floating-point tensors in float32: tensors, tuples, and fields of posteriors."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple | list):
        return type(value)(as_fp32(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: as_fp32(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
