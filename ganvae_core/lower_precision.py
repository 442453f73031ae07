"""The lower precision in which networks compute: generators, encoders and critics, and nothing else.

Draws, distributions and losses stay in fp32: under autocast a KL of a row was wrong by up to half a nat.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_current: tuple[str, torch.dtype] | None = None
"""Type of device, and the type in which networks compute on it."""


@contextmanager
def networks_in(device_type: str, dtype: torch.dtype | None) -> Generator[None]:
    """A context in which networks compute in a lower precision.

    Args:
        device_type: ``cuda``, ``cpu``, …
        dtype: that they compute in; None: that of their weights.
    """
    global _current
    before, _current = _current, None if dtype is None else (device_type, dtype)
    try:
        yield
    finally:
        _current = before


def computes_lower(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a network that computes in the precision of ``networks_in``, and returns fp32.

    What such a method calls of its own kind (a critic's ``features`` in ``forward``) stays in the lower precision.
    """

    @functools.wraps(method)
    def computed(*args: Any, **kwargs: Any) -> Any:
        if _current is None or torch.is_autocast_enabled(_current[0]):
            return method(*args, **kwargs)
        with torch.autocast(_current[0], dtype=_current[1]):
            outcome = method(*args, **kwargs)
        return as_fp32(outcome)

    return computed


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
