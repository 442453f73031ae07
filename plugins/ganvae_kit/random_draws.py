"""Random draws, written down and given again: to one batch, and in its halves."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ganvae_kit.checks import CheckFailure, NotChecked
from ganvae_kit.places import Owns, Place, place_of_caller
from ganvae_kit.state import state_of_generator

SEEDING = ("manual_seed", "seed")
Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Draw:
    """One random operation of torch.

    Args:
        operation: its name in ATen.
        values: that it drew.
        numbers: its whole-number arguments, such as the size of a permutation.
        own_generator: whether it drew from a generator that it was given.
        place: the plugin's line.
    """

    operation: str
    values: Tensor
    numbers: tuple[int, ...]
    own_generator: bool
    place: Place | None


class Draws(TorchDispatchMode):
    """Writes down every random draw: torch marks the operations that draw (``Tag.nondeterministic_seeded``).

    Args:
        owns: which files are the plugin's.
        substitute: gives the values of a draw in place of those drawn, by its number; None leaves it as it is.
    """

    def __init__(self, owns: Owns, substitute: Callable[[int, Draw], Tensor | None] | None = None) -> None:
        super().__init__()
        self.owns = owns
        self.substitute = substitute
        self.draws: list[Draw] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        outcome = func(*args, **kwargs)
        if torch.Tag.nondeterministic_seeded not in func.tags or not isinstance(outcome, Tensor):
            return outcome
        numbers = tuple(value for value in args if type(value) is int)
        place = place_of_caller(self.owns, sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        draw = Draw(str(func), outcome.detach().clone(), numbers, kwargs.get("generator") is not None, place)
        self.draws.append(draw)
        values = self.substitute(len(self.draws) - 1, draw) if self.substitute else None
        if values is None:
            return outcome
        # In-place operations return what they wrote to.
        return (
            outcome.copy_(values) if str(func).partition(".")[2].partition(".")[0].endswith("_") else values
        )


@contextmanager
def drawn(owns: Owns) -> Generator[list[Draw]]:
    """While this lasts, every random draw of torch is put into the list."""
    with Draws(owns) as mode:
        yield mode.draws


@contextmanager
def seedings(owns: Owns) -> Generator[list[Place | None]]:
    """While this lasts, the plugin's lines that seed torch's default generator are put into the list."""
    places: list[Place | None] = []
    before = {(module, name): getattr(module, name) for module in (torch, torch.random) for name in SEEDING}

    def noticing(function: Callable[..., Any]) -> Callable[..., Any]:
        def noticed(*arguments: Any, **named: Any) -> Any:
            if owns(sys._getframe(1).f_code.co_filename):  # pyright: ignore[reportPrivateUsage]
                places.append(place_of_caller(owns))
            return function(*arguments, **named)

        return noticed

    for (module, name), function in before.items():
        setattr(module, name, noticing(function))
    try:
        yield places
    finally:
        for (module, name), function in before.items():
            setattr(module, name, function)


class Halves:
    """The same random numbers for a batch and for its two halves: row i of a half gets those of its row in the batch.

    A draw belongs to rows where its size follows the batch's: (rows, …) is cut in two. Where it is a multiple of it, as
    for several draws a row, their rows are unknown, so all get the same. Other draws are shared.

    Args:
        whole: draws for a batch of ``rows``.
        half: draws for ``rows / 2``, by the same code.
        rows: of the batch.
    """

    def __init__(self, whole: list[Draw], half: list[Draw], rows: int) -> None:
        if [draw.operation for draw in whole] != [draw.operation for draw in half]:
            raise NotChecked(
                f"a batch of {rows} makes {len(whole)} random draws and one of {rows // 2} makes {len(half)}:"
                " they cannot be held against each other"
            )
        self.rows = rows
        self.values: list[Tensor] = []
        self.axes: list[int | None] = []
        for one, other in zip(whole, half, strict=True):
            axis = self._axis(one, other)
            values = one.values
            if self._chooses_rows(one, other):
                values = torch.arange(rows - 1, -1, -1)
            elif axis is not None and values.shape[axis] != rows:
                values = values.narrow(axis, 0, 1).expand_as(values).clone()
            self.values.append(values)
            self.axes.append(axis)

    def of_whole(self, number: int, draw: Draw) -> Tensor:
        """The values of a draw for the whole batch."""
        return self.values[number].clone()

    def of_half(self, which: int) -> Callable[[int, Draw], Tensor]:
        """The values of a draw for the first half (0) or the second (1)."""

        def substitute(number: int, draw: Draw) -> Tensor:
            values, axis = self.values[number], self.axes[number]
            if draw.operation.startswith("aten.randperm") and axis is not None:
                return torch.arange(self.rows // 2 - 1, -1, -1)
            if axis is None:
                return values.clone()
            size = values.shape[axis] // 2
            return values.narrow(axis, which * size, size).clone()

        return substitute

    def _axis(self, whole: Draw, half: Draw) -> int | None:
        """The axis of a draw that holds the rows."""
        one, other = whole.values.shape, half.values.shape
        if one == other:
            return None
        axes = [axis for axis, size in enumerate(one) if axis < len(other) and size != other[axis]]
        fits = len(one) == len(other) and len(axes) == 1 and one[axes[0]] == 2 * other[axes[0]]
        if not fits or one[axes[0]] % self.rows:
            raise NotChecked(
                f"a random draw has the shape {tuple(one)} for {self.rows} rows and {tuple(other)} for half of them:"
                " they cannot be held against each other"
            )
        return axes[0]

    def _chooses_rows(self, whole: Draw, half: Draw) -> bool:
        """Whether a draw is a permutation of the rows.

        Raises:
            CheckFailure: it draws numbers of rows, which ties them together in any case.
        """
        if whole.operation.startswith("aten.randperm"):
            return whole.numbers != half.numbers
        if (
            whole.operation.startswith("aten.randint")
            and self.rows in whole.numbers
            and whole.numbers != half.numbers
        ):
            raise CheckFailure("it draws numbers of rows, which ties rows together", whole.place,
                               "say so:  Phase(…, couples_rows=True)")  # fmt: skip
        return False


def cut(
    owns: Owns, batches: Sequence[Input], rows: int, run: Callable[[Input], Output]
) -> list[Callable[[], Output]]:
    """Functions that run a batch, its first half and its second half, a row with the same random numbers in each.

    Args:
        owns: which files are the plugin's.
        batches: of ``rows`` rows, and its two halves.
        rows: of the batch.
        run: what is run on them; it makes the same draws each time.

    Raises:
        NotChecked: the draws of the batch and of a half cannot be matched.
    """
    recorded: list[list[Draw]] = []
    for batch in batches[:2]:
        with drawn(owns) as draws:
            run(batch)
        recorded.append(draws)
    halves = Halves(recorded[0], recorded[1], rows)

    def given(batch: Input, substitute: Callable[[int, Draw], Tensor]) -> Output:
        with Draws(owns, substitute):
            return run(batch)

    substitutes = (halves.of_whole, halves.of_half(0), halves.of_half(1))
    return [partial(given, batch, each) for batch, each in zip(batches, substitutes, strict=True)]


def other_generators(owns: Owns) -> dict[str, Any]:
    """The states of NumPy's and Python's own generators, and of those that a plugin's modules keep as globals."""
    states: dict[str, Any] = {
        "NumPy's global generator": state_of_generator(np.random.mtrand._rand),  # pyright: ignore
        "Python's global generator": random.getstate(),
    }
    for name, module in list(sys.modules.items()):
        if owns(getattr(module, "__file__", None) or ""):
            for attribute, value in list(vars(module).items()):
                state = state_of_generator(value)
                if state is not None:
                    states[f"{name}.{attribute}"] = state
    return states
