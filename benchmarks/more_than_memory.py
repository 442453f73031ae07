"""Memory and seconds a sample from 60,000 to 10 million rows, and the first step on a folder of 50,000 images.

    python benchmarks/more_than_memory.py rows --rows 60000
    python benchmarks/more_than_memory.py rows --rows 10000000
    python benchmarks/more_than_memory.py folder --images 50000

Each call measures one size in a process of its own, and prints a line of JSON: memory is the resident memory of the
process without mapped file pages (``RssAnon``), before data is opened and after the batches.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import ganvae_core as gv
from ganvae_core.builtin.sources.arrays import Arrays
from ganvae_core.builtin.sources.folder import Folder
from ganvae_core.data.stream import DataStream

BATCH, BATCHES = 128, 500


def cpu_seconds() -> float:
    """Of this process, all threads together."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory_mib() -> float:
    """Resident memory of this process, without mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measured(open_source, count: int) -> dict[str, float]:
    """Seconds to the first batch, and memory and seconds a sample of those that follow."""
    before, cpu, wall = memory_mib(), cpu_seconds(), time.perf_counter()
    stream = DataStream(gv.split(open_source()), BATCH, 0, torch.device("cpu"))
    stream.batch_at(0)
    first_cpu, first = cpu_seconds() - cpu, time.perf_counter() - wall
    after_first, cpu = memory_mib(), cpu_seconds()
    for number in range(1, BATCHES):
        stream.batch_at(number * BATCH)
    each = (cpu_seconds() - cpu) / ((BATCHES - 1) * BATCH)
    stream.close()
    return {
        "rows": count,
        "seconds_to_first_batch": round(first, 2),
        "cpu_seconds_to_first_batch": round(first_cpu, 2),
        "cpu_microseconds_a_sample": round(1e6 * each, 2),
        "mib_added_by_opening": round(after_first - before, 1),
        "mib_added_by_batches": round(memory_mib() - after_first, 1),
    }


def rows(count: int, folder: Path) -> None:
    """Rows of 8 × 8 bytes in a file that is mapped."""
    file = folder / "x.npy"
    x = np.lib.format.open_memmap(file, "w+", np.uint8, (count, 8, 8))
    drawn = np.random.default_rng(0).integers(0, 256, (10_000, 8, 8), dtype=np.uint8)
    for start in range(0, count, len(drawn)):
        x[start : start + len(drawn)] = drawn[: count - start]
    x.flush()
    del x
    print(json.dumps(measured(lambda: Arrays(path=str(file)), count)))


def images(count: int, folder: Path) -> None:
    """JPEG files of 64 × 64 in ten folders; the first start reads their headers, the second one does not."""
    drawn = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    for number in range(10):
        (folder / "photos" / str(number)).mkdir(parents=True)
    Image.fromarray(drawn[0]).save(folder / "one.jpg")
    data = (folder / "one.jpg").read_bytes()
    for number in range(count):
        (folder / f"photos/{number % 10}/{number:06}.jpg").write_bytes(data)
    os.environ["GANVAE_CACHE_DIR"] = str(folder / "cache")
    for start in ("first start", "second start"):
        print(json.dumps({"what": start, **measured(lambda: Folder(path=str(folder / "photos")), count)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["rows", "folder"])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--images", type=int, default=50_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "rows":
            rows(arguments.rows, Path(folder))
        else:
            images(arguments.images, Path(folder))


if __name__ == "__main__":
    main()
