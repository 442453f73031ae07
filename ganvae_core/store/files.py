"""Files that appear whole or not at all, and pickles, which are refused."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import IO

from ganvae_core.errors import GanvaeError, TrainingError

DRAFT = ".draft"
"""What the hidden name of a file ends in while it is written."""
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill")
LOGGER = logging.getLogger("ganvae")
CACHE_VARIABLE = "GANVAE_CACHE_DIR"


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[IO[bytes]]:
    """A binary file to write that appears under its name when it is complete, or not at all.

    Raises:
        TrainingError: it could not be written.
    """
    with whole_path(path) as draft, draft.open("xb") as file:
        yield file


@contextlib.contextmanager
def whole_path(path: Path) -> Generator[Path]:
    """A path of the same name to write a file or a folder to, which appears when it is complete, or not at all.

    A file takes the place of another one; a folder only that of an empty one.

    Raises:
        TrainingError: it could not be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT}")
        folder.mkdir()
        try:
            draft = folder / path.name
            yield draft
            if draft.is_file():
                with draft.open("rb") as file:
                    os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            shutil.rmtree(folder)


@contextlib.contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn an OSError into an error that names the file.

    Raises:
        TrainingError: it could not be written.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(f"{path} could not be written: {error.strerror or error}.") from error


@contextlib.contextmanager
def tidying(path: Path) -> Generator[None]:
    """Turn an OSError into a warning that something of no further use could not be removed."""
    try:
        yield
    except OSError as error:
        LOGGER.warning("%s could not be removed: %s", path, error.strerror or error)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with its content, if there is one.

    Raises:
        OSError: it stays.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_pickle(path: Path, where: str, error: type[GanvaeError], instead: str) -> None:
    """Raise where a file is a pickle by its name.

    Args:
        path: of the file, which need not exist.
        where: it was given, as the first words of the message: ``--config``.
        error: what to raise.
        instead: what to give in its place.
    """
    if path.suffix.lower() in PICKLES and path.is_file():
        raise error(
            f"{where}: '{path}' is a pickle, which can run any code when it is read, so ganvae reads none.",
            instead,
        )


def cache_folder() -> Path:
    """The folder of downloads: what ``GANVAE_CACHE_DIR`` names, else the user's cache as the system has it."""
    import pooch

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser().absolute() if named else pooch.os_cache("ganvae")
