"""Finds tensors that are made on the default device, which on an accelerator is the wrong one."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ganvae_kit.places import Owns, Place, place_of_caller

FACTORIES = frozenset(
    getattr(torch, name)
    for name in (
        "arange", "empty", "eye", "full", "linspace", "logspace", "normal", "ones", "rand", "randint", "randn",
        "randperm", "range", "tensor", "tril_indices", "triu_indices", "zeros",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Unplaced:
    """A call that makes a tensor and does not say where."""

    name: str
    place: Place | None


class _Watch(TorchFunctionMode):
    def __init__(self, owns: Owns) -> None:
        super().__init__()
        self.owns = owns
        self.found: list[Unplaced] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        # A number () may stay on the CPU: torch combines it with tensors on any device.
        if func in FACTORIES and kwargs.get("device") is None and isinstance(made, Tensor) and made.dim():
            follows = func is torch.normal and any(isinstance(value, Tensor) for value in args)
            caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
            if not follows and self.owns(caller.f_code.co_filename):
                self.found.append(Unplaced(f"torch.{func.__name__}", place_of_caller(self.owns, caller)))
        return made


@contextmanager
def unplaced(owns: Owns) -> Generator[list[Unplaced]]:
    """While this lasts, calls in a plugin's own files that make tensors on the default device are put into the list."""
    with _Watch(owns) as watch:
        yield watch.found
