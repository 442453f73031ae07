"""IDX files: MNIST's own, others of every type, and damaged ones."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ganvae_core.builtin.sources import storage
from ganvae_core.builtin.sources.idx import Idx
from ganvae_core.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 7), dtype=np.uint8)
CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(x: np.ndarray, code: str = "u1") -> bytes:
    return struct.pack(f">HBB{x.ndim}I", 0, CODES[code], x.ndim, *x.shape) + x.astype(code).tobytes()


def write(path: Path, data: bytes, zipped: bool = False) -> str:
    path.write_bytes(gzip.compress(data) if zipped else data)
    return str(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["x.bin", "x.gz"])
def test_the_contents_and_not_the_name_tell_what_is_gzipped(tmp_path: Path, name: str, zipped: bool) -> None:
    source = Idx(path=write(tmp_path / name, idx(IMAGES), zipped))
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert np.array_equal(x[:, 0], IMAGES)
    assert np.shares_memory(x, source.rows(slice(1, 2)).x)
    assert labels is None
    assert source.spec.units.scale == (255.0,)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("code", list(CODES))
def test_every_type_is_read_in_native_byte_order(tmp_path: Path, code: str, zipped: bool) -> None:
    x = np.arange(100, 124).reshape(4, 6).astype(code)
    rows = Idx(path=write(tmp_path / "x", idx(x, code), zipped)).rows(slice(None)).x
    assert rows.dtype.isnative
    assert rows.dtype.name == x.dtype.name
    assert np.array_equal(rows, x)


@pytest.mark.parametrize("zipped", [False, True])
def test_labels_are_found_beside_the_images(tmp_path: Path, zipped: bool) -> None:
    path = write(tmp_path / "train-images-idx3-ubyte", idx(IMAGES))
    beside = "train-labels-idx1-ubyte" + (".gz" if zipped else "")
    write(tmp_path / beside, idx(np.array([9, 2, 2, 9, 4])), zipped)
    source = Idx(path=path)
    labels = source.rows(slice(None)).labels
    assert labels is not None
    assert labels.tolist() == [2, 0, 0, 2, 1]
    assert source.spec.classes == ("2", "4", "9")
    assert Idx(path=path, labels="").spec.classes is None


def test_labels_can_be_any_file_and_have_to_match(tmp_path: Path) -> None:
    path = write(tmp_path / "x", idx(IMAGES))
    assert Idx(path=path, labels=write(tmp_path / "y", idx(np.arange(5)))).spec.condition == (5,)
    with pytest.raises(DataError, match=r"labels do not match: .* has 4 labels for 5 rows"):
        Idx(path=path, labels=write(tmp_path / "y", idx(np.arange(4))))
    with pytest.raises(DataError, match="there is no file"):
        Idx(path=path, labels=str(tmp_path / "z"))


@pytest.mark.parametrize("zipped", [False, True])
def test_too_few_or_too_many_values_are_refused(tmp_path: Path, zipped: bool) -> None:
    with pytest.raises(DataError, match="truncated: 200 of 210 bytes"):
        Idx(path=write(tmp_path / "x", idx(IMAGES)[:-10], zipped))
    with pytest.raises(DataError, match="longer than its header says: more than 210 bytes"):
        Idx(path=write(tmp_path / "x", idx(IMAGES) + b"\0", zipped))


@pytest.mark.parametrize("length", [0, 1, 5, 15, 40, 120, -4, -9])
def test_a_gzipped_file_that_is_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    data = gzip.compress(idx(IMAGES))[:length]
    with pytest.raises(DataError, match=r"truncated|is empty|not an IDX file|ended before"):
        Idx(path=write(tmp_path / "x", data))


def test_damaged_compression_is_refused(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(idx(IMAGES)))
    data[-6] ^= 0xFF  # the checksum
    with pytest.raises(DataError, match="cannot be read: CRC check failed"):
        Idx(path=write(tmp_path / "x", data))
    data[10] |= 0x07  # a type of block that there is not
    with pytest.raises(DataError, match="cannot be read: Error -3"):
        Idx(path=write(tmp_path / "x", data))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n", "not an IDX file"),
        (b"\0\0\x07\x01" + bytes(8), "not an IDX file"),
        (b"\0\0\x08\x00" + bytes(8), "not an IDX file"),
        (b"\0\0\x08\x03" + bytes(8), "header ends early"),
        (b"\0\0\x08\x03" + bytes(12), "has no rows"),
        (b"\0\0\x0e\x04" + b"\xff" * 16, "fit neither in memory|is truncated: 0 of"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str, zipped: bool) -> None:
    with pytest.raises(DataError, match=message):
        Idx(path=write(tmp_path / "x", data, zipped))


def test_what_is_too_large_for_memory_is_unpacked_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mapped: Callable[[np.ndarray], bool]
) -> None:
    monkeypatch.setattr(storage, "available_memory", lambda: 300)
    rows = Idx(path=write(tmp_path / "x", idx(IMAGES), True)).rows(slice(None)).x
    assert is_mapped(rows)
    assert np.array_equal(rows[:, 0], IMAGES)


def test_mnist_is_read_whole_and_in_order(data_dir: Path) -> None:
    source = Idx(path=str(data_dir / "mnist/train-images-idx3-ubyte.gz"))
    x, labels = source.rows(slice(10)).x, source.labels(slice(10))
    assert labels is not None
    assert labels.tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert len(source) == source.spec.count == 60_000
    assert x.shape == (10, 1, 28, 28)
    assert source.spec.classes == tuple("0123456789")


MEMORY = """
import resource, sys
import numpy, torch
from ganvae_core.builtin.sources.idx import Idx
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
Idx(path=sys.argv[2])
before = peak()
source = Idx(path=sys.argv[1])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kilobytes on Linux alone")
def test_mnist_is_in_memory_once(data_dir: Path) -> None:
    files = [str(data_dir / f"mnist/{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")]
    command = [sys.executable, "-c", MEMORY, *files]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert int(result.stdout) < 1.15 * 60_000 * 784
