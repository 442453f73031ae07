"""One image file to an array of bytes, whatever its format, mode and orientation."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ganvae_core.builtin.sources.paths import reason

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")

_GRAY_MODES = ("1", "L", "LA")
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes of 16-bit grays; older versions of Pillow use "I"."""


class UnreadableImageError(Exception):
    """An image that cannot be read; the message is the reason, as the end of a sentence."""


@dataclass(frozen=True)
class Header:
    """Width and height of an image, and whether it is gray."""

    size: tuple[int, int]
    gray: bool


@contextmanager
def strict_pillow() -> Generator[None]:
    """Turn warnings of huge images into errors, and ignore Pillow's other warnings, which mostly concern metadata.

    Filters of warnings belong to the process, so this is entered outside of the threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.init()
        yield


def read_header(file: Path) -> Header:
    """Size and mode of an image, without decoding it.

    Raises:
        UnreadableImageError: it is no image.
    """
    with _explained(file), Image.open(file) as image:
        return Header(image.size, image.mode in _GRAY_MODES or image.mode in _WIDE_MODES)


def read_image(file: Path, channels: int, resize: int | None) -> np.ndarray:
    """The image upright, (channels, height, width) uint8.

    Args:
        file: where it is.
        channels: 1 or 3.
        resize: side of the square that the middle of the image is scaled to.

    Raises:
        UnreadableImageError: it is damaged, or so large that it may be meant to exhaust memory.
    """
    with _explained(file), Image.open(file) as image:
        if resize is not None:
            image.draft(None, (2 * resize, 2 * resize))  # decodes a large JPEG at a fraction of its size
        image.load()
        upright = _eight_bits(ImageOps.exif_transpose(image), "L" if channels == 1 else "RGB")
        if resize is not None:
            upright = _middle(upright, resize)
        pixels = np.asarray(upright)
    return pixels[None] if channels == 1 else np.moveaxis(pixels, -1, 0)


def _middle(image: Image.Image, side: int) -> Image.Image:
    """The middle square, scaled with antialiasing."""
    width, height = image.size
    shorter = min(width, height)
    left, top = (width - shorter) / 2, (height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in _WIDE_MODES:
        image = Image.fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise UnreadableImageError("its pixels are floating point: store such data as .npy")
    elif image.has_transparency_data:
        image = _on_white(image)
    return image if image.mode == mode else image.convert(mode)


def _on_white(image: Image.Image) -> Image.Image:
    """The image on a white page. The colour of a transparent pixel is not visible."""
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque.convert("RGB")


@contextmanager
def _explained(file: Path) -> Generator[None]:
    try:
        yield
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly every kind of error on damaged files
        raise UnreadableImageError(_why(file, error)) from error


def _why(file: Path, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more pixels than the {Image.MAX_IMAGE_PIXELS:,} that are thought safe to decode"
    if isinstance(error, OSError) and error.strerror:  # it cannot be opened
        return reason(error)
    size = file.stat().st_size
    if size == 0:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "its contents are of no known image format"
    if "truncated" in str(error).lower():
        return f"truncated after {size / 1024:,.0f} KB" if size >= 1024 else f"truncated after {size} bytes"
    return reason(error)
