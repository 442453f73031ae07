"""Pictures that are decoded as they are asked for: in a folder, in tar files, in columns of bytes.

What is known of each picture without its pixels is stored in the user's cache, so that a further start reads the
headers of new and changed ones alone. Pictures that fit in memory are decoded once.
"""

from __future__ import annotations

import abc
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.feather

from ganvae_core.builtin.sources.describe import (
    MOST_LEVELS,
    PIXELS,
    Scale,
    Scaling,
    explained,
    scaling_of_images,
)
from ganvae_core.builtin.sources.images import (
    Fit,
    Form,
    Header,
    UnreadableImageError,
    highest_value,
    quiet_pillow,
    read_header,
    read_image,
)
from ganvae_core.builtin.sources.storage import allocate, fits_in_memory
from ganvae_core.builtin.sources.stored import Labels, labelled
from ganvae_core.errors import DataError, GanvaeError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.store.files import cache_folder, whole_path
from ganvae_core.types import DataSpec, Rows, Units

Frames = Literal["first", "all"]
Result = TypeVar("Result")

DECODED_AT_ONCE, MOST_AT_ONCE = 64 * 2**20, 10_000
"""So few bytes of encoded pictures, and so few pictures, are decoded before training, which takes some seconds."""
DEPTHS = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
"""The values of white of cameras and scanners; grays of more than 8 bits have the least that holds them."""
LOOKED_AT = 64
"""Pictures from which this value is found, and whether values are pixels."""
FIELDS = ("height", "width", "gray", "wide", "frames")
STAMPS = ("size", "time")


@dataclass(frozen=True)
class Treatment:
    """How pictures are read.

    Args:
        resize: side of the square that each is scaled to.
        fit: what becomes of other proportions.
        grayscale: make all gray, or none; None makes them gray where all are.
        frames: of animations and files of several pages.
        max_pixels: of one picture.
        skip_corrupt: leave out pictures that cannot be read.
        scale: how values become a model's.
    """

    resize: int | None = None
    fit: Fit = "crop"
    grayscale: bool | None = None
    frames: Frames = "first"
    max_pixels: int | None = None
    skip_corrupt: bool = False
    scale: Scale = "auto"

    def __post_init__(self) -> None:
        if self.resize is not None and self.resize < 1:
            raise DataError(f"data.resize: {self.resize} is not possible: it is a side in pixels.")


class Encoded(abc.ABC):
    """Pictures in their own encoding, by number.

    Args:
        names: of the pictures, for errors.
        stamps: (N, 2) integers that change when a picture changes: its size in bytes, and a time or a version.
        place: of all of them, which names their index in the cache.
    """

    def __init__(self, names: Sequence[str], stamps: np.ndarray, place: str) -> None:
        self.names, self.stamps, self.place = names, stamps, place

    def __len__(self) -> int:
        return len(self.names)

    @abc.abstractmethod
    def get(self, number: int) -> Path | bytes:
        """A picture's file, or its bytes."""

    @abc.abstractmethod
    def called(self, number: int) -> str:
        """The name of a picture in an error."""

    @abc.abstractmethod
    def labels(self, numbers: np.ndarray) -> Labels | None:
        """The classes of chosen pictures; None where there are none."""


class Pictures(Source):
    """Rows of encoded pictures.

    Args:
        encoded: the pictures.
        treatment: how they are read.
        chosen: the numbers of the pictures to read.
        notes: sentences for users.

    Raises:
        DataError: they differ in size, or one cannot be read and may not be skipped.
    """

    def __init__(
        self,
        encoded: Encoded,
        treatment: Treatment,
        chosen: np.ndarray,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._encoded, self._treatment = encoded, treatment
        headers, reasons = index(encoded, chosen, treatment.max_pixels)
        kept = np.array([number for number in chosen if number not in reasons], np.int64)
        self.is_lazy = int(encoded.stamps[kept, 0].sum()) > DECODED_AT_ONCE or len(kept) > MOST_AT_ONCE
        if self.is_lazy or not len(kept):
            _left_out(encoded, chosen, reasons, treatment)
        self._form, self._shape = self._found_form(headers, kept)
        self._number, self._frame = kept, np.zeros(len(kept), np.int64)
        counts, frames = headers["frames"][kept], tuple[str, ...]()
        if several := int((counts > 1).sum()):
            if treatment.frames == "all":
                self._number = np.repeat(kept, counts)
                self._frame = np.concatenate([np.arange(count) for count in counts])
            else:
                frames = (
                    f"{several:,} of {len(kept):,} pictures hold several frames, and the first of each is read:"
                    " data.frames=all reads all",
                )
        self._x: np.ndarray | None = None
        self._done: np.ndarray | None = None
        self._prepare_memory(reasons)
        left_out = _left_out(encoded, chosen, reasons, treatment)
        labels = encoded.labels(self._number)
        scaling = self._scaling(treatment.scale)
        spec = DataSpec(self._shape, scaling.range, "image", None, len(self._number), units=scaling.units)
        self._labels = None if labels is None else labels.indices
        self._spec = spec if labels is None else labelled(spec, labels)
        self.notes = (*left_out, *frames, *notes, *scaling.notes)
        self.why = scaling.why

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._number)

    def labels(self, indices: Indices | None = None) -> np.ndarray | None:
        return self._labels if self._labels is None or indices is None else self._labels[indices]

    def rows(self, indices: Indices) -> Rows:
        x, read = self._images(indices)
        return Rows(x, self.labels(read))

    def _images(self, indices: Indices) -> tuple[np.ndarray, Indices]:
        """Images by number, and the numbers of those that were read, which may be substitutes."""
        if self._x is not None and self._done is None:
            return self._x[indices], indices
        rows = np.arange(len(self))[indices] if isinstance(indices, slice) else np.asarray(indices)
        x, read = np.empty((len(rows), *self._shape), self._form.dtype), rows.copy()
        known = np.zeros(len(rows), bool)
        if self._x is not None and self._done is not None:
            known = self._done[rows]
            x[known] = self._x[rows[known]]

        def decode(place: int) -> None:
            x[place], read[place] = self._decoded(int(rows[place]))

        in_threads(decode, np.flatnonzero(~known).tolist())
        if self._x is not None and self._done is not None:
            fully = ~known & (read == rows)  # a substitute is found again the next time
            self._x[rows[fully]] = x[fully]
            self._done[rows[fully]] = True
        return x, read

    def _scaling(self, scale: Scale) -> Scaling:
        white = self._form.top
        if white > 255 and scale in ("auto", "pixels"):
            why = explained(f"grays up to {white}, the white of {white.bit_length()} bits", scale)
            return Scaling(Units(scale=(float(white),), dtype=self._form.dtype), (0.0, 1.0), why)
        if scale == "auto" and self.is_lazy and self._shows_pixels():
            return PIXELS._replace(why=explained(PIXELS.why, scale))
        images = _Images(self._images, (len(self._number), *self._shape), np.dtype(self._form.dtype))
        with quiet_pillow():  # what is wrong with a picture is said when it is used
            return scaling_of_images(images, f"'{self._encoded.place}'", scale)

    def _shows_pixels(self) -> bool:
        """Whether some pictures, evenly spread, have values of pixels and of no masks. The first one mostly has."""
        count = len(self._number)
        for row in np.linspace(0, count - 1, min(LOOKED_AT, count)).astype(int).tolist():
            try:
                if self._read(row).max() > MOST_LEVELS:
                    return True
            except UnreadableImageError:  # it is reported where it is used
                continue
        return False

    def _decoded(self, row: int) -> tuple[np.ndarray, int]:
        """A picture and its number, or the next one that can be read, if others may take its place."""
        for _ in range(len(self)):
            try:
                return self._read(row), row
            except UnreadableImageError as error:
                name = self._encoded.called(int(self._number[row]))
                if not self._treatment.skip_corrupt:
                    raise DataError(
                        f"{name} is not an image that can be read ({error}).",
                        "take another picture in place of such ones:  data.skip_corrupt=true",
                    ) from error
                warnings.warn(
                    f"{name} cannot be read ({error}); the next picture takes its place", stacklevel=1
                )
                row = (row + 1) % len(self)
        raise DataError("not one picture can be read.")

    def _read(self, row: int) -> np.ndarray:
        number = int(self._number[row])
        image = read_image(self._encoded.get(number), self._form, int(self._frame[row]))
        if image.shape != self._shape:
            raise UnreadableImageError(f"it is {image.shape[1]} × {image.shape[2]} once decoded")
        return image

    def _prepare_memory(self, reasons: dict[int, str]) -> None:
        """Memory for decoded pictures, where they fit. Few of them are decoded now, so that damage is found now."""
        shape, kind = (len(self._number), *self._shape), np.dtype(self._form.dtype)
        if self.is_lazy:
            if fits_in_memory(math.prod(shape) * kind.itemsize):
                self._x, self._done = allocate(shape, kind), np.zeros(len(self._number), bool)
            return
        x = allocate(shape, kind)
        failed: dict[int, str] = {}

        def attempt(row: int) -> None:
            try:
                x[row] = self._read(row)
            except UnreadableImageError as error:
                failed[int(self._number[row])] = str(error)

        with quiet_pillow():
            in_threads(attempt, range(len(self._number)))
        reasons |= failed
        good = np.flatnonzero([number not in failed for number in self._number.tolist()])
        for place, row in enumerate(
            good.tolist() if failed else ()
        ):  # in place: the data is never held twice
            x[place] = x[row]
        self._x, self._number, self._frame = x[: len(good)], self._number[good], self._frame[good]

    def _found_form(self, headers: dict[str, np.ndarray], kept: np.ndarray) -> tuple[Form, tuple[int, ...]]:
        """The form of all pictures, and the shape of one."""
        treatment = self._treatment
        heights, widths = headers["height"][kept], headers["width"][kept]
        if treatment.resize is None:
            other = np.flatnonzero((heights != heights[0]) | (widths != widths[0]))
            if len(other):
                sizes = [
                    f"{self._encoded.called(int(kept[at]))} is {heights[at]} × {widths[at]}"
                    for at in (0, other[0])
                ]
                raise DataError(
                    f"the images differ in size: {' and '.join(sizes)} (height × width).",
                    "scale the middle square of each to one size:  data.resize=64",
                    "or all of it, with borders or stretched:  data.resize=64 data.fit=pad   or   data.fit=stretch",
                )
        gray, wide = headers["gray"][kept], headers["wide"][kept]
        channels = 1 if (bool(gray.all()) if treatment.grayscale is None else treatment.grayscale) else 3
        form = Form(channels, treatment.resize, treatment.fit, max_pixels=treatment.max_pixels)
        if wide.any():
            some = kept[wide][np.linspace(0, wide.sum() - 1, min(LOOKED_AT, int(wide.sum()))).astype(int)]
            highest = max(self._highest(int(number)) for number in some)
            white = next((top for top in DEPTHS if top >= highest), DEPTHS[-1])
            form = replace(form, source_top=white, top=white if channels == 1 and wide.all() else 255)
        side = treatment.resize
        return form, (channels, side or int(heights[0]), side or int(widths[0]))

    def _highest(self, number: int) -> int:
        try:
            return highest_value(self._encoded.get(number), self._treatment.max_pixels)
        except UnreadableImageError:  # it is reported where it is decoded
            return 0


@dataclass(frozen=True)
class _Images:
    """The images of a source (N, C, H, W), as far as an array is needed to look through them."""

    read: Callable[[Indices], tuple[np.ndarray, Indices]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: slice) -> np.ndarray:
        return self.read(indices)[0]


def in_threads(function: Callable[[int], Result], numbers: Sequence[int]) -> list[Result]:
    """The function of each number, while Pillow decodes without Python's lock."""
    if len(numbers) <= 1:
        return [function(number) for number in numbers]
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="ganvae-decode") as threads:
        return list(threads.map(function, numbers))


def index(
    encoded: Encoded, chosen: np.ndarray, max_pixels: int | None
) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """What is known of each picture without its pixels, and the reasons for those that cannot be read.

    Headers that were read before, of pictures with the same names and stamps, come from the user's cache.
    """
    place = (FIELDS, encoded.place, max_pixels)
    headers = _known(stored_table(place), encoded)
    missing = chosen[headers["frames"][chosen] == 0].tolist()  # new, changed, or unreadable before
    with quiet_pillow():
        found = in_threads(lambda number: _header(encoded, number, max_pixels), missing)
    reasons: dict[int, str] = {}
    for number, header in zip(missing, found, strict=True):
        if isinstance(header, str):
            reasons[number] = header
        else:
            for name in FIELDS:
                headers[name][number] = int(getattr(header, name))
    if len(reasons) < len(missing):
        stamps = dict(zip(STAMPS, encoded.stamps.T, strict=True))
        store_table(place, pa.table({"name": list(encoded.names), **stamps, **headers}))
    return headers | {name: headers[name].astype(bool) for name in ("gray", "wide")}, reasons


def _known(table: Any, encoded: Encoded) -> dict[str, np.ndarray]:
    """The headers of pictures that a stored table has with the same stamps; those of others are 0."""
    headers = {name: np.zeros(len(encoded), np.int64) for name in FIELDS}
    if table is None:
        return headers
    columns = (table.column(name).to_pylist() for name in ("name", *STAMPS))
    row_of = {key: row for row, key in enumerate(zip(*columns, strict=True))}
    keys = zip(encoded.names, *encoded.stamps.T.tolist(), strict=True)
    rows = np.array([row_of.get(key, -1) for key in keys], np.int64)
    same = rows >= 0
    for name in FIELDS:
        headers[name][same] = table.column(name).to_numpy()[rows[same]]
    return headers


def digest(key: object) -> str:
    """A name of a file for what a key says."""
    return hashlib.sha256(repr(key).encode()).hexdigest()


def stored_table(place: object) -> Any:
    """The table of a place in the user's cache, or None."""
    with suppress(OSError, pa.ArrowException):
        return pyarrow.feather.read_table(_index(place), memory_map=False)
    return None


def store_table(place: object, table: Any) -> None:
    """Store the table of a place in the user's cache, in place of the one from before."""
    file = _index(place)
    with suppress(OSError, GanvaeError):  # without a cache the next start takes longer, and nothing else
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_path(file) as draft:
            pyarrow.feather.write_feather(table, str(draft), compression="uncompressed")


def _index(place: object) -> Path:
    return cache_folder() / "indexes" / f"{digest(place)}.arrow"


def _header(encoded: Encoded, number: int, max_pixels: int | None) -> Header | str:
    try:
        return read_header(encoded.get(number), max_pixels)
    except UnreadableImageError as error:
        return str(error)


def _left_out(
    encoded: Encoded, chosen: np.ndarray, reasons: dict[int, str], treatment: Treatment
) -> tuple[str, ...]:
    """A note on pictures that cannot be read, or an error if they may not be left out, or none can be read."""
    if not reasons:
        return ()
    first = min(reasons)
    name, why, total = encoded.called(first), reasons[first], len(chosen)
    if len(reasons) == total:
        raise DataError(f"not one of {total:,} images can be read: {name} is the first ({why}).")
    if not treatment.skip_corrupt:
        raise DataError(
            f"{name} is not an image that can be read ({why}).",
            "leave such files out:  data.skip_corrupt=true",
            f"{len(reasons):,} of {total:,} files are like this",
        )
    return (f"{len(reasons):,} of {total:,} files left out: {name} ({why}) is the first",)
