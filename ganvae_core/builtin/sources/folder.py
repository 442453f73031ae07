"""Folders of images, with labels from their sub-folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, final

import numpy as np

from ganvae_core.builtin.sources.describe import describe
from ganvae_core.builtin.sources.images import (
    SUFFIXES,
    Header,
    UnreadableImageError,
    read_header,
    read_image,
    strict_pillow,
)
from ganvae_core.builtin.sources.paths import data_files, existing_folder, readable
from ganvae_core.builtin.sources.storage import allocate
from ganvae_core.builtin.sources.stored import Labels, StoredSource, encode_labels
from ganvae_core.errors import DataError

Result = TypeVar("Result")


@final
class Folder(StoredSource):
    """All images under a folder, in the order of their paths; sub-folders at its first level are labels.

    Args:
        path: the folder
        resize: side of the square that the middle of each image is scaled to; default: as they are
        grayscale: make all images gray; default: gray where all are
        skip_corrupt: leave out images that cannot be read
    """

    def __init__(
        self, *, path: str, resize: int | None = None, grayscale: bool = False, skip_corrupt: bool = False
    ) -> None:
        if resize is not None and resize < 1:
            raise DataError(f"data.resize: {resize} is not possible: it is a side in pixels.")
        folder = existing_folder(path)
        files = _images_under(folder)
        with strict_pillow():
            x, reasons = _read(files, resize, grayscale, skip_corrupt)
        notes: tuple[str, ...] = ()
        if reasons:
            file = next(file for file in files if file in reasons)
            notes = (
                f"{len(reasons):,} of {len(files):,} files left out: {file} ({reasons[file]}) is the first",
            )
        kept = [file for file in files if file not in reasons]
        super().__init__(describe(x, f"'{path}'"), _labels(folder, kept), notes)


def _read(
    files: list[Path], resize: int | None, grayscale: bool, skip_corrupt: bool
) -> tuple[np.ndarray, dict[Path, str]]:
    """The images (N, C, H, W), and the reason for each file that is left out."""
    reasons: dict[Path, str] = {}
    headers = _in_threads(read_header, files, reasons)
    if resize is None:
        _check_sizes(headers)
    images = list(headers)
    channels = 1 if grayscale or all(header.gray for header in headers.values()) else 3
    shape = (channels, resize, resize) if resize else _first_shape(images, channels)
    x = allocate((len(images), *shape), np.uint8)
    position = {file: number for number, file in enumerate(images)}

    def decode(file: Path) -> None:
        image = read_image(file, channels, resize)
        if image.shape != shape:  # turned by their EXIF orientation, images of one size can differ
            raise _differ(images[0], shape[:0:-1], file, image.shape[:0:-1])
        x[position[file]] = image

    decoded = _in_threads(decode, images, reasons)
    if reasons:
        _report(files, reasons, skip_corrupt)
        for number, file in enumerate(decoded):  # in place: the data is never held twice
            x[number] = x[position[file]]
    return x[: len(decoded)], reasons


def _in_threads(
    function: Callable[[Path], Result], files: list[Path], reasons: dict[Path, str]
) -> dict[Path, Result]:
    """The function of each file, while Pillow decodes without Python's lock; adds a reason where there is no result."""

    def attempt(file: Path) -> Result | UnreadableImageError:
        try:
            return function(file)
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = dict(zip(files, threads.map(attempt, files), strict=True))
    reasons |= {
        file: str(result) for file, result in results.items() if isinstance(result, UnreadableImageError)
    }
    return {file: result for file, result in results.items() if not isinstance(result, UnreadableImageError)}


def _first_shape(files: list[Path], channels: int) -> tuple[int, int, int]:
    """The shape of the first image that can be read."""
    for file in files:
        with suppress(UnreadableImageError):
            _, height, width = read_image(file, channels, None).shape
            return channels, height, width
    return channels, 1, 1


def _check_sizes(headers: dict[Path, Header]) -> None:
    """Refuse images of different sizes from their headers alone, before any is decoded."""
    for file, header in headers.items():
        first, expected = next(iter(headers.items()))
        if sorted(header.size) != sorted(expected.size):
            raise _differ(first, expected.size, file, header.size)


def _differ(one: Path, one_size: tuple[int, ...], other: Path, other_size: tuple[int, ...]) -> DataError:
    return DataError(
        f"the images differ in size: {one} is {one_size[0]} × {one_size[1]}"
        f" and {other} is {other_size[0]} × {other_size[1]}.",
        "scale the middle square of each to one size:  data.resize=64",
    )


def _report(files: list[Path], reasons: dict[Path, str], skip_corrupt: bool) -> None:
    """Raise an error if unreadable files may not be skipped, or all are unreadable."""
    file = next(file for file in files if file in reasons)
    if len(reasons) == len(files):
        raise DataError(
            f"not one of {len(files):,} images can be read: {file} is the first ({reasons[file]})."
        )
    if not skip_corrupt:
        raise DataError(
            f"{file} is not an image that can be read ({reasons[file]}).",
            "leave such files out:  data.skip_corrupt=true",
            f"{len(reasons):,} of {len(files):,} files are like this",
        )


def _images_under(folder: Path) -> list[Path]:
    """Images in a folder and in its sub-folders, links included, sorted by path; hidden ones are skipped."""
    with readable(folder):
        files = sorted(_walk(folder, seen=set()), key=lambda file: file.relative_to(folder).parts)
    if files:
        return files
    hints = [f"it has data of another kind:  --data {folder / name}" for name in data_files(folder)[:3]]
    raise DataError(
        f"there is no image under '{folder}'.", *hints, f"formats that are read: {' '.join(SUFFIXES)}"
    )


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:  # a link to a folder above it
        return
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(folder / entry.name, seen | {real})
        elif entry.name.lower().endswith(SUFFIXES):
            yield folder / entry.name


def _labels(folder: Path, files: list[Path]) -> Labels | None:
    """The first sub-folders as classes, where all images lie in one and there are several."""
    places = [file.relative_to(folder).parts for file in files]
    if any(len(parts) == 1 for parts in places) or len({parts[0] for parts in places}) < 2:
        return None
    return encode_labels(np.asarray([parts[0] for parts in places]), len(files), f"'{folder}'")
