"""Calls callbacks and handles their failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, final

from ganvae_core.engine.state import TrainingState
from ganvae_core.errors import GanvaeError, TrainingError
from ganvae_core.training import Callback, TrainingView


@final
class Callbacks:
    """The callbacks of a run, in their order.

    Args:
        callbacks: a list that may grow until training starts.
        view: gives the training as it is now.
    """

    def __init__(self, callbacks: Sequence[Callback], view: Callable[[], TrainingView]) -> None:
        self.callbacks = list(callbacks)
        self._view = view

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook of every callback.

        Raises:
            TrainingError: one failed; the message names it.
        """
        for callback in list(self.callbacks):
            with self._guarded(callback, hook):
                getattr(callback, hook)(self._view(), *arguments)

    def call_warnings(self, state: TrainingState) -> None:
        """Pass warnings since the last record to ``on_step``, in a separate record."""
        if "warnings" in state.pending:
            self.call("on_step", state.record(state.take_pending()))

    def states(self) -> list[dict[str, Any]]:
        """The callbacks' states for a checkpoint, by class.

        Raises:
            TrainingError: one failed, or its state is not JSON.
        """
        states: list[dict[str, Any]] = []
        for callback in list(self.callbacks):
            with self._guarded(callback, "state_dict"):
                state = json.loads(
                    json.dumps(callback.state_dict())
                )  # a copy, written while training goes on
                if state:
                    states.append({"callback": type(callback).__qualname__, "state": state})
        return states

    def restore(self, states: list[dict[str, Any]]) -> None:
        """Restore each callback from the stored state of its class, and remove that from the list.

        States are matched by class, since a resumed run may have other callbacks.

        Raises:
            TrainingError: one failed.
        """
        for callback in list(self.callbacks):
            name = type(callback).__qualname__
            own = next((kept for kept in states if kept["callback"] == name), None)
            if own is not None:
                states.remove(own)
                with self._guarded(callback, "load_state_dict"):
                    callback.load_state_dict(own["state"])

    @contextmanager
    def _guarded(self, callback: Callback, hook: str) -> Generator[None]:
        """Name the callback that an exception comes from; ganvae's own errors are raised unchanged."""
        try:
            yield
        except GanvaeError:
            raise
        except Exception as error:
            view, name = self._view(), type(callback).__qualname__
            what = (
                f"step {view.step:,}: the callback {name} failed in {hook}: {type(error).__name__}: {error}"
            )
            if hook != "on_error":
                raise TrainingError(
                    f"{what}; training has stopped.", "leave it out:  callbacks=[]"
                ) from error
            view.warn(what)  # another error is being raised, which is the one to show
