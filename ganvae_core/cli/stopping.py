"""Signals that ask a process to stop, at any moment of it. Imports nothing heavy."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from ganvae_core.engine.environment import is_other_rank

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


def stop_signals() -> list[signal.Signals]:
    """SIGINT, SIGTERM, and SIGHUP unless it is ignored, as under nohup."""
    found = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


@contextmanager
def handling_stops(handler: Handler) -> Generator[None]:
    """Handle these signals while the context lasts; only the main thread can, and other threads leave them alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in stop_signals()}
    try:
        yield
    finally:
        for number, previous in before.items():
            if signal.getsignal(number) is handler:  # not where the process is ending
                signal.signal(number, previous)


def ignore_stops() -> None:
    """Ignore these signals until the process has ended, which it is about to do with an exit code that counts."""
    if threading.current_thread() is threading.main_thread():
        for number in stop_signals():
            signal.signal(number, signal.SIG_IGN)


def stop_now(number: int, frame: FrameType | None) -> None:
    """Raise ``KeyboardInterrupt`` with the signal's number; ``SystemExit`` in other ranks than 0, which print nothing.

    While a module is imported the process exits at once: an exception there may abort it, or make an import fail as if
    a package were broken.
    """
    if is_importing(frame):
        if not is_other_rank():
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"stopped.\n")
        os._exit(128 + number)
    if is_other_rank():
        raise SystemExit(128 + number)
    raise KeyboardInterrupt(number)


def exit_code(error: BaseException) -> int:
    """128 and the number of the signal that an interrupt, or click's error for one, stands for; SIGINT if unknown."""
    found = error if isinstance(error, KeyboardInterrupt) else error.__cause__
    given = found.args[0] if found is not None and found.args else signal.SIGINT
    return 128 + (given if isinstance(given, int) else signal.SIGINT)


def is_importing(frame: FrameType | None) -> bool:
    """Whether a stack of frames runs through Python's import machinery."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
