"""Folders of images, with labels from their sub-folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from ganvae_core.builtin.sources.labels import Labels, encode_labels
from ganvae_core.builtin.sources.paths import data_files, existing_folder, readable
from ganvae_core.builtin.sources.storage import allocate
from ganvae_core.builtin.sources.stored import StoredSource
from ganvae_core.errors import DataError

_FILES_AT_ONCE = 32

Item = TypeVar("Item")
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
            x, kept, failures = _read(files, resize, grayscale, skip_corrupt)
        described = describe(x, f"'{path}'")
        notes = described.notes
        if failures:
            file, why = failures[0]
            notes = (
                *notes,
                f"{len(failures):,} of {len(files):,} files left out: {file} ({why}) is the first",
            )
        super().__init__(described.x, described.spec, _labels(folder, kept), notes)


def _read(
    files: list[Path], resize: int | None, grayscale: bool, skip_corrupt: bool
) -> tuple[np.ndarray, list[Path], list[tuple[Path, str]]]:
    """The images (N, C, H, W), the files that they come from, and those left out, with the reason."""
    headers = dict(zip(files, _in_threads(read_header, files), strict=True))
    images = {file: header for file, header in headers.items() if isinstance(header, Header)}
    reasons = {file: str(error) for file, error in headers.items() if not isinstance(error, Header)}
    if resize is None:
        _check_sizes(images)
    channels = 1 if grayscale or all(header.gray for header in images.values()) else 3
    shape = _first_shape(list(images), channels, resize)
    x = np.empty((0, *shape), np.uint8)
    if images:
        x = allocate((len(images), *shape), np.uint8)
        reasons.update(_decode(list(images), x, resize))
    failures = [(file, reasons[file]) for file in files if file in reasons]
    if failures:
        _report(files, failures, skip_corrupt)
    good = [index for index, file in enumerate(images) if file not in reasons]
    if failures:
        for position, index in enumerate(good):  # in place: the data is never held twice
            x[position] = x[index]
    return x[: len(good)], [file for file in images if file not in reasons], failures


def _decode(files: list[Path], x: np.ndarray, resize: int | None) -> dict[Path, str]:
    """Fill x (N, C, H, W) with the images; returns why those that cannot be read cannot."""

    def read(position: int) -> None:
        image = read_image(files[position], x.shape[1], resize)
        if image.shape != x.shape[1:]:  # turned by their EXIF orientation, images of one size can differ
            raise _differ(files[0], _size(x[0]), files[position], _size(image))
        x[position] = image

    outcomes = _in_threads(read, range(len(files)))
    return {file: str(error) for file, error in zip(files, outcomes, strict=True) if error is not None}


def _first_shape(files: list[Path], channels: int, resize: int | None) -> tuple[int, ...]:
    """The shape of the first image that can be read."""
    if resize is not None:
        return channels, resize, resize
    images = (_attempt(lambda file: read_image(file, channels, None), file) for file in files)
    return next((image.shape for image in images if isinstance(image, np.ndarray)), (channels, 1, 1))


def _check_sizes(images: dict[Path, Header]) -> None:
    """Refuse images of different sizes from their headers alone, before any is decoded."""
    first: tuple[Path, Header] | None = None
    for file, header in images.items():
        if first is None:
            first = file, header
        elif sorted(header.size) != sorted(first[1].size):
            raise _differ(first[0], first[1].size, file, header.size)


def _differ(one: Path, one_size: tuple[int, int], other: Path, other_size: tuple[int, int]) -> DataError:
    return DataError(
        f"the images differ in size: {one} is {one_size[0]} × {one_size[1]}"
        f" and {other} is {other_size[0]} × {other_size[1]}.",
        "scale the middle square of each to one size:  data.resize=64",
    )


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[2], image.shape[1]


def _report(files: list[Path], failures: list[tuple[Path, str]], skip_corrupt: bool) -> None:
    file, why = failures[0]
    if len(failures) == len(files):
        raise DataError(f"not one of {len(files):,} images can be read: {file} is the first ({why}).")
    if not skip_corrupt:
        raise DataError(
            f"{file} is not an image that can be read ({why}).",
            "leave such files out:  data.skip_corrupt=true",
            f"{len(failures):,} of {len(files):,} files are like this",
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
    places = [file.relative_to(folder).parts for file in files]
    if any(len(parts) == 1 for parts in places) or len({parts[0] for parts in places}) < 2:
        return None
    return encode_labels(np.asarray([parts[0] for parts in places]), len(files), f"'{folder}'")


def _in_threads(
    function: Callable[[Item], Result], items: Sequence[Item]
) -> list[Result | UnreadableImageError]:
    """The function of each item, or why its image cannot be read; Pillow decodes without Python's lock."""

    def several(start: int) -> list[Result | UnreadableImageError]:
        return [_attempt(function, item) for item in items[start : start + _FILES_AT_ONCE]]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        groups = threads.map(several, range(0, len(items), _FILES_AT_ONCE))
        return [result for group in groups for result in group]


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | UnreadableImageError:
    try:
        return function(item)
    except UnreadableImageError as error:
        return error
