"""The state of an objective or a component, as a flat list of values that can be compared."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils.spectral_norm import SpectralNorm

DEPTH = 8
PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
CONSTANT = (type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType)
OF_TORCH = frozenset(vars(nn.Module()))
"""What every module has for torch's own purposes."""


def remembered(module: nn.Module) -> dict[str, Any]:
    """Parameters, buffers, and what the attributes of every module inside hold, by a name that a person can find."""
    values: dict[str, Any] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        values[name] = tensor.detach().clone()
    seen = {id(part) for part in module.modules()}
    for path, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute not in OF_TORCH and not attribute.startswith("__"):
                values.update(_leaves(f"{path}.{attribute}".lstrip("."), value, seen, DEPTH))
    return values


def statistics(module: nn.Module) -> set[str]:
    """Names of the buffers that torch's own layers change in a forward pass: of batch norm and of spectral norm."""
    names: set[str] = set()
    for path, part in module.named_modules():
        hooks = getattr(part, "_forward_pre_hooks", {}).values()
        norm = isinstance(part, nn.modules.batchnorm._NormBase | _SpectralNorm)  # pyright: ignore[reportPrivateUsage]
        if norm or any(isinstance(hook, SpectralNorm) for hook in hooks):
            names |= {f"{path}.{name}".lstrip(".") for name, _ in part.named_buffers(recurse=False)}
    return names


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names whose values differ, or that only one of the two has."""
    return [name for name in {**before, **after} if not same(before.get(name, _NONE), after.get(name, _NONE))]


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal, bit for bit where they are tensors."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        if first.shape != second.shape or first.dtype != second.dtype:
            return False
        return torch.equal(first, second) or bool(
            ((first == second) | (first.isnan() & second.isnan())).all()
        )
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return (
            first.dtype == second.dtype
            and first.tobytes() == second.tobytes()
            and first.shape == second.shape
        )
    if type(first) is not type(second):
        return False
    return bool(first == second) or bool(first != first and second != second)  # NaN is like NaN


def differ(first: Tensor, second: Tensor, relative: float) -> bool:
    """Whether two tensors of one shape differ by more than rounding."""
    scale = max(float(first.abs().max()), float(second.abs().max())) if first.numel() else 0.0
    return not torch.allclose(first, second, rtol=0.0, atol=relative * scale + 1e-12, equal_nan=True)


def moved_by(
    run: Callable[[], object],
    state: Callable[[], Mapping[str, Any]],
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[str]:
    """The names of what a call changes of a state.

    Args:
        run: the call.
        state: gives the state.
        context: in which it is called.
    """
    with context():
        before = state()
        run()
        return changed(before, state())


_NONE = object()


def _leaves(name: str, value: Any, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, PLAIN):
        yield name, value
        return
    if isinstance(value, CONSTANT) or depth == 0 or id(value) in seen:
        return
    seen = seen | {id(value)}
    if isinstance(value, Tensor):
        yield name, value.detach().clone()
    elif isinstance(value, np.ndarray):
        yield name, value.copy()
    elif isinstance(value, nn.Module):
        return  # it is no part of this module, and compared with its owner
    elif isinstance(value, Mapping):
        yield f"{name} (its size)", len(value)
        for key, item in value.items():
            yield from _leaves(f"{name}[{key!r}]", item, seen, depth - 1)
    elif isinstance(value, list | tuple | set | frozenset | deque):
        yield f"{name} (its size)", len(value)
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        for position, item in enumerate(items):
            yield from _leaves(f"{name}[{position}]", item, seen, depth - 1)
    elif type(value).__module__ == "itertools":
        yield name, repr(value)
    else:
        for attribute, item in getattr(value, "__dict__", {}).items():
            yield from _leaves(f"{name}.{attribute}", item, seen, depth - 1)
