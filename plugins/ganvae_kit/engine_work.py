"""Notices when a loss does what is the engine's to do."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

from ganvae_kit.places import Owns, Place, place_of_caller

BACKWARD = "the engine calls backward, on what the loss returns; a penalty uses torch.autograd.grad(create_graph=True)"
READS = "it would wait for the device in every step: keep numbers in tensors, and branch with torch.where"
STEP = "the engine updates the parameters; what a loss cannot do itself goes into Phase(after=…)"
WHY = {
    "backward": BACKWARD, "item": READS, "tolist": READS, "numpy": READS, "__bool__": READS, "__float__": READS,
    "__int__": READS, "__index__": READS,
}  # fmt: skip
WORDS = {
    "__bool__": "bool(), as `if` does,",
    "__float__": "float()",
    "__int__": "int()",
    "__index__": "an index",
}
BETWEEN = ("torch/_tensor.py", "torch/overrides.py", "torch/utils/_contextlib.py")
"""Files of torch that lie between a method of a tensor and whoever called it."""


@dataclass(frozen=True)
class Call:
    """A call that a loss must not make."""

    name: str
    place: Place | None
    why: str


class _Watch(TorchFunctionMode):
    def __init__(self, owns: Owns) -> None:
        super().__init__()
        self.owns = owns
        self.calls: list[Call] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in WHY:
            caller = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
            while caller.f_back and caller.f_code.co_filename.replace("\\", "/").endswith(BETWEEN):
                caller = caller.f_back
            if self.owns(caller.f_code.co_filename):  # libraries, such as torch.distributions, are left alone
                shown = WORDS.get(name, f"{name}()")
                self.calls.append(Call(shown, place_of_caller(self.owns, caller), WHY[name]))
        return func(*args, **(kwargs or {}))


@contextmanager
def engine_work(owns: Owns) -> Generator[list[Call]]:
    """While this lasts, such calls from a plugin's own files, and any optimizer's step, are put into the list."""
    with _Watch(owns) as watch:

        def stepped(optimizer: Any, args: Any, kwargs: Any) -> None:
            watch.calls.append(Call(f"{type(optimizer).__name__}.step()", place_of_caller(owns), STEP))

        handle = register_optimizer_step_pre_hook(stepped)
        try:
            yield watch.calls
        finally:
            handle.remove()


class _WatchGradients(TorchFunctionMode):
    def __init__(self, owns: Owns) -> None:
        super().__init__()
        self.owns = owns
        self.places: list[Place | None] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.autograd.grad and kwargs.get("create_graph"):
            self.places.append(place_of_caller(self.owns))
        return func(*args, **kwargs)


@contextmanager
def double_gradients(owns: Owns) -> Generator[list[Place | None]]:
    """While this lasts, the lines that ask for a gradient that can be differentiated again are put into the list."""
    with _WatchGradients(owns) as watch:
        yield watch.places
