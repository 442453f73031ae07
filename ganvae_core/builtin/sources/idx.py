"""IDX files: the format of MNIST and its kin."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, final

import numpy as np

from ganvae_core.builtin.sources.describe import describe
from ganvae_core.builtin.sources.labels import encode_labels
from ganvae_core.builtin.sources.paths import existing_file, readable
from ganvae_core.builtin.sources.storage import MOST_DEFLATED, allocate, fill, native
from ganvae_core.builtin.sources.stored import StoredSource
from ganvae_core.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@final
class Idx(StoredSource):
    """An IDX file, gzipped or not; one that is not gzipped is mapped into memory.

    Args:
        path: the file of images, or of any array
        labels: the file of labels; default: the one beside it by name (images-idx3, labels-idx1); empty for none
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
                raise DataError(f"'{path}' is truncated: it cannot hold the {header.size:,} bytes that it declares.")
            x = allocate(header.shape, header.dtype)
            held = _held(x, stream)
            _check_size(path, header, held + len(stream.read(1)) if held == header.size else held)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"'{path}' is damaged: {error}.") from error
    except EOFError as error:
        raise DataError(f"'{path}' is truncated: the compressed data end within its first values.") from error
    return x
