"""One encoded picture to an array of its pixels, whatever its format, mode and orientation."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ganvae_core.builtin.sources.paths import reason

Fit = Literal["crop", "pad", "stretch"]
"""What becomes of a picture of other proportions: its middle is taken, borders are added, or it is stretched."""

_GRAY_MODES = ("1", "L", "LA")
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes of grays of 16 and 32 bits."""
_NO_PICTURES = ("BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
"""Formats that Pillow only identifies, or that need another program."""
_OF_FRAMES = ("AVIF", "FLI", "GIF", "PNG", "TIFF", "WEBP")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)
_OPENING = threading.Lock()


class UnreadableImageError(Exception):
    """A picture that cannot be read; the message is the reason, as the end of a sentence."""


@dataclass(frozen=True)
class Header:
    """What is known of a picture without its pixels.

    Args:
        height: of the picture as it stands upright.
        width: likewise.
        gray: whether it has no colour.
        wide: whether its grays have more than 8 bits.
        frames: pages or pictures of an animation.
    """

    height: int
    width: int
    gray: bool
    wide: bool
    frames: int = 1


@dataclass(frozen=True)
class Form:
    """What pictures become.

    Args:
        channels: 1 or 3.
        side: of the square that they are scaled to; None leaves them as they are.
        fit: what becomes of other proportions.
        top: the value of white; above 255, rows are uint16.
        source_top: the value of white in pictures whose grays have more than 8 bits.
        max_pixels: of a picture; a larger one may be meant to exhaust memory.
    """

    channels: int = 3
    side: int | None = None
    fit: Fit = "crop"
    top: int = 255
    source_top: int = 65_535
    max_pixels: int | None = None

    @property
    def dtype(self) -> str:
        """The type of rows."""
        return "uint8" if self.top == 255 else "uint16"


def suffixes() -> frozenset[str]:
    """Endings of the pictures that Pillow reads on this machine, in lower case."""
    Image.init()
    return frozenset(
        ending
        for ending, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in _NO_PICTURES
    )


@contextmanager
def quiet_pillow() -> Generator[None]:
    """Ignore Pillow's warnings, which mostly concern metadata. Filters of warnings belong to the process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(encoded: Path | bytes, max_pixels: int | None) -> Header:
    """Size and mode of a picture, without decoding it.

    Raises:
        UnreadableImageError: it is no picture, or has more than ``max_pixels``.
    """
    with _opened(encoded, max_pixels) as image:
        width, height = image.size
        # Pillow decodes a PNG to look for a late EXIF chunk, which is not worth it here.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        if exif.get(_ORIENTATION) in _TURNED:
            width, height = height, width
        wide = image.mode in _WIDE_MODES
        frames = getattr(image, "n_frames", 1) if image.format in _OF_FRAMES else 1
        return Header(height, width, image.mode in _GRAY_MODES or wide, wide, frames)


def highest_value(encoded: Path | bytes, max_pixels: int | None) -> int:
    """The highest value of a gray picture of more than 8 bits.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    with _opened(encoded, max_pixels) as image:
        return int(np.asarray(image).max())


def read_image(encoded: Path | bytes, form: Form, frame: int = 0) -> np.ndarray:
    """The picture upright, (channels, height, width) uint8 or uint16.

    Raises:
        UnreadableImageError: it is damaged, or has too many pixels.
    """
    with _opened(encoded, form.max_pixels) as image:
        if frame:
            image.seek(frame)
        if form.side is not None:
            image.draft(
                None, (2 * form.side, 2 * form.side)
            )  # decodes a large JPEG at a fraction of its size
        image.load()
        upright = ImageOps.exif_transpose(image)
        if image.mode in _WIDE_MODES:
            return _wide(upright, form)
        pixels = np.asarray(_scaled(_eight_bits(upright, "L" if form.channels == 1 else "RGB"), form))
    pixels = pixels[None] if form.channels == 1 else np.moveaxis(pixels, -1, 0)
    return pixels if form.top == 255 else np.rint(pixels * (form.top / 255)).astype(np.uint16)


def _wide(image: Image.Image, form: Form) -> np.ndarray:
    """A gray picture of more than 8 bits."""
    values = np.asarray(image).astype(np.float32)
    if values.min() < 0 or values.max() > 65_535:
        raise UnreadableImageError("its pixels are not within 0 to 65535: store such data as .npy")
    scaled = np.asarray(_scaled(Image.fromarray(values * (form.top / form.source_top)), form))
    gray = np.clip(np.rint(scaled), 0, form.top).astype(form.dtype)
    return np.repeat(gray[None], form.channels, axis=0)


def _scaled(image: Image.Image, form: Form) -> Image.Image:
    """The picture scaled to a square with antialiasing."""
    if form.side is None:
        return image
    side, (width, height) = form.side, image.size
    box = (0.0, 0.0, float(width), float(height))
    size = (side, side)
    if form.fit == "crop":
        shorter = min(width, height)
        left, top = (width - shorter) / 2, (height - shorter) / 2
        box = (left, top, left + shorter, top + shorter)
    elif form.fit == "pad":
        share = side / max(width, height)
        size = (max(1, round(width * share)), max(1, round(height * share)))
    scaled = image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    if size == (side, side):
        return scaled
    square = Image.new(image.mode, (side, side))
    square.paste(scaled, ((side - size[0]) // 2, (side - size[1]) // 2))
    return square


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise UnreadableImageError("its pixels are floating point: store such data as .npy")
    if image.has_transparency_data:
        image = _on_white(image)
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    """The image on a white page. The colour of a transparent pixel is not visible."""
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque.convert("RGB")


@contextmanager
def _opened(encoded: Path | bytes, max_pixels: int | None) -> Generator[Image.Image]:
    """A picture whose size is permitted. Pillow's own limit, which is the default, is one for the process."""
    try:
        with _OPENING:
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            limit = before if max_pixels is None else max_pixels
            try:
                image = Image.open(encoded if isinstance(encoded, Path) else BytesIO(encoded))
            finally:
                Image.MAX_IMAGE_PIXELS = before
        with image:
            if limit is not None and image.width * image.height > limit:
                raise UnreadableImageError(
                    f"it has more pixels than the {limit:,} that are thought safe to decode; to read it all the same: "
                    f" data.max_pixels={image.width * image.height}"
                )
            yield image
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly every kind of error on damaged files
        raise UnreadableImageError(_why(encoded, error)) from error


def _why(encoded: Path | bytes, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:  # it cannot be opened
        if isinstance(encoded, Path) and encoded.is_symlink() and not encoded.exists():
            return f"it is a link to '{os.readlink(encoded)}', which does not exist"
        return reason(error)
    size = len(encoded) if isinstance(encoded, bytes) else encoded.stat().st_size
    if size == 0:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "its contents are of no known image format"
    if "truncated" in str(error).lower():
        return f"truncated after {size / 1024:,.0f} KB" if size >= 1024 else f"truncated after {size} bytes"
    return reason(error)
