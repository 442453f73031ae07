"""Random draws, written down and given again: to one batch, and in its halves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ganvae_kit.checks import CheckFailure, NotChecked
from ganvae_kit.places import Owns, Place, place_of_caller

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
    whole, half = recorded
    if [draw.operation for draw in whole] != [draw.operation for draw in half]:
        raise NotChecked(
            f"a batch of {rows} makes {len(whole)} random draws and one of {rows // 2} makes {len(half)}:"
            " they cannot be compared"
        )

    def given(batch: Input, part: slice) -> Output:
        values = [values_for(one, other, rows, part) for one, other in zip(whole, half, strict=True)]
        with Draws(owns, lambda number, draw: values[number]):
            return run(batch)

    parts = (slice(0, rows), slice(0, rows // 2), slice(rows // 2, rows))
    return [partial(given, batch, part) for batch, part in zip(batches, parts, strict=True)]


def values_for(whole: Draw, half: Draw, rows: int, part: slice) -> Tensor:
    """What a draw gives to a part of a batch.

    The axis of the rows is the one that is shorter for half of them. Where it is a multiple of them, as for several
    draws a row, which row each is for is unknown, so all are alike. A draw without such an axis is shared.

    Args:
        whole: the draw for a batch of ``rows``.
        half: for half of them, by the same code.
        rows: of the batch.
        part: of them.

    Raises:
        NotChecked: its shape does not follow the number of rows.
        CheckFailure: it draws row numbers.
    """
    values, other, count = whole.values, half.values, part.stop - part.start
    if whole.operation.startswith("aten.randint") and rows in whole.numbers and whole.numbers != half.numbers:
        message = "it draws row numbers, which ties rows together"
        raise CheckFailure(message, "declare it:  Phase(…, couples_rows=True)", place=whole.place)
    if whole.operation.startswith("aten.randperm") and whole.numbers != half.numbers:
        return torch.arange(count - 1, -1, -1)
    if values.shape == other.shape:
        return values.clone()
    sizes = zip(values.shape, other.shape, strict=False)
    axis = next((n for n, (all_rows, half_of_them) in enumerate(sizes) if all_rows != half_of_them), 0)
    if values.dim() != other.dim() or values.shape[axis] % rows or 2 * other.numel() != values.numel():
        raise NotChecked(
            f"a random draw has the shape {tuple(values.shape)} for {rows} rows and {tuple(other.shape)} for half of"
            " them: they cannot be compared"
        )
    if values.shape[axis] == rows:
        return values.narrow(axis, part.start, count).clone()
    size = values.shape[axis] * count // rows
    return values.narrow(axis, 0, 1).repeat_interleave(size, axis)
