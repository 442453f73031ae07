"""What a second process gains: two processes on two cores next to one process on one core, each with one thread.

Both train the DCGAN of ``engine_overhead.py`` on MNIST with the same global batch, in turns, so that what else the
machine does meets both alike. The processes of the side whose turn it is not wait on a pipe, which costs nothing.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
import torch
from engine_overhead import BATCH_SIZE, StepTimes, machine, make_engine, mnist
from interleaving import Segment, compare
from rich.console import Console
from torch.distributed import TCPStore

from ganvae_core.engine.environment import LOOPBACK, environment_of

RESULTS = Path(__file__).parent / "results" / "processes.json"
AIM = 1.6
ENDING_SECONDS = 30


@contextmanager
def training(processes: int) -> Generator[Segment]:
    """Processes that train together, and the turns that they take."""
    with socket.create_server((LOOPBACK, 0), backlog=processes) as server:
        port = server.getsockname()[1]
        store = TCPStore(
            LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=server.detach()
        )
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            env={**os.environ, **environment_of(rank, processes, port), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]

    def turn(steps: int) -> float:
        for worker in workers:
            print(steps, file=_pipe(worker.stdin), flush=True)
        return max(float(_pipe(worker.stdout).readline()) for worker in workers)

    try:
        yield turn
    finally:
        for worker in workers:
            _pipe(worker.stdin).close()
        for worker in workers:
            try:
                worker.wait(ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        del store


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def work() -> None:
    """What each process does: for each number of steps that it reads, train and print the seconds."""
    torch.set_num_threads(1)
    engine = make_engine("dcgan", mnist(32))
    watch = StepTimes()
    engine.callbacks.append(watch)  # of which rank 0 alone knows the time
    for line in sys.stdin:
        engine.fit(engine.step_index + int(line))
        print(watch.seconds, flush=True)


@click.command()
@click.option(
    "--processes", default=2, show_default=True, type=click.IntRange(min=2), help="How many train together."
)
@click.option("--steps", default=5, show_default=True, type=click.IntRange(min=1), help="In each turn.")
@click.option("--seconds", default=60.0, show_default=True, help="How long all turns together take.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path),
              help="Where the figures are written as JSON.")  # fmt: skip
@click.option("--worker", is_flag=True, hidden=True)
def main(processes: int, steps: int, seconds: float, results: Path, worker: bool) -> None:
    """Measure several processes against one, in turns."""
    if worker:
        work()
        return
    console = Console(soft_wrap=True)
    with training(processes) as several, training(1) as one:
        name = f"{processes} processes"
        comparison = compare(
            "DCGAN 32 × 32", {name: several, "one process": one},
            steps=steps, batch_size=BATCH_SIZE, threads=1, seconds=seconds, console=console,
        )  # fmt: skip
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = {
        "machine": machine(),
        "taken": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "load_average_at_the_end": load,
        "aim": AIM,
        "comparisons": [comparison.as_dict()],
    }
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {results}", highlight=False)


if __name__ == "__main__":
    main()
