"""The columns of a table as inputs of a model, and back: ``Field`` says how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.types import Field

DAY = 86_400.0
MIXING = math.sqrt(2) * 1e3


@final
class FieldCodec:
    """Rows of fields (B, C) to x (B, D), on one device; all numbers at once, and all choices at once.

    Args:
        fields: the columns, in the order of both.
        device: of the rows.
    """

    def __init__(self, fields: Sequence[Field], device: torch.device) -> None:
        self.width = sum(field.width for field in fields)
        exact = torch.float32 if device.type == "mps" else torch.float64
        numbers = [(at, field) for at, field in enumerate(fields) if field.numbers]
        chosen = [(at, field) for at, field in enumerate(fields) if not field.numbers]

        def whole(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        def padded(values: Sequence[Sequence[float]], fill: float) -> Tensor:
            longest = max([1, *map(len, values)])
            full = [[*row, *[fill] * (longest - len(row))] for row in values]
            return torch.tensor(full, dtype=exact, device=device).reshape(len(values), longest)

        each = [field for _, field in numbers]
        self._column, self._position = whole([at for at, _ in numbers]), whole([f.start for f in each])
        self._values = padded([[value for value, _ in field.knots] for field in each], math.inf)
        self._numbers = padded([[number for _, number in field.knots] for field in each], math.inf)
        self._last = whole([len(field.knots) - 1 for field in each])[:, None]
        self._spikes = padded([field.spikes for field in each], math.nan)
        self._means = padded([[mean for mean, _ in field.modes] for field in each], math.inf)
        self._scales = padded([[scale for _, scale in field.modes] for field in each], 1.0)
        self._modes = whole([len(field.modes) for field in each])[:, None]
        # Where a choice goes that has no position of its own: beyond the end of x, where it is cut off.
        self._choice = whole([f.start + f.numbers if f.choices else self.width for f in each])[:, None]
        self._gap = whole([f.start + f.width - 1 if f.missing else self.width for f in each])[:, None]
        self._has_choices = any(field.choices for field in each)
        self._cycles = [
            (at, field.start + 1 + 2 * number, period)
            for at, field in numbers
            for number, period in enumerate(field.cycles)
        ]
        self._chosen, self._start = whole([at for at, _ in chosen]), whole([f.start for _, f in chosen])
        self._most = whole([f.width - 1 - f.missing for _, f in chosen])
        self._none = whole([f.start + f.width - 1 if f.missing else self.width for _, f in chosen])
        self._owner = whole([at for at, field in enumerate(fields) for _ in range(field.width)])

    def mask(self, observed: Tensor | None) -> Tensor | None:
        """(B, C) -> (B, D) bool: that of each cell for all of its positions."""
        return None if observed is None else observed.index_select(1, self._owner)

    def x(self, rows: Tensor) -> Tensor:
        """(B, C) float64 -> (B, D) in torch's default type; zero for a missing cell that is not learned."""
        count, dtype = len(rows), torch.get_default_dtype()
        x = torch.zeros(count, self.width + 1, dtype=dtype, device=rows.device)
        if len(self._column):
            values = rows[:, self._column].T.contiguous().to(self._values.dtype)  # (F, B)
            number, choice = self._number(values)
            x.scatter_(1, self._position.expand(count, -1), number.T.to(dtype))
            if self._has_choices:
                x.scatter_(1, choice.T, 1.0)
        for column, position, period in self._cycles:
            time = rows[:, column] if period <= DAY else DAY * (rows[:, column] / DAY).floor()
            angle = time.remainder(period) * (2 * math.pi / period)
            parts = torch.stack([angle.sin(), angle.cos()], 1)
            x[:, position : position + 2] = parts.nan_to_num().to(dtype)
        if len(self._chosen):
            codes = rows[:, self._chosen]
            position = self._start + torch.minimum(codes.nan_to_num().long(), self._most)
            x.scatter_(1, torch.where(codes.isnan(), self._none, position), 1.0)
        return x[:, :-1]

    def _number(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(F, B) values -> their numbers in x, and the positions of their choices."""
        after = torch.searchsorted(self._values, values).clamp(min=1).minimum(self._last)
        v0, v1 = self._values.gather(1, after - 1), self._values.gather(1, after)
        n0, n1 = self._numbers.gather(1, after - 1), self._numbers.gather(1, after)
        number = n0 + (values - v0) / (v1 - v0) * (n1 - n0)
        missing = values.isnan()
        mode = torch.zeros_like(after)
        if self._means.shape[1] > 1:
            distance = ((number[:, :, None] - self._means[:, None]) / self._scales[:, None]).abs()
            mode = distance.nan_to_num(math.inf).argmin(2)
            number = (number - self._means.gather(1, mode)) / self._scales.gather(1, mode)
        matches = values[:, :, None] == self._spikes[:, None]
        spike = matches.any(2)
        state = torch.where(spike, self._modes + matches.int().argmax(2), mode)
        choice = torch.where(
            missing, self._gap, torch.where(self._choice < self.width, self._choice + state, self.width)
        )
        return torch.where(missing | spike, 0.0, number), choice


def rows_of_fields(x: np.ndarray, fields: Sequence[Field]) -> np.ndarray:
    """x (N, D) of a model, draws or means -> rows (N, C) float64 as a source has them; NaN is a missing cell.

    Numbers are kept within the bounds of their field and rounded to its step. A position that several rare categories
    share becomes one of them, as often as in the data, as a function of the row.
    """
    rows = np.empty((len(x), len(fields)))
    x = x.astype(np.float64)
    for column, field in enumerate(fields):
        part = x[:, field.start : field.start + field.width]
        state = part[:, field.numbers :].argmax(1) if field.choices else np.zeros(len(x), np.int64)
        if field.numbers:
            rows[:, column] = _value(part, np.minimum(state, len(field.modes) - 1), field)
            for number, spike in enumerate(field.spikes):
                rows[state == field.ordinary + number, column] = spike
        else:
            rows[:, column] = state if _own_positions(field) else _shared(state, x, field)
        if field.missing:
            rows[state == field.choices - 1, column] = np.nan
    return rows


def _own_positions(field: Field) -> bool:
    return len(field.categories) <= field.choices - field.missing


def _shared(state: np.ndarray, x: np.ndarray, field: Field) -> np.ndarray:
    """Categories for choices of which the last one stands for several."""
    last = field.choices - 1 - field.missing
    shares = np.cumsum(field.shares[last:])
    where = np.modf(np.abs(x @ np.sqrt(np.arange(2, x.shape[1] + 2))) * MIXING)[0]
    rare = last + np.searchsorted(shares[:-1] / shares[-1], where, side="right")
    return np.where(state == last, rare, state)


def _value(part: np.ndarray, mode: np.ndarray, field: Field) -> np.ndarray:
    """The values of numbers, and dates, from their part (N, width) of x.

    A number of a mean is that of ordinary cells times their probability, and is divided by it.
    """
    mean, scale = np.array(field.modes).T
    values, numbers = np.array(field.knots).T
    if field.kind == "constant":
        return np.full(len(part), values[0])
    number = part[:, 0]
    if field.choices:
        ordinary = part[:, field.numbers : field.numbers + field.ordinary].sum(1)
        number = number / np.clip(ordinary, 1 / field.choices, 1)
    number = number * scale[mode] + mean[mode]
    after = np.clip(np.searchsorted(numbers, number), 1, len(numbers) - 1)
    share = (number - numbers[after - 1]) / (numbers[after] - numbers[after - 1])
    value = values[after - 1] + share * (values[after] - values[after - 1])
    if field.cycles:
        value = _on_cycles(value, part, field)
    if field.step:
        value = np.rint(value / field.step) * field.step
        value = np.round(value, max(0, math.ceil(-math.log10(field.step))) if field.step < 1 else 0)
    return value if field.bounds is None else np.clip(value, *field.bounds)


def _on_cycles(value: np.ndarray, part: np.ndarray, field: Field) -> np.ndarray:
    """The times nearest to ``value`` (seconds) at the place in the week, and at the time of day, that x gives."""
    for number, period in enumerate(field.cycles):
        sine, cosine = part[:, 1 + 2 * number], part[:, 2 + 2 * number]
        place, day = np.arctan2(sine, cosine) / (2 * math.pi) * period, np.floor(value / DAY)
        if period > DAY:
            value = DAY * _nearest(day, np.rint(place / DAY), period / DAY)
        else:
            value = DAY * day + np.mod(place, period)
    return value


def _nearest(value: np.ndarray, place: np.ndarray, period: float) -> np.ndarray:
    """The number nearest to ``value`` that is ``place`` modulo ``period``."""
    return value + np.mod(place - value + period / 2, period) - period / 2
