"""IDX files: the format of MNIST and its kin."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, final

import numpy as np

from ganvae_core.builtin.sources.describe import describe
from ganvae_core.builtin.sources.labels import encode_labels
from ganvae_core.builtin.sources.paths import existing_file, readable, reason
from ganvae_core.builtin.sources.storage import MOST_DEFLATED, Readable, allocate, fill, native
from ganvae_core.builtin.sources.stored import StoredSource
from ganvae_core.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@final
class Idx(StoredSource):
    """An IDX file, gzipped or not; one that is not gzipped is mapped into memory.

    Args:
        path: the file of images, or of any array
        labels: the file of labels; default: the one beside it that is named like MNIST's; empty for none
    """

    def __init__(self, *, path: str, labels: str | None = None) -> None:
        described = describe(read_idx(existing_file(path)), f"'{path}'")
        beside = _labels_beside(Path(path).expanduser()) if labels is None else labels
        encoded = None
        if beside:
            encoded = encode_labels(read_idx(existing_file(beside)), len(described.x), f"'{beside}'")
        super().__init__(described.x, described.spec, encoded, described.notes)


@dataclass(frozen=True)
class Header:
    """What an IDX header declares: type, shape, and where the values begin."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file, in this machine's byte order.

    Raises:
        DataError: it is no IDX file, or holds more or fewer values than its header says.
    """
    with readable(path), path.open("rb") as file:
        zipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if zipped:
            x = _unzipped(path, file)
        else:
            header = _header(path, file)
            _check_size(path, header, path.stat().st_size - header.offset)
            x = np.asarray(np.memmap(path, header.dtype, "r", header.offset, header.shape))
    return native(x)


def _unzipped(path: Path, file: IO[bytes]) -> np.ndarray:
    """Decompress into the one array that holds the values, as far as the header says and no further."""
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            header = _header(path, stream)
            if header.size > MOST_DEFLATED * path.stat().st_size:
                raise DataError(
                    f"'{path}' is truncated: it cannot hold the {header.size:,} bytes it declares."
                )
            x = allocate(header.shape, header.dtype)
            held = fill(x, stream)
            more = len(stream.read(1)) if held == header.size else 0
            _check_size(path, header, held + more)
            return x
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"'{path}' is damaged: {reason(error)}.") from error
    except EOFError as error:
        raise DataError(f"'{path}' is truncated: {reason(error)}.") from error


def _header(path: Path, stream: Readable) -> Header:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise DataError(f"'{path}' is not an IDX file (it begins with {magic!r}).")
    rank = magic[3]
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(f"'{path}' is truncated: its header ends early.")
    header = Header(np.dtype(_TYPES[magic[2]]), struct.unpack(f">{rank}I", sizes), 4 + 4 * rank)
    if header.size == 0:
        raise DataError(f"'{path}' has no rows: its shape is {header.shape}.")
    return header


def _check_size(path: Path, header: Header, held: int) -> None:
    if held < header.size:
        raise DataError(f"'{path}' is truncated: {held:,} of {header.size:,} bytes.")
    if held > header.size:
        raise DataError(f"'{path}' is longer than its header says: more than {header.size:,} bytes.")


def _labels_beside(path: Path) -> str | None:
    """The file of labels that goes with a file of images, by MNIST's names, gzipped or not."""
    name = path.name
    if "images" not in name or "idx3" not in name:
        return None
    name = name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    files = [path.with_name(name), path.with_name(f"{name}.gz")]
    return next((str(file) for file in files if file.exists()), None)
