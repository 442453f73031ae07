"""Finds the line of a plugin that did something, by executing it again line by line."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from ganvae_kit.places import Owns, Place, place_of_caller
from ganvae_kit.state import changed


def line_that(run: Callable[[], object], owns: Owns, happened: Callable[[FrameType], bool]) -> Place | None:
    """The line of the plugin's own files after which ``happened`` is true for the first time; None if it never is.

    Args:
        run: what to execute. What it raises is ignored: it has been executed before.
        owns: which files count.
        happened: called with the frame before each of their lines, and at the end of each function.
    """
    found: Place | None = None
    last: Place | None = None

    def each_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal found, last
        if found is None and last is not None and happened(frame):
            found = last
        last = Place(frame.f_code.co_filename, frame.f_lineno)
        if event == "return":  # what happens next belongs to the caller's line
            last = place_of_caller(owns, frame.f_back) or last
        return each_line

    traced(run, owns, each_line)
    if found is None and last is not None and happened(sys._getframe()):  # pyright: ignore[reportPrivateUsage]
        found = last
    return found


def line_of_return(run: Callable[[], object], owns: Owns, function: Callable[..., Any]) -> Place | None:
    """The line from which a function returned last."""
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    found: Place | None = None

    def each_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal found
        if event == "return" and frame.f_code is code:
            found = Place(frame.f_code.co_filename, frame.f_lineno)
        return each_line

    traced(run, owns, each_line)
    return found


def line_not_finite(run: Callable[[], object], owns: Owns) -> Place | None:
    """The first line that assigned a tensor which is not finite to a variable, or returned one."""

    def happened(frame: FrameType) -> bool:
        return any(
            isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all())
            for value in frame.f_locals.values()
        )

    return line_that(run, owns, happened)


def traced(run: Callable[[], object], owns: Owns, each_line: Callable[[FrameType, str, Any], Any]) -> None:
    """Execute, and call ``each_line`` for each line of the plugin's own files, in place of any other tracer."""

    def begin(frame: FrameType, event: str, argument: Any) -> Any:
        return each_line if owns(frame.f_code.co_filename) else None

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        with suppress(Exception):
            run()
    finally:
        sys.settrace(before)


def differ(first: Tensor, second: Tensor, relative: float, atol: float = 1e-12) -> bool:
    """Whether two tensors of one shape differ by more than rounding."""
    scale = max(float(first.abs().max()), float(second.abs().max())) if first.numel() else 0.0
    return not torch.allclose(first, second, rtol=0.0, atol=relative * scale + atol, equal_nan=True)


def moved_by(
    run: Callable[[], object],
    state: Callable[[], Mapping[str, Any]],
    owns: Owns,
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[list[str], Place | None]:
    """The names of what a call changes of a state, and the line that did it, found by calling it once more.

    Args:
        run: the call.
        state: gives the state.
        owns: which files are the plugin's.
        context: in which it is called.
    """
    with context():
        before = state()
        run()
        names = changed(before, state())
    if not names:
        return [], None
    with context():
        before = state()
        return names, line_that(run, owns, lambda frame: bool(changed(before, state())))
