"""The specification of data, derived from an array's shape, type and values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

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

_NOTES = 5
_PIECE_VALUES = 2**21


class Scaling(NamedTuple):
    """Units, the range of x in them, the reason, notes, and whether flat rows are flattened images."""

    units: Units
    range: tuple[float, float] | None
    why: str
    notes: tuple[str, ...] = ()
    flattened: bool = False


PIXELS = Scaling(Units(scale=(255.0,), dtype="uint8"), (0.0, 1.0), "bytes, so pixels")


@dataclass(frozen=True)
class Description:
    """Data and its specification.

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


class Readable(Protocol):
    """Rows (N, *X) that are read in slices, and need not lie in one array."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Any, /) -> np.ndarray: ...


def scaling_of_images(images: Readable, where: str, scale: Scale) -> Scaling:
    """How values of images (N, C, H, W) become a model's, by the rules for arrays.

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
        each = [_arranged(part, where, None) for part in x.parts]
        shaped = each[0]._replace(x=Joined([one.x for one in each]))
    else:
        shaped = _arranged(np.asarray(x), where, _observed(x))
    values = _Values(shaped.x, where, shaped.observed)
    found = _scaled(values, shaped.modality, scale)
    modality = "array" if found.flattened else shaped.modality
    spec = DataSpec(values.event, found.range, modality, None, len(values.x), units=found.units)
    return Description(
        shaped.x, spec, (*shaped.notes, *found.notes), explained(found.why, scale), shaped.observed
    )


class _Shaped(NamedTuple):
    x: np.ndarray | Joined
    observed: np.ndarray | None
    modality: str
    notes: tuple[str, ...]


def _observed(x: np.ndarray) -> np.ndarray | None:
    """(N, ...) bool, where a masked array has a value; None where it has all, or no array is masked."""
    mask = np.ma.getmask(x)
    return None if mask is np.ma.nomask or not np.any(mask) else ~np.asarray(mask)


def _arranged(x: np.ndarray, where: str, observed: np.ndarray | None) -> _Shaped:
    """Views with channels first and at least one axis beside the rows'; the modality, and notes on it."""
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise DataError(
            f"{where} holds values of type {x.dtype}, and numbers are expected.",
            "types that can be read: bool, integers, and floating point of up to 64 bits",
        )
    if x.size == 0 or x.ndim == 0:
        raise DataError(f"{where} has no rows: its shape is {x.shape}.")
    notes: tuple[str, ...] = ()
    change: Callable[[np.ndarray], np.ndarray] | None = None
    if x.ndim == 3 and x.dtype.kind == "f" and _is_window(*x.shape[1:]):
        size = f"{x.shape[1]} × {x.shape[2]}"
        notes = (
            f"rows of {size} are read as arrays, such as windows of a series, and not as images:"
            " x[:, None] as the array makes them images",
        )
    elif x.ndim in (1, 3):
        change = _with_a_channel
    elif x.ndim == 4 and x.shape[-1] in IMAGE_CHANNELS and x.shape[1] not in IMAGE_CHANNELS:
        change = _channels_first
    if change is not None:
        x, observed = change(x), None if observed is None else change(observed)
    event = x.shape[1:]
    if len(event) == 1:
        modality = "points" if event == (2,) else "table"
    else:
        modality = "image" if len(event) == 3 and event[0] in IMAGE_CHANNELS else "array"
    return _Shaped(x, observed, modality, notes)


def _with_a_channel(rows: np.ndarray) -> np.ndarray:
    return rows[:, None]


def _channels_first(rows: np.ndarray) -> np.ndarray:
    return np.moveaxis(rows, -1, 1)


def _is_window(height: int, width: int) -> bool:
    return min(height, width) < WINDOW[0] and max(height, width) >= WINDOW[1] * min(height, width)


def _scaled(values: _Values, modality: str, scale: Scale) -> Scaling:
    """Units and range of values, chosen by what they are unless a scale is asked for."""
    flat, dtype = len(values.event) == 1, values.x.dtype.name
    if scale == "pixels":
        return Scaling(Units(scale=(255.0,), dtype=dtype), (0.0, 1.0), "")
    if scale == "standardise":
        return values.standardised(-1 if flat else values.axis_apart(modality))
    if scale == "range":
        return values.between(values.axis_apart(modality))
    if scale == "none":
        return values.as_they_are()
    if dtype == "bool":
        return Scaling(Units(dtype=dtype), (0.0, 1.0), "true and false")
    few = flat and len(values.x[0]) < LEAST_PIXELS
    if dtype == "uint8" and not few and (values.beyond(HALF if flat else MOST_LEVELS) or values.high == 0):
        return (
            PIXELS._replace(why="flat rows of bytes, so flattened images", flattened=True) if flat else PIXELS
        )
    low, high = values.low, values.high
    if (low, high) == (0, 1) and values.all(lambda piece: (piece == 0) | (piece == 1)):
        return Scaling(Units(dtype=dtype), (0.0, 1.0), "0 and 1 and nothing between")
    if flat:
        if not few and low >= 0 and high <= 1 and values.all(_is_grey):
            return Scaling(
                Units(dtype=dtype),
                (0.0, 1.0),
                "flat rows of grey levels, so flattened images",
                flattened=True,
            )
        return values.standardised(-1)
    if modality == "array" and values.x.dtype.kind == "f":
        return values.standardised(values.axis_apart(modality))
    if low >= -1 and high <= 1:
        return values.as_they_are()
    if low >= 0 and HALF < high <= 255 and values.all(lambda piece: piece == np.rint(piece)):
        return Scaling(Units(scale=(255.0,), dtype=dtype), (0.0, 1.0), "whole numbers up to 255, so pixels")
    if dtype == "uint8":
        note = f"bytes up to {high:g} are no pixels of 0 to 255, so they are scaled by {high:g}:  data.scale=pixels"
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


class _Values:
    """Values and what is computed from them, in pieces, so that a mapped array is never held whole.

    Args:
        x: (N, *X).
        where: what the data is called in an error.
        observed: (N, *X) bool, false where a value is missing.

    Raises:
        DataError: a value is NaN or infinite.
    """

    def __init__(
        self,
        x: Readable,
        where: str,
        observed: np.ndarray | None = None,
    ) -> None:
        self.x, self.where, self.observed = x, where, observed
        self.event = x.shape[1:]
        self._extent: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def low(self) -> float:
        """Lowest value."""
        return float(self.extent()[0].min())

    @property
    def high(self) -> float:
        """Highest value."""
        return float(self.extent()[1].max())

    def pieces(self) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
        """The rows in pieces small enough to compute with: the first row's number, values, and where they are."""
        count = max(1, _PIECE_VALUES // self.x[0].size)
        for start in range(0, len(self.x), count):
            part = slice(start, start + count)
            yield start, self.x[part], None if self.observed is None else self.observed[part]

    def all(self, holds: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Whether something holds of each value that is there."""
        return all(
            bool((holds(piece) if there is None else holds(piece) | ~there).all())
            for _, piece, there in self.pieces()
        )

    def beyond(self, limit: int) -> bool:
        """Whether a value is greater than ``limit``. A piece of the rows shows it mostly, before all are read."""
        return any(bool((piece > limit).any()) for _, piece, _ in self.pieces())

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value at each place of an event, (*X) each."""
        if self._extent is not None:
            return self._extent
        lows: list[np.ndarray] = []
        highs: list[np.ndarray] = []
        for start, piece, there in self.pieces():
            low, high = _lowest(piece, there), _highest(piece, there)
            if (
                not (np.isfinite(low) | _nowhere(there)).all()
                or not (np.isfinite(high) | _nowhere(there)).all()
            ):
                self._refuse(start, piece, there)
            lows.append(low)
            highs.append(high)
        self._extent = np.min(lows, axis=0), np.max(highs, axis=0)
        return self._extent

    def _refuse(self, start: int, piece: np.ndarray, there: np.ndarray | None) -> None:
        bad = ~np.isfinite(piece) if there is None else ~np.isfinite(piece) & there
        first = np.argwhere(bad)[0]
        row = start + first[0]
        column = f", column {first[1]}" if piece.ndim == 2 else ""
        place = f"row {row}{column} (counted from 0) {'is' if column else 'holds'}"
        raise DataError(
            f"{self.where}: {place} {piece[tuple(first)]}.",
            "leave such rows out, or put numbers in their place, before training",
            "from Python, missing values may be masked:  gv.train(…, data=np.ma.masked_invalid(x))",
        )

    def along(self, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value at each position of an axis of the event, or () of all."""
        low, high = self.extent()
        axes = tuple(range(len(self.event))) if axis is None else self._others(axis)
        lowest, highest = low.min(axis=axes), high.max(axis=axes)
        if not np.isfinite(lowest).all():
            place = "" if axis is None else f" at position {np.flatnonzero(~np.isfinite(lowest))[0]}"
            raise DataError(f"{self.where}: no row has a value{place}.", "leave out what was never observed")
        return lowest, highest

    def _others(self, axis: int) -> tuple[int, ...]:
        return tuple(other for other in range(len(self.event)) if other != axis % len(self.event))

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
        low, high = (np.asarray(each, np.float64) for each in self.along(axis))
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
        units = self._units(low, scale, axis, constant)
        why = (
            "one range for all values"
            if axis is None
            else "channels of different scale, each by its own range"
        )
        return Scaling(units, (0.0, 1.0), why, notes)

    def _units(
        self,
        offset: np.ndarray,
        scale: np.ndarray,
        axis: int | None,
        constant: Sequence[int],
    ) -> Units:
        return Units(
            tuple(np.atleast_1d(offset).tolist()), tuple(np.atleast_1d(scale).tolist()), self.x.dtype.name,
            tuple(constant), (), -1 if axis is None else axis - len(self.event) if axis >= 0 else axis,
        )  # fmt: skip

    def standardised(self, axis: int | None) -> Scaling:
        """Mean 0 and deviation 1 of all values, or of each position of an axis; a constant one keeps scale 1."""
        low, high = (np.asarray(each, np.float64) for each in self.along(axis))
        axes = (0, *(1 + other for other in (range(len(self.event)) if axis is None else self._others(axis))))
        with np.errstate(all="ignore"):  # an overflow is refused below
            count = np.asarray(sum(_count(piece, there, axes) for _, piece, there in self.pieces()))
            mean = np.asarray(sum(_total(piece, there, axes) for _, piece, there in self.pieces())) / count
            level = self._broadcast(mean, axis)
            squares = sum(_total(np.square(piece - level), there, axes) for _, piece, there in self.pieces())
            deviation = np.sqrt(np.asarray(squares) / count)
        constant = low == high
        offset = np.where(constant, low, mean)
        scale = np.where(constant | (deviation == 0), 1.0, deviation)
        kind = "column" if len(self.event) == 1 else "channel"
        computable = np.atleast_1d(np.isfinite(offset) & np.isfinite(scale))
        if not computable.all():
            column = f"{kind} {int(np.argmin(computable))}"
            raise DataError(f"{self.where}: the values of {column} are too large to be standardised.")
        fixed = np.flatnonzero(constant).tolist()
        notes = [
            f"{kind} {index} is constant ({offset.flat[index]:g}): kept with scale 1 and restored exactly"
            for index in fixed[:_NOTES]
        ]
        if len(fixed) > _NOTES:
            notes.append(f"{len(fixed) - _NOTES:,} more {kind}s are constant and treated likewise")
        why = "numbers of no bounded range" + ("" if axis is None else f", {kind} by {kind}")
        return Scaling(self._units(offset, scale, axis, fixed), None, why, tuple(notes))

    def _broadcast(self, values: np.ndarray, axis: int | None) -> np.ndarray:
        if axis is None:
            return values
        shape = [1] * len(self.event)
        shape[axis] = -1
        return values.reshape(shape)


def _lowest(piece: np.ndarray, there: np.ndarray | None) -> np.ndarray:
    return piece.min(axis=0) if there is None else np.where(there, piece, np.inf).min(axis=0)


def _highest(piece: np.ndarray, there: np.ndarray | None) -> np.ndarray:
    return piece.max(axis=0) if there is None else np.where(there, piece, -np.inf).max(axis=0)


def _nowhere(there: np.ndarray | None) -> Any:
    return False if there is None else np.logical_not(there.any(axis=0))


def _total(piece: np.ndarray, there: np.ndarray | None, axes: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.sum(piece, axis=axes, dtype=np.float64, where=True if there is None else there))


def _count(piece: np.ndarray, there: np.ndarray | None, axes: tuple[int, ...]) -> np.ndarray | float:
    if there is None:
        return float(math.prod(piece.shape[axis] for axis in axes))
    return np.asarray(np.sum(there, axis=axes, dtype=np.float64))
