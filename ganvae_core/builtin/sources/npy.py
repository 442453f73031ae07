"""NumPy's own files: .npy mapped into memory, and the arrays of an .npz.

Nothing is unpickled, and nothing is allocated before the file is known to hold that much.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ganvae_core.builtin.sources.paths import readable, reason
from ganvae_core.builtin.sources.storage import MOST_DEFLATED, allocate, fill
from ganvae_core.errors import DataError

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK"

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_HEADER_ERRORS = (ValueError, TypeError, EOFError, SyntaxError, RecursionError, tokenize.TokenError)
# zipfile raises RuntimeError and ValueError for unknown features and names.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped and read-only.

    Raises:
        DataError: the file is damaged, cut short, or holds Python objects.
    """
    with readable(path, ValueError), path.open("rb") as stream:
        shape, fortran_order, dtype = _header(stream, f"'{path}'")
        size, held = math.prod(shape) * dtype.itemsize, path.stat().st_size - stream.tell()
        if held < size:
            raise DataError(f"'{path}' is truncated: {held:,} of {size:,} bytes of values.")
        if size == 0:
            return np.empty(shape, dtype)
        order = "F" if fortran_order else "C"
        return np.asarray(np.memmap(path, dtype, "r", stream.tell(), shape, order))


class Npz:
    """The arrays of an open .npz file, read one by one."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self.keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]

    def read(self, key: str) -> np.ndarray:
        """The array of that name, in memory if it fits.

        Raises:
            DataError: it is damaged, cut short, of another size than it declares, or holds Python objects.
        """
        where = f"array '{key}' of '{self.path}'"
        member = self._archive.getinfo(f"{key}.npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where} is compressed in a way that NumPy does not use.")
        if member.file_size > MOST_DEFLATED * (member.compress_size + 1):
            raise DataError(f"{where} declares {member.file_size:,} bytes, more than it can hold.")
        with _whole(where), self._archive.open(member) as stream:
            shape, fortran_order, dtype = _header(stream, where)
            size, held = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
            if held != size:
                raise DataError(
                    f"{where} is damaged: it declares {size:,} bytes of values and holds {held:,}."
                )
            x = allocate(shape[::-1] if fortran_order else shape, dtype)
            if size and fill(x, stream) < size:
                raise DataError(f"{where} is truncated.")
            return x.T if fortran_order else x


@contextmanager
def open_npz(path: Path) -> Generator[Npz]:
    """An .npz file, closed afterwards.

    Raises:
        DataError: the file is no whole zip archive.
    """
    with readable(path):
        with _whole(f"'{path}'"):
            archive = zipfile.ZipFile(path)
        with archive:
            yield Npz(path, archive)


@contextmanager
def _whole(where: str) -> Generator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        raise DataError(f"{where} is truncated or damaged: {reason(error)}.") from error


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type."""
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"version {version[0]}.{version[1]}, which plain numbers never need")
        shape, fortran_order, dtype = _HEADERS[version](stream)
        if any(size < 0 for size in shape):
            raise ValueError(f"shape {shape}")
    except _HEADER_ERRORS as error:
        raise DataError(f"{where} has a damaged header: {reason(error)}.") from error
    if dtype.hasobject:
        raise DataError(
            f"{where} holds Python objects, which could run any code when loaded, and are refused.",
            "store numbers:  np.save(FILE, np.stack(rows))",
        )
    return shape, fortran_order, dtype
