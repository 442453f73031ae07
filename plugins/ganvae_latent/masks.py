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
    kinds = {"box": _box, "columns": _columns_of, "span": _span}
    if colon and kind == "random":
        visible = _random(text, values, spec, rows, seed)
    elif colon and kind in kinds:
        visible = np.broadcast_to(kinds[kind](text, values, spec, view), (rows, *spec.shape))
    elif Path(text).is_file():
        visible = np.broadcast_to(~_picture(Path(text), spec), (rows, *spec.shape))
    else:
        raise ConfigurationError(f"--mask: '{text}' is neither a mask nor a file.", EXAMPLES)
    if not visible.any():
        raise ConfigurationError(f"--mask {text}: all of a row is hidden.")
    return visible.copy()


def _box(text: str, values: str, spec: DataSpec, view: View) -> np.ndarray:
    """(*X) bool, false within a box of pixels."""
    parts = values.split(",")
    if len(parts) != 4 or not all(part.strip().lstrip("-").isdecimal() for part in parts):
        raise ConfigurationError(f"--mask {text}: a box has 4 whole numbers.", EXAMPLES)
    _need_image(text, spec)
    left, top, width, height = map(int, parts)
    _, high, wide = spec.shape
    if min(left, top) < 0 or min(width, height) < 1 or left + width > wide or top + height > high:
        raise ConfigurationError(f"--mask {text}: such a box is not within images of {high} × {wide}.")
    visible = np.ones(spec.shape, bool)
    visible[:, top : top + height, left : left + width] = False
    return visible


def _random(text: str, values: str, spec: DataSpec, rows: int, seed: int) -> np.ndarray:
    """(rows, *X) bool, false in a share of the pixels with all of their channels, or of the cells of a table."""
    try:
        share = float(values)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ConfigurationError(
            f"--mask {text}: the share of hidden entries lies between 0 and 1.", EXAMPLES
        )
    places = (1, *spec.shape[1:]) if spec.modality == "image" else spec.shape
    drawn = np.random.default_rng(seed).random((rows, *((len(spec.fields),) if spec.fields else places)))
    if spec.fields:  # the positions of a column are hidden together
        drawn = np.repeat(drawn, [field.width for field in spec.fields], axis=1)
    return np.broadcast_to(drawn >= share, (rows, *spec.shape))


def _columns_of(text: str, values: str, spec: DataSpec, view: View) -> np.ndarray:
    """(*X) bool, false in columns that are named."""
    columns = _columns(spec)
    names = [values] if values in columns else next(csv.reader([values], skipinitialspace=True))
    visible = np.ones(spec.shape, bool)
    for name in map(str.strip, names):  # a name with a comma may be quoted
        if name not in columns:
            raise ConfigurationError(
                f"--mask {text}: this data has no column '{name}'.{did_you_mean(name, columns)}",
                f"columns: {', '.join(columns)}" if columns else "this data has no named columns",
            )
        visible[..., columns[name]] = False
    return visible


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
    return pixels[None] >= WHITE


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
    visible = np.ones(spec.shape, bool)
    np.moveaxis(visible, view.along, 0)[first:last] = False
    return visible


def _need_image(what: str, spec: DataSpec) -> None:
    if len(spec.shape) != 3:
        raise ConfigurationError(
            f"a mask {what} is for images, and rows have the shape {spec.shape}.", EXAMPLES
        )
