"""The files that the pages' examples take for the reader's own."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

ROWS = 40


def make_own_files(folder: Path) -> None:
    """``photos/`` with two sub-folders, tables, arrays, and an IDX file with its labels."""
    random = np.random.default_rng(0)
    for index in range(ROWS):
        kind = folder / "photos" / ("cats", "dogs")[index % 2]
        kind.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (20 + index % 3, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(kind / f"{index}.png")
        Image.fromarray(pixels).save(folder / "one.png")

    table = random.normal((12.8, 0.35, 2.9), (0.8, 0.1, 0.6), (ROWS, 3))
    rows = [",".join(f"{value:.3f}" for value in row) + f",{index % 3}" for index, row in enumerate(table)]
    for name in ("wine.csv", "new.csv"):
        (folder / name).write_text("\n".join(["alcohol,acidity,sugar,kind", *rows]) + "\n")

    images = random.integers(0, 256, (ROWS, 12, 12), dtype=np.uint8)
    labels = (np.arange(ROWS) % 10).astype(np.uint8)
    np.save(folder / "x.npy", images)
    np.savez(folder / "x.npz", x=images, labels=labels)
    np.savez(folder / "mnist.npz", x_train=images, x_test=images[:10])
    idx = struct.pack(">BBBBIII", 0, 0, 8, 3, *images.shape) + images.tobytes()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx))
    idx = struct.pack(">BBBBI", 0, 0, 8, 1, len(labels)) + labels.tobytes()
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx))
