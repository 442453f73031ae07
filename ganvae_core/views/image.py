"""Images: grids in a picture, and folders of PNG files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganvae_core.data.units import from_units, to_x
from ganvae_core.types import DataSpec, Drawing, View

TILE = 56
"""Smaller images are enlarged to at least this many pixels, by a whole number."""
GAP = 2
BAND_GAP = 10
"""Between lines that belong together and the next ones."""
HEADING = 16
"""Height of the headings above the columns of a grid, in pixels."""
BACKGROUND = 255
PAIRS_ACROSS = 8
STRIPES, GREYS = 14, (0.3, 0.55)
"""Across a hidden part of an image, and their shares of white."""


@final
class ImageView(View):
    """Images (channels, height, width) of 1 channel (grey), 2 (drawn as red and green), 3 (RGB) or 4 (RGBA)."""

    noun = "images"
    endings = (".png", "")
    as_grid = True

    def fits(self, spec: DataSpec) -> bool:
        """Whether the shape is that of an image."""
        return len(spec.shape) == 3 and spec.shape[0] <= 4

    def describe(self, spec: DataSpec) -> str:
        """``8 × 8``, or ``32 × 32 × 3``."""
        channels, height, width = spec.shape
        return f"{height} × {width}" + (f" × {channels}" if channels > 1 else "")

    def hidden(self, spec: DataSpec) -> np.ndarray:
        """Diagonal stripes of two greys, which no background has."""
        low, high = spec.range or (-1.0, 1.0)
        down, across = np.indices(spec.shape)[1:]
        stripes = (down + across) // max(1, min(spec.shape[1:]) // STRIPES) % 2
        x = low + (high - low) * np.broadcast_to(np.where(stripes, *GREYS), spec.shape)
        return from_units(x, replace(spec.units, dtype="float64", whole=()))

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """A grid; originals stand above their reconstructions, and rows of data above samples near them."""
        images = unit_range(drawing.rows, spec)
        if drawing.originals is None:
            columns = drawing.columns or len(drawing.headings) or columns_for(len(images))
            grid = image_grid(images, columns, drawing.headings, drawing.rows_together)
        else:
            made = drawing.name.removesuffix("s")
            names = ("nearest row" if made == "sample" else "original", made)
            originals = unit_range(drawing.originals, spec)
            grid = pair_grid(originals, images, drawing.columns or PAIRS_ACROSS, names)
        grid.save(path, format="PNG")

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """A folder of ``00000.png``, ``00001.png`` … in the images' own size.

        Bytes are rounded and written as they are; 0 and 1 alone are black and white, with greys between.
        """
        path.mkdir()
        bits = spec.range == (0.0, 1.0) and spec.units.scale == (1.0,)
        images = rows / 255 if spec.units.dtype == "uint8" and not bits else unit_range(rows, spec)
        for number, image in enumerate(images):
            as_image(as_pixels(image)).save(path / f"{number:05d}.png")


def unit_range(rows: np.ndarray, spec: DataSpec) -> np.ndarray:
    """Rows in the source's units -> [0, 1], by the data's range, or by that of the rows where the data has none."""
    x = to_x(rows, spec.units)
    low, high = spec.range or (float(x.min()), float(x.max()))
    return (x - low) / (high - low or 1.0)


def columns_for(count: int) -> int:
    """Columns of a grid that is nearly square, and whose last line has as few gaps as possible."""
    root = math.ceil(math.sqrt(count))
    return min(range(root, 2 * root + 1), key=lambda columns: -count % columns)


def image_grid(
    images: np.ndarray,
    columns: int,
    headings: Sequence[str] = (),
    rows_together: int = 0,
    line_names: Sequence[str] = (),
) -> Image.Image:
    """Images (N, C, H, W) in [0, 1] as one picture, enlarged where they are tiny, without a border.

    Args:
        images: of 1 to 4 channels.
        columns: images in a line.
        headings: texts above the columns; fewer of them span several columns each.
        rows_together: lines that belong together, with a wider gap before the next ones; 0 for all.
        line_names: texts left of the lines, in turn.
    """
    height, width = images.shape[2:]
    factor = max(1, math.ceil(TILE / max(height, width)))
    tiles = np.stack([as_pixels(image) for image in images]).repeat(factor, 1).repeat(factor, 2)
    step_y, step_x = height * factor + GAP, width * factor + GAP
    above = HEADING if headings else 0
    font = ImageFont.load_default(HEADING - 4)
    beside = max((math.ceil(font.getlength(name)) + HEADING for name in line_names), default=0)

    def top_of(line: int) -> int:
        return above + line * step_y + (line // rows_together * BAND_GAP if rows_together else 0)

    lines = math.ceil(len(tiles) / columns)
    size = (top_of(lines - 1) + step_y - GAP, beside + columns * step_x - GAP, tiles.shape[-1])
    sheet = np.full(size, BACKGROUND, np.uint8)
    for position, tile in enumerate(tiles):
        top, left = top_of(position // columns), beside + position % columns * step_x
        sheet[top : top + height * factor, left : left + width * factor] = tile
    picture = as_image(sheet)
    span = columns // len(headings) * step_x if headings else 0
    for number, heading in enumerate(headings):
        _write(picture, heading, beside + number * span, span - GAP, HEADING // 2)
    for line in range(lines) if line_names else ():
        middle = top_of(line) + (step_y - GAP) // 2
        _write(picture, line_names[line % len(line_names)], 0, beside, middle)
    return picture


def pair_grid(
    originals: np.ndarray, made: np.ndarray, columns: int, line_names: Sequence[str]
) -> Image.Image:
    """Originals (N, C, H, W) in [0, 1], each line of them above the line of what was made of them."""
    columns = min(columns, len(originals))
    blank = np.ones((-len(originals) % columns, *originals.shape[1:]), originals.dtype)
    lines = [
        np.concatenate([each, blank]).reshape(-1, columns, *originals.shape[1:]) for each in (originals, made)
    ]
    pairs = np.stack(lines, axis=1).reshape(-1, *originals.shape[1:])  # a line of each in turn
    return image_grid(pairs, columns, rows_together=2, line_names=line_names)


def as_pixels(image: np.ndarray) -> np.ndarray:
    """One image (C, H, W) in [0, 1] -> (H, W, 1, 3 or 4) uint8; values outside are clamped."""
    pixels = np.rint(np.clip(np.nan_to_num(image), 0.0, 1.0) * 255).astype(np.uint8).transpose(1, 2, 0)
    if pixels.shape[-1] == 2:
        return np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1)
    return pixels


def as_image(pixels: np.ndarray) -> Image.Image:
    """(H, W, 1, 3 or 4) uint8 as a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _write(picture: Image.Image, text: str, left: int, width: int, middle: int) -> None:
    """A text in the middle of a width, cut off where it is wider, around the height ``middle``."""
    text = " ".join(text.split())
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(HEADING - 4)
    if draw.textlength(text, font) > width:
        while text and draw.textlength(text + "…", font) > width:
            text = text[:-1]
        text += "…"
    black = {"L": 0, "RGB": (0, 0, 0), "RGBA": (0, 0, 0, 255)}[picture.mode]
    draw.text((left + width / 2, middle), text, black, font, anchor="mm")
