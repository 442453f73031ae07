"""Pickles are refused wherever a file is taken: to read one is to run whatever its writer put into it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ganvae_core.errors import GanvaeError

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
