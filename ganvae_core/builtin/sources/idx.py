"""IDX files, the format of MNIST (yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import final

import numpy as np

from ganvae_core.builtin.sources.describe import describe
from ganvae_core.builtin.sources.paths import existing_file, readable
from ganvae_core.builtin.sources.storage import MOST_DEFLATED, Readable, allocate, fill, native
from ganvae_core.builtin.sources.stored import StoredSource, encode_labels
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
        super().__init__(described, encoded)


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file, in this machine's byte order.

    Raises:
        DataError: it is no IDX file, or holds more or fewer values than its header says.
    """
    with readable(path, zlib.error, EOFError), path.open("rb") as file:
        zipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if zipped:
            with gzip.GzipFile(fileobj=file) as stream:
                return native(_unzipped(path, stream))
        dtype, shape = _header(path, file)
        _check_size(path, dtype, shape, path.stat().st_size - file.tell())
        return native(np.asarray(np.memmap(path, dtype, "r", file.tell(), shape)))


def _unzipped(path: Path, stream: Readable) -> np.ndarray:
    """Decompress into an array of the size that the header declares."""
    dtype, shape = _header(path, stream)
    if math.prod(shape) * dtype.itemsize > MOST_DEFLATED * path.stat().st_size:
        raise DataError(f"'{path}' is truncated: it cannot hold the rows that its header declares.")
    x = allocate(shape, dtype)
    _check_size(path, dtype, shape, fill(x, stream) + len(stream.read(1)))
    return x


def _header(path: Path, stream: Readable) -> tuple[np.dtype, tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise DataError(f"'{path}' is not an IDX file (it begins with {magic!r}).")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"'{path}' is truncated: its header ends early.")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if 0 in shape:
        raise DataError(f"'{path}' has no rows: its shape is {shape}.")
    return np.dtype(_TYPES[magic[2]]), shape


def _check_size(path: Path, dtype: np.dtype, shape: tuple[int, ...], held: int) -> None:
    declared = math.prod(shape) * dtype.itemsize
    if held < declared:
        raise DataError(f"'{path}' is truncated: {held:,} of {declared:,} bytes.")
    if held > declared:
        raise DataError(f"'{path}' is longer than its header says: more than {declared:,} bytes.")


def _labels_beside(path: Path) -> str | None:
    """The file of labels that goes with a file of images, by MNIST's names, gzipped or not."""
    name = path.name
    if "images" not in name or "idx3" not in name:
        return None
    name = name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    files = [path.with_name(name), path.with_name(f"{name}.gz")]
    return next((str(file) for file in files if file.exists()), None)
