"""Folders of images, with labels from their sub-folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np

from ganvae_core.builtin.sources.describe import Scale
from ganvae_core.builtin.sources.images import Fit, UnreadableImageError, read_header, suffixes
from ganvae_core.builtin.sources.paths import data_files, existing, readable
from ganvae_core.builtin.sources.pictures import Encoded, Frames, Pictures, Treatment
from ganvae_core.builtin.sources.stored import Labels, encode_labels
from ganvae_core.errors import DataError, did_you_mean

TRAINING_PARTS = ("train", "training")
PARTS = (*TRAINING_PARTS, "val", "valid", "validation", "dev", "test", "testing", "holdout")
"""Sub-folders of these names alone are parts of a data set, and no classes."""
NO_DATA = ("thumbs.db", "desktop.ini", "__macosx")
"""What systems leave in folders. Names that begin with a dot are left out, too."""


@final
class Folder(Pictures):
    """All images under a folder, in the order of their paths, or one image file. Sub-folders are labels.

    A single sub-folder is entered. Where all sub-folders are called ``train``, ``val``, ``test`` and their like, they
    are parts, and the classes are below them.

    Args:
        path: the folder, or an image file
        part: of the data set, one of such sub-folders; by default ``train``
        resize: side of the square that each image is scaled to; default: as they are
        fit: what becomes of other proportions: ``crop`` takes the middle square, ``pad`` adds black borders,
            ``stretch`` scales all of it
        grayscale: make all images gray, or none of them; default: gray where all are
        frames: of animations and of files with several pages
        max_pixels: of one image; by default Pillow's limit
        skip_corrupt: leave out images that cannot be read
        scale: how values become a model's: ``pixels`` are divided by white, ``range`` maps the lowest and the highest
            to 0 and 1, ``standardise`` makes mean 0 and deviation 1, ``none`` keeps them; by default the values decide
    """

    of_one_file = frozenset({"part"})

    def __init__(
        self,
        *,
        path: str,
        part: str | None = None,
        resize: int | None = None,
        fit: Fit = "crop",
        grayscale: bool | None = None,
        frames: Frames = "first",
        max_pixels: int | None = None,
        skip_corrupt: bool = False,
        scale: Scale = "auto",
    ) -> None:
        treatment = Treatment(resize, fit, grayscale, frames, max_pixels, skip_corrupt, scale)
        found = existing(path, "folder")
        root = found if found.is_dir() else found.parent
        with readable(found):
            files, strays = _found(found)
        if not files:
            _refuse(root, strays)
        chosen, classes, notes = _places([name for name, *_ in files], path, part)
        if strays:
            count = (
                f"{len(strays):,} other files are not images and are"
                if len(strays) > 1
                else "1 other file is not an image and is"
            )
            notes += (f"{count} left out: {root / min(strays)}",)
        super().__init__(_Files(root, files, chosen, classes), treatment, chosen, notes)


_File = tuple[str, int, int]
"""A file's name relative to the folder, its size in bytes, and the time of its last change in nanoseconds."""


class _Files(Encoded):
    """Files under a folder, and the classes of the chosen ones (sorted), if there are any."""

    def __init__(
        self, root: Path, files: Sequence[_File], chosen: np.ndarray, classes: np.ndarray | None
    ) -> None:
        stamps = np.array([stamp for _, *stamp in files], np.int64).reshape(-1, 2)
        super().__init__([name for name, *_ in files], stamps, str(root.resolve()))
        self._root, self._chosen, self._classes = root, chosen, classes

    def get(self, number: int) -> Path:
        return self._root / self.names[number]

    def called(self, number: int) -> str:
        return str(self.get(number))

    def labels(self, numbers: np.ndarray) -> Labels | None:
        if self._classes is None:
            return None
        values = self._classes[np.searchsorted(self._chosen, numbers)]
        return encode_labels(values, len(numbers), f"'{self.place}'") if len(np.unique(values)) > 1 else None


def _places(
    names: Sequence[str], path: str, part: str | None
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Go down through single folders and parts to the folders that are classes.

    Returns:
        (N,) sorted numbers of the files that are read, (N,) their classes if their places say any, and notes.
    """
    places = [name.split("/") for name in names]
    chosen, depth, notes = np.arange(len(names)), 0, []
    while True:
        beside = sum(len(places[number]) == depth + 1 for number in chosen)
        firsts = sorted({places[number][depth] for number in chosen if len(places[number]) > depth + 1})
        if beside or not firsts:
            if beside and len(firsts) > 1:
                notes.append(
                    f"{beside:,} images lie beside the sub-folders {firsts[0]}, {firsts[1]} …, so there are no labels"
                )
            classes = None
            break
        if all(first.lower() in PARTS for first in firsts) and (len(firsts) > 1 or part is not None):
            read, note = _part(firsts, part)
            if read:
                chosen = np.array([number for number in chosen if places[number][depth] == read])
            notes.append(note)
            part = None
        elif len(firsts) > 1:
            classes = np.array([places[number][depth] for number in chosen])
            break
        depth += 1
    if part is not None:
        raise DataError(
            f"data.part: '{path}' has no parts: its sub-folders are {', '.join(firsts[:5]) or 'none'}.",
            f"parts are sub-folders that are all called {', '.join(PARTS)}",
        )
    if depth and classes is not None:
        above = "/".join([path.rstrip("/"), *places[chosen[0]][:depth]])
        notes.append(f"the classes are the sub-folders of '{above}'")
    return chosen, classes, tuple(notes)


def _part(firsts: Sequence[str], part: str | None) -> tuple[str, str]:
    """Which part of a data set is read, empty for all, and a note."""
    if part is not None and part not in firsts:
        raise DataError(
            f"data.part: there is no '{part}'.{did_you_mean(part, firsts)}", f"parts: {', '.join(firsts)}"
        )
    listed = ", ".join(firsts)
    read = part or next((first for first in firsts if first.lower() in TRAINING_PARTS), "")
    if not read:
        return (
            "",
            f"the sub-folders {listed} are parts, not classes, and all are read: data.part=NAME reads one",
        )
    other = next((first for first in firsts if first != read), read)
    return read, (
        f"the sub-folders {listed} are parts, not classes: '{read}' is read;  data.part={other} reads another"
    )


def _found(path: Path) -> tuple[list[_File], list[str]]:
    """The image files under a folder, sorted by path, and the names of other files."""
    if not path.is_dir():
        return [_file(path.name, path.stat())], []
    files: list[_File] = []
    strays: list[str] = []
    endings = suffixes()
    for entry, name in _walk(str(path), "", set()):
        ending = os.path.splitext(name)[1].lower()
        if ending in endings or (not ending and _is_image(entry.path)):
            try:
                status = entry.stat()
            except OSError:  # a link to a file that is gone, which is said where it is read
                status = entry.stat(follow_symlinks=False)
            files.append(_file(name, status))
        else:
            strays.append(name)
    return sorted(files, key=lambda file: file[0].split("/")), strays


def _file(name: str, status: os.stat_result) -> _File:
    return name, status.st_size, status.st_mtime_ns


def _is_image(path: str) -> bool:
    """Whether a file without an ending is an image."""
    try:
        read_header(Path(path), None)
    except UnreadableImageError:
        return False
    return True


def _walk(folder: str, above: str, seen: set[str]) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Files in a folder and in its sub-folders, links included, with their names relative to the first."""
    real = os.path.realpath(folder)
    if real in seen:  # a link to a folder above it
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in NO_DATA:
                continue
            if entry.is_dir():
                yield from _walk(entry.path, f"{above}{entry.name}/", seen | {real})
            else:
                yield entry, above + entry.name


def _refuse(folder: Path, strays: Sequence[str]) -> None:
    hints = [f"it has data of another kind:  --data {folder / name}" for name in data_files(folder)[:3]]
    raise DataError(
        f"there is no image under '{folder}'.",
        *hints,
        f"{len(strays):,} files there are not images, {min(strays)} for example" if strays else "",
        "formats that are read: those of Pillow, such as .png .jpg .webp .tif .bmp .gif .avif .ppm",
    )
