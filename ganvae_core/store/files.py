"""Files that appear whole or not at all, texts of a bounded size, and pickles, which are refused."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import IO

from ganvae_core.errors import GanvaeError, TrainingError

DRAFT = ".draft"
LOGGER = logging.getLogger("ganvae")
CACHE_VARIABLE = "GANVAE_CACHE_DIR"
LARGEST_BYTES = 64 * 2**20
"""Of settings and records. A device may have no end, and a file of zeros takes no space on a disk."""


def read_bytes(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """What a file, a pipe or a device holds.

    Raises:
        OSError: it cannot be read, or holds more.
    """
    with path.open("rb") as file:
        holds_more = path.stat().st_size > largest
        content = b"" if holds_more else file.read(largest + 1)  # a device does not say how much it holds
    if holds_more or len(content) > largest:
        raise OSError(errno.EFBIG, f"it holds more than {largest // 2**20:,} MiB", str(path))
    return content


def read_text(path: Path, largest: int = LARGEST_BYTES, errors: str = "strict") -> str:
    """The same as text.

    Raises:
        OSError: it cannot be read, or holds more.
        UnicodeDecodeError: it is no text.
    """
    text = read_bytes(path, largest).decode("utf-8", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[IO[bytes]]:
    """A binary file to write that appears under its name when it is complete, or not at all.

    Raises:
        TrainingError: it could not be written.
    """
    draft = None
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            name = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT}")
            # Made with the rights of any new file: the umask cannot be read without being changed, in all threads.
            with name.open("xb") as file:
                draft = name
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
            draft = None
        finally:
            if draft is not None:
                draft.unlink(missing_ok=True)


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
    """Say which file could not be written, where the system says why.

    Raises:
        TrainingError: it could not be written.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(f"{path} could not be written: {error.strerror or error}.") from error


@contextlib.contextmanager
def tidying(path: Path) -> Generator[None]:
    """Warn where something that is of no use any more could not be taken away; the work goes on."""
    try:
        yield
    except OSError as error:
        LOGGER.warning("%s could not be taken away and stays: %s", path, error.strerror or error)


SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill")
_PROTOCOLS = tuple(bytes([0x80, version]) for version in range(2, 6))
_ZIP_MAGIC = b"PK"


def is_pickle(path: Path) -> bool:
    """Whether there is a file whose name or first bytes say that it is a pickle, or an archive that holds one."""
    try:
        if not path.is_file():
            return False
        if path.suffix.lower() in SUFFIXES:
            return True
        with path.open("rb") as file:
            begins = file.read(2)
        return begins in _PROTOCOLS or (begins == _ZIP_MAGIC and _holds_pickle(path))
    except OSError:
        return False  # whoever reads it next says why it cannot be read


def refuse_pickle(path: Path, where: str, error: type[GanvaeError], instead: str) -> None:
    """Raise where a file is a pickle.

    Args:
        path: of the file, which need not be there.
        where: it was given, as the first words of the message: ``--config``.
        error: what to raise.
        instead: what to give in its place.
    """
    if is_pickle(path):
        raise error(
            f"{where}: '{path}' is a pickle, which can run any code when it is read, so ganvae reads none.",
            instead,
        )


def _holds_pickle(path: Path) -> bool:
    """An archive of torch.save's has its pickle in ``<name>/data.pkl``."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def cache_folder() -> Path:
    """The folder of downloads: what ``GANVAE_CACHE_DIR`` names, else the user's cache as the system has it."""
    import pooch

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser().absolute() if named else pooch.os_cache("ganvae")
