"""Records calls of torch that a plugin's code makes: the engine's work, tensors on the default device, penalties."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

from ganvae_kit.places import Owns, Place, place_of_caller

BACKWARD = "the engine calls backward, on what the loss returns; a penalty uses torch.autograd.grad(create_graph=True)"
READS = "it would wait for the device in every step: keep numbers in tensors, and branch with torch.where"
STEP = "the engine updates the parameters; what a loss cannot do itself goes into Phase(after=…)"
READING = {
    "item": "item()", "tolist": "tolist()", "numpy": "numpy()", "__bool__": "bool(), as `if` does,",
    "__float__": "float()", "__int__": "int()", "__index__": "an index",
}  # fmt: skip
FACTORIES = frozenset(
    getattr(torch, name)
    for name in (
        "arange", "empty", "eye", "full", "linspace", "logspace", "normal", "ones", "rand", "randint", "randn",
        "randperm", "range", "tensor", "tril_indices", "triu_indices", "zeros",
    )
)  # fmt: skip
BETWEEN = ("torch/_tensor.py", "torch/overrides.py", "torch/utils/_contextlib.py")
"""Files of torch that lie between a method of a tensor and its caller."""


@dataclass(frozen=True)
class Call:
    """A call, its line in the plugin, and why it should not be made."""

    name: str
    place: Place | None
    why: str = ""


class Calls(TorchFunctionMode):
    """Records calls while it is active.

    Args:
        owns: which files are the plugin's.
        judge: (function, arguments, keyword arguments, result) -> the call's name and why it is wrong, or None.
        through: also record calls that the plugin makes through a library.
    """

    def __init__(
        self, owns: Owns, judge: Callable[..., tuple[str, str] | None], through: bool = False
    ) -> None:
        super().__init__()
        self.owns, self.judge, self.through = owns, judge, through
        self.found: list[Call] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        wrong = self.judge(func, args, kwargs, made)
        if wrong:
            caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
            while caller.f_back and caller.f_code.co_filename.replace("\\", "/").endswith(BETWEEN):
                caller = caller.f_back
            if self.through or self.owns(caller.f_code.co_filename):
                self.found.append(Call(wrong[0], place_of_caller(self.owns, caller), wrong[1]))
        return made


@contextmanager
def engine_work(owns: Owns) -> Generator[list[Call]]:
    """Record ``backward``, optimizer steps and calls that read a tensor's value."""

    def judge(func: Any, args: Any, kwargs: Any, made: Any) -> tuple[str, str] | None:
        name = getattr(func, "__name__", "")
        if name == "backward":
            return "backward()", BACKWARD
        return (READING[name], READS) if name in READING else None

    with Calls(owns, judge) as calls:

        def stepped(optimizer: Any, args: Any, kwargs: Any) -> None:
            calls.found.append(Call(f"{type(optimizer).__name__}.step()", place_of_caller(owns), STEP))

        handle = register_optimizer_step_pre_hook(stepped)
        try:
            yield calls.found
        finally:
            handle.remove()


@contextmanager
def double_gradients(owns: Owns) -> Generator[list[Call]]:
    """Record calls for a gradient that can be differentiated again."""

    def judge(func: Any, args: Any, kwargs: Any, made: Any) -> tuple[str, str] | None:
        return ("grad", "") if func is torch.autograd.grad and kwargs.get("create_graph") else None

    with Calls(owns, judge, through=True) as calls:
        yield calls.found


@contextmanager
def unplaced(owns: Owns) -> Generator[list[Call]]:
    """Record calls that make a tensor of one axis or more without a device."""

    def judge(func: Any, args: Any, kwargs: Any, made: Any) -> tuple[str, str] | None:
        # A number () may stay on the CPU: torch combines it with tensors on any device.
        if func not in FACTORIES or kwargs.get("device") is not None or not made.dim():
            return None
        follows = func is torch.normal and any(isinstance(value, Tensor) for value in args)
        return None if follows else (f"torch.{func.__name__}", "")

    with Calls(owns, judge) as calls:
        yield calls.found
