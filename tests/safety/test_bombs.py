"""Files that unpack to far more than they are, or promise to: refused, and before the memory is taken."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import ganvae_core as gv
from ganvae_core.builtin.sources.arrays import Arrays
from ganvae_core.builtin.sources.folder import Folder
from ganvae_core.builtin.sources.idx import Idx
from ganvae_core.store.checkpoints import Checkpoint

UNPACKED = 300 * 2**20
LARGEST = 32 * 2**20


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail where a fraction of what a bomb unpacks to is allocated."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LARGEST


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(2**20)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def png_of_many_pixels(folder: Path) -> None:
    (folder / "a.png").write_bytes(png(60_000, 60_000))
    Folder(path=str(folder))


def png_of_much_text(folder: Path) -> None:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8 * 2**20), 9))
    (folder / "a.png").write_bytes(png(8, 8, text))
    Folder(path=str(folder))


def npy(shape: tuple[int, ...]) -> bytes:
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return written.getvalue()


def npz(folder: Path, header: bytes, declared: int) -> Path:
    """An archive whose member declares a size, and unpacks to UNPACKED zeros behind a header."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = packer.compress(header) + b"".join(
        packer.compress(bytes(2**20)) for _ in range(UNPACKED // 2**20)
    )
    stream += packer.flush()
    path = folder / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"")
        info = archive.infolist()[0]
        offset = info.header_offset + len(info.FileHeader())
    content = bytearray(path.read_bytes()[:offset] + stream)
    directory = len(content)
    sizes = struct.pack("<LLL", zlib.crc32(b""), len(stream), declared)
    struct.pack_into("<H", content, 8, zipfile.ZIP_DEFLATED)
    content[14:26] = sizes
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, zipfile.ZIP_DEFLATED, 0, 33, 0, len(stream),
                        declared, 5, 0, 0, 0, 0, 0, 0)  # fmt: skip
    content += entry + b"x.npy"
    content += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry) + 5, directory, 0)
    path.write_bytes(content)
    return path


def npz_that_holds_more_than_it_declares(folder: Path) -> None:
    Arrays(path=str(npz(folder, npy((4, 8, 8)), 4 * 64 + len(npy((4, 8, 8))))))


def idx_that_goes_on_after_its_rows(folder: Path) -> None:
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, 4, 8, 8)
    with gzip.open(folder / "a-idx3-ubyte.gz", "wb") as file:
        file.write(header)
        for _ in range(UNPACKED // 2**20):
            file.write(bytes(2**20))
    Idx(path=str(folder / "a-idx3-ubyte.gz"))


def idx_that_promises_more_than_its_file_can_hold(folder: Path) -> None:
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, 2**31, 2**10, 2**10)
    (folder / "a-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(100)))
    Idx(path=str(folder / "a-idx3-ubyte.gz"))


def safetensors(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    Checkpoint(folder, {"sha256": {"model.safetensors": digest}}).model()


def header_of(tensors: object, values: bytes = b"") -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + values


def safetensors_with_an_endless_header(folder: Path) -> None:
    safetensors(folder, struct.pack("<Q", 2**62) + b"{}")


def safetensors_with_a_huge_header(folder: Path) -> None:
    safetensors(folder, struct.pack("<Q", 99_000_000) + b" " * 1000)


def safetensors_with_a_huge_tensor(folder: Path) -> None:
    safetensors(folder, header_of({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}))


def safetensors_whose_sizes_overflow(folder: Path) -> None:
    safetensors(folder, header_of({"x": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}}))


def safetensors_that_read_beyond_their_end(folder: Path) -> None:
    safetensors(
        folder, header_of({"x": {"dtype": "U8", "shape": [100], "data_offsets": [0, 100]}}, bytes(10))
    )


def safetensors_of_a_deep_header(folder: Path) -> None:
    text = b'{"x":' * 50_000
    safetensors(folder, struct.pack("<Q", len(text)) + text)


BOMBS: list[Callable[[Path], None]] = [
    png_of_many_pixels, png_of_much_text, npz_that_holds_more_than_it_declares,
    idx_that_goes_on_after_its_rows, idx_that_promises_more_than_its_file_can_hold,
    safetensors_with_an_endless_header, safetensors_with_a_huge_header, safetensors_with_a_huge_tensor,
    safetensors_whose_sizes_overflow, safetensors_that_read_beyond_their_end, safetensors_of_a_deep_header,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_is_refused_before_it_takes_memory(bomb: Callable[[Path], None], tmp_path: Path) -> None:
    with little_memory(), pytest.raises((gv.DataError, gv.RunError)):
        bomb(tmp_path)
