"""The specification of data, derived from an array's shape, type and values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ganvae_core.builtin.sources.storage import Joined
from ganvae_core.errors import DataError
from ganvae_core.types import DataSpec, Units

Scale = Literal["auto", "pixels", "range", "standardise", "none"]
"""How values become a model's: found from them, divided by 255, lowest to highest onto 0 to 1, or mean 0 and
deviation 1 (of each column of flat rows, and of each channel where channels differ), or as they are."""

IMAGE_CHANNELS = (1, 2, 3, 4)
LEAST_PIXELS = 64
"""Flat rows of at least as many values may be flattened images."""
MOST_LEVELS = 32
"""Bytes up to this are masks, counts or numbers of classes, and no pixels of 0 to 255."""
HALF = 127
"""Whole numbers up to 255 are pixels only if some are beyond the half."""
WINDOW = (12, 3)
"""Rows (T, C) narrower than 12, and at least 3 times as long as wide, are windows of a series and no images."""
MOST_CHANNELS = 64
APART = 4.0
"""Channels are scaled apart where the values of all span so many times those of one."""

MOST_NOTES = 5
_PIECE_VALUES = 2**21


class Scaling(NamedTuple):
    """Units, the range of x in them, the reason, notes, and whether flat rows are flattened images."""

    units: Units
    range: tuple[float, float] | None
    why: str
    notes: tuple[str, ...] = ()
    flattened: bool = False


PIXELS = Scaling(Units(scale=(255.0,), dtype="uint8"), (0.0, 1.0), "bytes, so pixels")


class Description(NamedTuple):
    """Data and its specification, as ``StoredSource`` takes them.

    Args:
        x: (N, *X), a view of the array that was described.
        spec: what it is.
        notes: sentences for users about it.
        why: what was decided about its values, why, and which option decides otherwise.
        observed: (N, *X) bool, false where a value is missing; None where all are there.
    """

    x: np.ndarray | Joined
    spec: DataSpec
    notes: tuple[str, ...] = ()
    why: str = ""
    observed: np.ndarray | None = None


def scaling_of_images(images: Any, where: str, scale: Scale) -> Scaling:
    """How values of images (N, C, H, W), which are read in slices, become a model's, by the rules for arrays.

    The first rows show that bytes are pixels, mostly; all rows are read where they do not, or extremes are needed.

    Raises:
        DataError: the values cannot be scaled in this way.
    """
    found = _scaled(_Values(images, where), "image", scale)
    return found._replace(why=explained(found.why, scale))


def describe(x: np.ndarray | Joined, where: str, *, scale: Scale = "auto") -> Description:
    """Any array of numbers as rows of images, points, a table or plain arrays.

    Values decide more than the shape: how they are scaled, and whether flat rows are a table or flattened images.

    Args:
        x: (N,), (N, D), (N, H, W), (N, C, H, W), (N, H, W, C) with 1 to 4 channels, or (N, ...); of a masked array
            (``numpy.ma``), masked entries are missing.
        where: what the data is called in an error.
        scale: how values become a model's.

    Raises:
        DataError: there is no row, the values are not numbers, or one of them is NaN or infinite.
    """
    if isinstance(x, Joined):
        arranged = [_arranged(part, where) for part in x.parts]
        rows, modality, notes = Joined([part for part, _, _ in arranged]), *arranged[0][1:]
    else:
        rows, modality, notes = _arranged(x if np.ma.is_masked(x) else np.asarray(x), where)
    found = _scaled(_Values(rows, where), modality, scale)
    observed = ~np.ma.getmaskarray(rows) if isinstance(rows, np.ma.MaskedArray) else None
    spec = DataSpec(
        rows.shape[1:],
        found.range,
        "array" if found.flattened else modality,
        None,
        len(rows),
        units=found.units,
    )
    plain = rows if isinstance(rows, Joined) else np.asarray(rows)
    return Description(plain, spec, (*notes, *found.notes), explained(found.why, scale), observed)


def _arranged(x: np.ndarray, where: str) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """A view with channels first and at least one axis beside the rows'; the modality, and notes on it."""
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise DataError(
            f"{where} holds values of type {x.dtype}, and numbers are expected.",
            "types that can be read: bool, integers, and floating point of up to 64 bits",
        )
    if x.size == 0 or x.ndim == 0:
        raise DataError(f"{where} has no rows: its shape is {x.shape}.")
    notes: tuple[str, ...] = ()
    if x.ndim == 3 and x.dtype.kind == "f" and _is_window(*x.shape[1:]):
        size = f"{x.shape[1]} × {x.shape[2]}"
        notes = (
            f"rows of {size} are read as arrays, such as windows of a series, and not as images:"
            " x[:, None] as the array makes them images",
        )
    elif x.ndim in (1, 3):
        x = x[:, None]
    elif x.ndim == 4 and x.shape[-1] in IMAGE_CHANNELS and x.shape[1] not in IMAGE_CHANNELS:
        x = np.moveaxis(x, -1, 1)
    event = x.shape[1:]
    if len(event) == 1:
        return x, "points" if event == (2,) else "table", notes
    return x, "image" if len(event) == 3 and event[0] in IMAGE_CHANNELS else "array", notes


def _is_window(height: int, width: int) -> bool:
    return min(height, width) < WINDOW[0] and max(height, width) >= WINDOW[1] * min(height, width)


def _scaled(values: _Values, modality: str, scale: Scale) -> Scaling:
    """Units and range of values, chosen by what they are unless a scale is asked for."""
    flat, dtype = len(values.event) == 1, values.x.dtype.name
    unit = Scaling(Units(dtype=dtype), (0.0, 1.0), "")
    if scale == "pixels":
        return Scaling(Units(scale=(255.0,), dtype=dtype), (0.0, 1.0), "")
    if scale == "standardise":
        return values.standardised(-1 if flat else values.axis_apart(modality))
    if scale == "range":
        return values.between(values.axis_apart(modality))
    if scale == "none":
        return values.as_they_are()
    if dtype == "bool":
        return unit._replace(why="true and false")
    few = flat and values.event[0] < LEAST_PIXELS
    if dtype == "uint8" and not few and (values.beyond(HALF if flat else MOST_LEVELS) or values.high == 0):
        why = "flat rows of bytes, so flattened images" if flat else PIXELS.why
        return PIXELS._replace(why=why, flattened=flat)
    low, high = values.low, values.high
    if (low, high) == (0, 1) and values.all(lambda piece: (piece == 0) | (piece == 1)):
        return unit._replace(why="0 and 1 and nothing between")
    if flat:
        if not few and low >= 0 and high <= 1 and values.all(_is_grey):
            return unit._replace(why="flat rows of grey levels, so flattened images", flattened=True)
        return values.standardised(-1)
    if modality == "array" and values.x.dtype.kind == "f":
        return values.standardised(values.axis_apart(modality))
    if low >= -1 and high <= 1:
        return values.as_they_are()
    if low >= 0 and HALF < high <= 255 and values.all(lambda piece: piece == np.rint(piece)):
        return Scaling(Units(scale=(255.0,), dtype=dtype), (0.0, 1.0), "whole numbers up to 255, so pixels")
    if dtype == "uint8":
        note = f"bytes up to {high:g} are not pixels of 0 to 255, so they are scaled by {high:g}:  data.scale=pixels"
        return Scaling(
            Units(scale=(high or 1.0,), dtype=dtype), (0.0, 1.0), f"bytes up to {high:g}", (f"{note} divides by 255",)
        )  # fmt: skip
    return values.between(values.axis_apart(modality))


def _is_grey(piece: np.ndarray) -> np.ndarray:
    """Which values are whole 255ths, as pixels divided by 255 are."""
    levels = piece * 255.0
    return np.abs(levels - np.rint(levels)) < 2e-3


def explained(why: str, scale: Scale) -> str:
    """What was decided, with the option that decides otherwise."""
    if scale != "auto":
        return f"data.scale={scale}"
    return f"{why};  data.scale=range|standardise|pixels|none decides otherwise" if why else ""


def first_of(sentences: Sequence[str], more: str) -> list[str]:
    """The first sentences, and how many more there are, for notes."""
    further = len(sentences) - MOST_NOTES
    return [*sentences[:MOST_NOTES], *([f"{further:,} more {more}"] if further > 0 else [])]


class _Values:
    """Values and what is computed from them, in pieces, so that a mapped array is never held whole.

    Args:
        x: (N, *X), which is read in slices; of a masked array, masked entries are missing.
        where: what the data is called in an error.

    Raises:
        DataError: a value is NaN or infinite.
    """

    def __init__(self, x: Any, where: str) -> None:
        self.x, self.where = x, where
        self.event: tuple[int, ...] = x.shape[1:]
        self._extent: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def low(self) -> float:
        """Lowest value."""
        return float(self.along(None)[0])

    @property
    def high(self) -> float:
        """Highest value."""
        return float(self.along(None)[1])

    def pieces(self) -> Iterator[np.ndarray]:
        """The rows in pieces small enough to compute with."""
        count = max(1, _PIECE_VALUES // math.prod(self.event))
        for start in range(0, len(self.x), count):
            yield self.x[start : start + count]

    def all(self, holds: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Whether something holds of each value that is there."""
        return all(bool(np.ma.filled(holds(piece), True).all()) for piece in self.pieces())

    def beyond(self, limit: int) -> bool:
        """Whether a value is greater than ``limit``. A piece of the rows shows it mostly, before all are read."""
        return any(bool(np.ma.filled(piece > limit, False).any()) for piece in self.pieces())

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value at each place of an event, (*X) each; masked where no row has a value."""
        if self._extent is None:
            lows: list[np.ndarray] = []
            highs: list[np.ndarray] = []
            for number, piece in enumerate(self.pieces()):
                if piece.dtype == np.float16:  # it cannot hold numpy's filling value of masked arrays
                    piece = piece.astype(np.float32)
                lows.append(piece.min(axis=0))
                highs.append(piece.max(axis=0))
                if not np.ma.filled(np.isfinite(lows[-1]) & np.isfinite(highs[-1]), True).all():
                    self._refuse(number * len(next(self.pieces())), piece)
            self._extent = np.ma.stack(lows).min(axis=0), np.ma.stack(highs).max(axis=0)
        return self._extent

    def _refuse(self, start: int, piece: np.ndarray) -> None:
        first = np.argwhere(np.ma.filled(~np.isfinite(piece), False))[0]
        row = start + first[0]
        column = f", column {first[1]}" if piece.ndim == 2 else ""
        place = f"row {row}{column} (counted from 0) {'is' if column else 'holds'}"
        raise DataError(
            f"{self.where}: {place} {piece[tuple(first)]}.",
            "leave such rows out, or put numbers in their place, before training",
            "empty cells of a table are missing values, which models of tables learn:  ganvae run --plugin table-vae"
            " --data x.csv"
            if piece.ndim == 2
            else "",
            "from Python, missing values may be masked:  gv.train(…, data=np.ma.masked_invalid(x))",
        )

    def along(self, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value at each position of an axis of the event, or () of all, in float64."""
        low, high = self.extent()
        axes = self._others(axis)
        lowest, highest = low.min(axis=axes), high.max(axis=axes)
        unseen = np.flatnonzero(np.ma.getmaskarray(lowest))
        if len(unseen):
            place = "" if axis is None else f" at position {unseen[0]}"
            raise DataError(
                f"{self.where}: no row has a value{place}.", "leave out positions that were never observed"
            )
        return np.asarray(lowest, np.float64), np.asarray(highest, np.float64)

    def _others(self, axis: int | None) -> tuple[int, ...]:
        size = len(self.event)
        return tuple(other for other in range(size) if axis is None or other != axis % size)

    def axis_apart(self, modality: str) -> int | None:
        """The axis of channels, where these span such different values that one scale would lose some of them."""
        for axis in (0,) if modality == "image" else (-1, 0):
            if 1 < self.event[axis] <= MOST_CHANNELS:
                low, high = self.along(axis)
                if high.max() - low.min() > APART * (high - low).min():
                    return axis
        return None

    def as_they_are(self) -> Scaling:
        """No scaling; the range is the unit or the symmetric one where values lie in it."""
        units = Units(dtype=self.x.dtype.name)
        if self.low >= 0 and self.high <= 1:
            return Scaling(units, (0.0, 1.0), "within 0 to 1")
        within = self.low >= -1 and self.high <= 1
        return Scaling(units, (-1.0, 1.0) if within else None, "within -1 to 1" if within else "")

    def between(self, axis: int | None) -> Scaling:
        """The lowest to the highest value become 0 to 1, of all values or of each position of an axis."""
        low, high = self.along(axis)
        with np.errstate(over="ignore"):
            width = high - low
        if not np.isfinite(width).all():
            raise DataError(
                f"{self.where}: values from {low.min():g} to {high.max():g} are too far apart to be scaled."
            )
        constant = np.flatnonzero(width == 0).tolist()
        scale = np.where(width == 0, 1.0, width)
        notes = ()
        if constant:
            what = "every value" if axis is None else f"channel {constant[0]}"
            notes = (f"{what} is {low.flat[constant[0]]:g}: kept with scale 1 and restored exactly",)
        why = "one range for all values"
        if axis is not None:
            why = "channels of different scale, each by its own range"
        return Scaling(self._units(low, scale, axis, constant), (0.0, 1.0), why, notes)

    def _units(
        self, offset: np.ndarray, scale: np.ndarray, axis: int | None, constant: Sequence[int]
    ) -> Units:
        return Units(
            tuple(np.atleast_1d(offset).tolist()), tuple(np.atleast_1d(scale).tolist()), self.x.dtype.name,
            tuple(constant), (), -1 if axis is None else axis - len(self.event) if axis >= 0 else axis,
        )  # fmt: skip

    def standardised(self, axis: int | None) -> Scaling:
        """Mean 0 and deviation 1 of all values, or of each position of an axis; a constant one keeps scale 1."""
        low, high = self.along(axis)
        axes = (0, *(1 + other for other in self._others(axis)))
        with np.errstate(all="ignore"):  # an overflow is refused below
            count = np.asarray(sum(np.ma.count(piece, axis=axes) for piece in self.pieces()))
            mean = self._total(axes) / count
            level = mean if axis is None else np.expand_dims(mean, self._others(axis))
            deviation = np.sqrt(self._total(axes, lambda piece: np.square(piece - level)) / count)
        constant = low == high
        offset = np.where(constant, low, mean)
        scale = np.where(constant | (deviation == 0), 1.0, deviation)
        kind = "column" if len(self.event) == 1 else "channel"
        computable = np.atleast_1d(np.isfinite(offset) & np.isfinite(scale))
        if not computable.all():
            column = f"{kind} {int(np.argmin(computable))}"
            raise DataError(f"{self.where}: the values of {column} are too large to be standardised.")
        fixed = np.flatnonzero(constant).tolist()
        notes = first_of(
            [
                f"{kind} {index} is constant ({offset.flat[index]:g}): kept with scale 1 and restored exactly"
                for index in fixed
            ],
            f"{kind}s are constant and treated likewise",
        )
        why = "numbers of no bounded range" + ("" if axis is None else f", {kind} by {kind}")
        return Scaling(self._units(offset, scale, axis, fixed), None, why, tuple(notes))

    def _total(
        self, axes: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray] = np.asanyarray
    ) -> np.ndarray:
        """The sum over some axes of the values, or of a function of them."""
        # A position that is masked in a whole piece has the sum 0 there; as a masked value it would end the sum.
        sums = (change(piece).sum(axis=axes, dtype=np.float64) for piece in self.pieces())
        return np.asarray(sum(np.ma.filled(each, 0.0) for each in sums))
