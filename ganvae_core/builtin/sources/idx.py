"""IDX files, the format of MNIST (yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import final

import numpy as np

from ganvae_core.builtin.sources.describe import Scale, describe
from ganvae_core.builtin.sources.paths import existing_file, readable
from ganvae_core.builtin.sources.storage import allocate, native
from ganvae_core.builtin.sources.stored import StoredSource, encode_labels
from ganvae_core.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK_BYTES = 2**20


@final
class Idx(StoredSource):
    """An IDX file, gzipped or not.

    Args:
        path: the file of images, or of any array
        labels: the file of labels; default: the one beside it that is named like MNIST's; empty for none
        scale: how values become a model's, as with arrays
    """

    of_one_file = frozenset({"labels"})

    def __init__(self, *, path: str, labels: str | None = None, scale: Scale = "auto") -> None:
        described = describe(read_idx(existing_file(path)), f"'{path}'", scale=scale)
        beside = _labels_beside(Path(os.path.expanduser(path))) if labels is None else labels
        encoded = None
        if beside:
            encoded = encode_labels(read_idx(existing_file(beside)), len(described.x), f"'{beside}'")
        super().__init__(*described, labels=encoded)


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file, in this machine's byte order: mapped, or in memory where it is gzipped.

    Raises:
        DataError: it is no IDX file, or holds more or fewer values than its header says.
    """
    with readable(path, zlib.error, EOFError), path.open("rb") as file:
        zipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if not zipped:
            dtype, shape = _header(path, file)
            _check_length(path, path.stat().st_size - file.tell(), dtype, shape)
            return native(np.asarray(np.memmap(path, dtype, "r", file.tell(), shape)))
        with gzip.GzipFile(fileobj=file) as stream:
            dtype, shape = _header(path, stream)
            x = allocate(shape, dtype)
            values = x.reshape(-1).view(np.uint8).data
            held = 0
            while count := stream.readinto(values[held : held + _CHUNK_BYTES]):
                held += count
            _check_length(path, held + len(stream.read(1)), dtype, shape)
    return native(x)


def _check_length(path: Path, held: int, dtype: str, shape: tuple[int, ...]) -> None:
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if held < expected:
        raise DataError(f"'{path}' is truncated: {held:,} of {expected:,} bytes.")
    if held > expected:
        raise DataError(f"'{path}' is longer than its header says: more than {expected:,} bytes.")


def _header(path: Path, stream: BufferedIOBase) -> tuple[str, tuple[int, ...]]:
    """Type and shape."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise DataError(f"'{path}' is not an IDX file (it begins with {magic!r}).")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"'{path}' is truncated: its header ends early.")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if 0 in shape:
        raise DataError(f"'{path}' has no rows: its shape is {shape}.")
    return _TYPES[magic[2]], shape


def _labels_beside(path: Path) -> str | None:
    """The file of labels that goes with a file of images, by MNIST's names, gzipped or not."""
    name = path.name
    if "images" not in name or "idx3" not in name:
        return None
    name = name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    files = [path.with_name(name), path.with_name(f"{name}.gz")]
    return next((str(file) for file in files if file.exists()), None)
