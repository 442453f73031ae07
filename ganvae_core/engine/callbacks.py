"""Telling callbacks what happens, and what follows where one of them fails."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ganvae_core.engine.settings import DISABLE
from ganvae_core.errors import GanvaeError, TrainingError
from ganvae_core.interfaces import Callback

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine


def tell(engine: Engine, event: str, *arguments: Any) -> None:
    """Call a hook of every callback, in their order.

    Raises:
        TrainingError: one failed, and the policy is to stop; it is named.
    """
    for callback in list(engine.callbacks):
        with _answering_for(engine, callback, event):
            getattr(callback, event)(engine, *arguments)


def states_of(engine: Engine) -> list[dict[str, Any]]:
    """What the callbacks want stored with a checkpoint, by class.

    Raises:
        TrainingError: one failed, or gave what JSON cannot hold, and the policy is to stop; it is named.
    """
    states: list[dict[str, Any]] = []
    for callback in list(engine.callbacks):
        with _answering_for(engine, callback, "state_dict"):
            state = json.loads(json.dumps(callback.state_dict()))  # a copy, written while training goes on
            if state:
                states.append({"callback": type(callback).__qualname__, "state": state})
    return states


def restore(engine: Engine) -> None:
    """Give each callback the state that one of its class had; what is given is no longer kept.

    By class, since the callbacks of a run that goes on need not be those that it was started with.

    Raises:
        TrainingError: one failed, and the policy is to stop; it is named.
    """
    for callback in list(engine.callbacks):
        name = type(callback).__qualname__
        own = next((kept for kept in engine.callback_states if kept["callback"] == name), None)
        if own is not None:
            engine.callback_states.remove(own)
            with _answering_for(engine, callback, "load_state_dict"):
                callback.load_state_dict(own["state"])


@contextmanager
def _answering_for(engine: Engine, callback: Callback, hook: str) -> Generator[None]:
    """Turn whatever a callback raises into what the policy says; ganvae's own errors say themselves what is wrong."""
    try:
        yield
    except GanvaeError:
        raise
    except Exception as error:
        name = type(callback).__qualname__
        what = f"step {engine.step_index:,}: the callback {name} failed in {hook}: {type(error).__name__}: {error}"
        # While another error is on its way, that one is what the person is to see.
        if hook != "on_error" and engine.settings.on_callback_error != DISABLE:
            raise TrainingError(
                f"{what}; training has stopped.",
                "go on without it when it fails:  engine.on_callback_error=disable",
                "or leave it out:  callbacks=[]",
            ) from error
        engine.callbacks.remove(callback)
        engine.warn(f"{what}; training goes on without it" if hook != "on_error" else what)
