"""NumPy's own files: .npy mapped into memory, and the arrays of an .npz, without trusting their headers.

Nothing is unpickled, and nothing is allocated before the file is known to hold that much.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ganvae_core.builtin.sources.paths import readable, reason
from ganvae_core.builtin.sources.storage import MOST_DEFLATED, allocate, fill
from ganvae_core.errors import DataError

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK"

_HEADER_ERRORS = (ValueError, TypeError, EOFError, SyntaxError, RecursionError, tokenize.TokenError)
# RuntimeError and ValueError are what zipfile makes of features and names that it does not know.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
_ENCRYPTED = 1


@dataclass(frozen=True)
class Header:
    """What a .npy header declares, and where the values begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped and read-only.

    Raises:
        DataError: the file is damaged, cut short, or holds Python objects.
    """
    with readable(path, ValueError):
        with path.open("rb") as stream:
            header = _header(stream, f"'{path}'")
        held = path.stat().st_size - header.offset
        if held < header.size:
            raise DataError(f"'{path}' is truncated: {held:,} of {header.size:,} bytes of values.")
        if header.size == 0:
            return np.empty(header.shape, header.dtype)
        order = "F" if header.fortran_order else "C"
        return np.asarray(np.memmap(path, header.dtype, "r", header.offset, header.shape, order))


class Npz:
    """The arrays of an .npz file, read one by one.

    Raises:
        DataError: the file is no whole zip archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path):
            try:
                self._archive = zipfile.ZipFile(path)
            except _ZIP_ERRORS as error:
                raise DataError(f"'{path}' is truncated or damaged: {reason(error)}.") from error

    @property
    def keys(self) -> list[str]:
        return [name.removesuffix(".npy") for name in self._archive.namelist() if name.endswith(".npy")]

    def read(self, key: str) -> np.ndarray:
        """The array of that name, in memory if it fits.

        Raises:
            DataError: it is damaged, cut short, of another size than it declares, or holds Python objects.
        """
        where = f"array '{key}' of '{self.path}'"
        member = self._archive.getinfo(f"{key}.npy")
        if member.flag_bits & _ENCRYPTED:
            raise DataError(f"{where} is encrypted.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where} is compressed in a way that NumPy does not use.")
        if member.file_size > MOST_DEFLATED * (member.compress_size + 1):
            raise DataError(f"{where} declares {member.file_size:,} bytes, more than it can hold.")
        with readable(self.path):
            try:
                with self._archive.open(member) as stream:
                    return _values(stream, member.file_size, where)
            except _ZIP_ERRORS as error:
                raise DataError(f"{where} is truncated or damaged: {reason(error)}.") from error

    def close(self) -> None:
        self._archive.close()


def _values(stream: IO[bytes], member_size: int, where: str) -> np.ndarray:
    header = _header(stream, where)
    held = member_size - header.offset
    if held != header.size:
        raise DataError(
            f"{where} is damaged: it declares {header.size:,} bytes of values and holds {held:,}."
        )
    x = allocate(header.shape[::-1] if header.fortran_order else header.shape, header.dtype)
    done = fill(x, stream) if header.size else 0
    if done < header.size:
        raise DataError(f"{where} is truncated: {done:,} of {header.size:,} bytes of values.")
    return x.T if header.fortran_order else x


def _header(stream: IO[bytes], where: str) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise DataError(
                f"{where} is of version {version[0]}.{version[1]}, which plain numbers never need."
            )
    except _HEADER_ERRORS as error:
        raise DataError(f"{where} has a damaged header: {reason(error)}.") from error
    if dtype.hasobject:
        raise DataError(
            f"{where} holds Python objects, which could run any code when loaded, and are refused.",
            "store numbers:  np.save(FILE, np.stack(rows))",
        )
    if any(size < 0 for size in shape):
        raise DataError(f"{where} has a damaged header: shape {shape}.")
    return Header(shape, fortran_order, dtype, stream.tell())
