"""Paths given by users: resolved, or refused with an explanation."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ganvae_core.errors import DataError, did_you_mean
from ganvae_core.store.files import refuse_pickle

DATA_SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".parquet")


def existing_file(path: str) -> Path:
    """The file of that name.

    Raises:
        DataError: there is none (with the nearest name that there is), it is a folder, or it is empty.
    """
    file = existing(path, "file")
    if file.is_dir():
        raise DataError(f"'{path}' is a folder, and this source reads a file.", *_within(file))
    with readable(file):
        if file.stat().st_size == 0:
            raise DataError(f"'{path}' is empty (0 bytes).")
    refuse_pickle(file, "data", DataError, "store its array:  np.save('x.npy', x)")
    return file


def existing_folder(path: str) -> Path:
    """The folder of that name.

    Raises:
        DataError: there is none (with the nearest name that there is), or it is a file.
    """
    folder = existing(path, "folder")
    if not folder.is_dir():
        raise DataError(
            f"'{path}' is a file, and this source reads a folder.",
            f"the source follows from its name:  --data {path}",
        )
    return folder


def data_files(folder: Path) -> list[str]:
    """Names of files in a folder that another source reads."""
    with readable(folder):
        return sorted(name for name in os.listdir(folder) if name.endswith(DATA_SUFFIXES) or "-idx" in name)


@contextmanager
def readable(path: Path, *errors: type[Exception]) -> Generator[None]:
    """Turn a library's exceptions on a damaged file into an error that names the file.

    Args:
        path: the file that is being read.
        errors: what the library raises, apart from OSError.
    """
    try:
        yield
    except (OSError, *errors) as error:
        raise DataError(f"'{path}' cannot be read: {reason(error)}.") from error


def reason(error: BaseException) -> str:
    """The reason of a library's failure, as the end of a sentence in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0].rstrip(".")


def existing(path: str, kind: str) -> Path:
    """The file or folder of that name; ``kind`` is what it is called in an error.

    Raises:
        DataError: there is none, with the nearest name that there is.
    """
    found = Path(os.path.expanduser(path))
    if os.path.exists(found):
        return found
    parent = found.parent
    if not parent.is_dir():
        raise DataError(f"there is no {kind} '{path}', nor a folder '{parent}'.")
    with readable(parent):
        raise DataError(f"there is no {kind} '{path}'.{did_you_mean(found.name, os.listdir(parent))}")


def _within(folder: Path) -> list[str]:
    hints = [f"name the file:  --data {folder / name}" for name in data_files(folder)[:3]]
    return hints or [f"is it a folder of images?  --data {folder}/"]
