"""CIFAR-10's binary archive, read member by member without unpacking it anywhere."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ganvae_core.builtin.sources.paths import readable
from ganvae_core.builtin.sources.storage import Readable, allocate, fill
from ganvae_core.errors import DataError

IMAGE_SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
"""The label, then the red, the green and the blue plane, each row by row (cs.toronto.edu/~kriz/cifar.html)."""

_RECORDS_AT_ONCE = 1_000


def read_batches(path: Path, names: Sequence[str], records: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,), both uint8, of the named batches, one after the other.

    Args:
        path: the archive, a gzipped tar file.
        names: of the members with the batches, whatever folder they are in.
        records: in each batch.

    Raises:
        DataError: the archive is damaged, lacks a batch, or a batch has more or fewer records.
    """
    x = allocate((len(names) * records, *IMAGE_SHAPE), np.uint8)
    labels = np.empty(len(x), np.uint8)
    starts = {name: index * records for index, name in enumerate(names)}
    with readable(path, tarfile.TarError, zlib.error, EOFError), tarfile.open(path, "r:gz") as archive:
        while starts and (member := archive.next()) is not None:
            _check_size(path, member, records)
            name = PurePosixPath(member.name).name
            file = archive.extractfile(member) if member.isfile() and name in starts else None
            if file is not None:
                start = starts.pop(name)
                rows = slice(start, start + records)
                _read_records(path, member.name, file, x[rows], labels[rows])
    if starts:
        raise DataError(f"'{path}' is not CIFAR-10's archive: it lacks {', '.join(starts)}.")
    return x, labels


def _check_size(path: Path, member: tarfile.TarInfo, records: int) -> None:
    """Refuse a member that is larger than a batch, before it is read or passed over."""
    if member.size > records * RECORD_BYTES:
        raise DataError(
            f"'{path}' is not CIFAR-10's archive: {member.name} has {member.size:,} bytes,"
            f" and {records:,} records have {records * RECORD_BYTES:,}."
        )


def _read_records(path: Path, name: str, file: Readable, x: np.ndarray, labels: np.ndarray) -> None:
    """Fill x (N, 3, 32, 32) and labels (N,) from as many records."""
    for start in range(0, len(x), _RECORDS_AT_ONCE):
        rows = slice(start, min(len(x), start + _RECORDS_AT_ONCE))
        chunk = np.empty((rows.stop - start, RECORD_BYTES), np.uint8)
        held = fill(chunk, file)
        if held < chunk.nbytes:
            raise DataError(
                f"'{path}' is truncated: {name} has {start + held // RECORD_BYTES:,} of {len(x):,} records."
            )
        labels[rows] = chunk[:, 0]
        x[rows] = chunk[:, 1:].reshape(-1, *IMAGE_SHAPE)
