"""Masks as they are typed: which entries of rows are hidden."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.types import DataSpec, View

if TYPE_CHECKING:
    from torch import Tensor

WHITE = 128
EXAMPLES = (
    "like  box:0,14,28,14   random:0.5   columns:height,legs   span:8,6   or a picture whose white pixels are"
)


def there(x: Tensor, mask: Tensor | None, spec: DataSpec) -> Tensor:
    """(B, *X) bool, false where rows x have no value: by their mask, and where a table's cell is missing."""
    import torch

    known = torch.ones_like(x, dtype=torch.bool) if mask is None else mask.clone()
    for field in spec.fields or ():
        end = field.start + field.width
        if field.missing:
            known[:, field.start : end] &= x[:, end - 1 : end] == 0
    return known


def read_mask(text: str, spec: DataSpec, view: View, rows: int, seed: int) -> np.ndarray:
    """(rows, *X) bool, true where an entry stays visible.

    Args:
        text: ``box:x,y,width,height`` in pixels, ``random:share``, ``columns:a,b`` of a table or a series,
            ``span:start,length`` in times of a series, characters of a text or seconds of a sound, or the path of a
            picture whose white pixels are hidden.
        spec: of the rows.
        view: of the rows.
        rows: their number.
        seed: of random masks.

    Raises:
        ConfigurationError: it is none of these, or does not fit the data.
    """
    kind, colon, values = text.partition(":")
    visible = np.ones((rows, *spec.shape), bool)
    if colon and kind == "box":
        left, top, width, height = _numbers(text, values, 4)
        _need_image(text, spec)
        _, high, wide = spec.shape
        if min(left, top) < 0 or min(width, height) < 1 or left + width > wide or top + height > high:
            raise ConfigurationError(f"--mask {text}: such a box is not within images of {high} × {wide}.")
        visible[:, :, top : top + height, left : left + width] = False
        return visible
    if colon and kind == "random":
        try:
            share = float(values)
        except ValueError:
            share = -1.0
        if not 0 < share < 1:
            raise ConfigurationError(
                f"--mask {text}: the share of hidden entries lies between 0 and 1.", EXAMPLES
            )
        drawn = np.random.default_rng(seed).random((rows, *_places(spec)))
        if spec.fields:  # the positions of a column are hidden together
            drawn = np.repeat(drawn, [field.width for field in spec.fields], axis=1)
        return np.broadcast_to(drawn >= share, visible.shape).copy()
    if colon and kind == "span":
        return visible & _span(text, values, spec, view)
    if colon and kind == "columns":
        columns = _columns(spec)
        names = [values] if values in columns else next(csv.reader([values], skipinitialspace=True))
        for name in map(str.strip, names):  # a name with a comma may be quoted
            places = columns.get(name)
            if places is None:
                near = did_you_mean(name, columns)
                raise ConfigurationError(
                    f"--mask {text}: this data has no column '{name}'.{near}",
                    f"columns: {', '.join(columns)}" if columns else "this data has no named columns",
                )
            visible[..., places] = False
        if not visible.any():
            raise ConfigurationError(f"--mask {text}: all columns are hidden.")
        return visible
    if not Path(text).is_file():
        raise ConfigurationError(f"--mask: '{text}' is neither a mask nor a file.", EXAMPLES)
    return visible & ~_picture(Path(text), spec)


def _picture(file: Path, spec: DataSpec) -> np.ndarray:
    """(1, height, width) bool, true where the picture is white."""
    from PIL import Image

    _need_image(f"of '{file}'", spec)
    _, height, width = spec.shape
    try:
        with Image.open(file) as image:
            size = image.size
            pixels = np.asarray(image.convert("L")) if size == (width, height) else None
    except (OSError, Image.DecompressionBombError) as error:
        raise ConfigurationError(f"--mask: '{file}' cannot be read as a picture.") from error
    if pixels is None:
        raise ConfigurationError(
            f"--mask: '{file}' has {size[1]} × {size[0]} pixels, and the model's images {height} × {width}."
        )
    hidden = pixels[None] >= WHITE
    if not hidden.any() or hidden.all():
        which = "every" if hidden.any() else "no"
        raise ConfigurationError(f"--mask: {which} pixel of '{file}' is white, which is what is hidden.")
    return hidden


def _columns(spec: DataSpec) -> dict[str, slice]:
    """The places in the last axis of a row of each column, by name."""
    if spec.fields:
        return {field.name: slice(field.start, field.start + field.width) for field in spec.fields}
    names: Sequence[str] = spec.details.get("columns", ())
    return {name: slice(at, at + 1) for at, name in enumerate(names)} if len(names) == spec.shape[-1] else {}


def _span(text: str, values: str, spec: DataSpec, view: View) -> np.ndarray:
    """(*X) bool, false from a time on, for as long as is said."""
    if view.along is None:
        raise ConfigurationError(
            f"--mask {text}: a span is of series, texts and sounds, and these are {view.noun}.", EXAMPLES
        )
    size, scale = spec.shape[view.along], view.places_in_unit(spec)
    try:
        start, length = (float(part) for part in values.split(","))
        first, last = round(start * scale), round((start + length) * scale)
    except (ValueError, OverflowError):  # no numbers, nan, or inf
        raise ConfigurationError(f"--mask {text}: a span has a start and a length.", EXAMPLES) from None
    if not 0 <= first < last <= size:
        raise ConfigurationError(
            f"--mask {text}: such a span is not within {size / scale:g}: {view.describe(spec)}."
        )
    if last - first == size:
        raise ConfigurationError(f"--mask {text}: all of a row is hidden.")
    visible = np.ones(spec.shape, bool)
    np.moveaxis(visible, view.along, 0)[first:last] = False
    return visible


def _places(spec: DataSpec) -> Sequence[int]:
    """The shape of what is hidden by itself: pixels with all of their channels, and columns of a table."""
    if spec.fields:
        return (len(spec.fields),)
    return (1, *spec.shape[1:]) if spec.modality == "image" else spec.shape


def _need_image(what: str, spec: DataSpec) -> None:
    if len(spec.shape) != 3:
        raise ConfigurationError(
            f"a mask {what} is for images, and rows have the shape {spec.shape}.", EXAMPLES
        )


def _numbers(text: str, values: str, count: int) -> list[int]:
    parts = values.split(",")
    if len(parts) != count or not all(part.strip().lstrip("-").isdecimal() for part in parts):
        raise ConfigurationError(f"--mask {text}: a box has {count} whole numbers.", EXAMPLES)
    return [int(part) for part in parts]
