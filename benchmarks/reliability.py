"""What trust costs: the time that checkpoints take from training, and whether memory grows in a long run.

Checkpoints: the VAE of engine_overhead.py trains on MNIST with a checkpoint every 100 steps, and without, in turns of
one process. Held-out measurement at each checkpoint is another thing than writing it, and is measured apart.
Memory: a small VAE trains for 50,000 steps with a checkpoint every 100, and its resident memory is read along the way.
Run it with GANVAE_DATA_DIR set to a folder that holds ``mnist/train-images-idx3-ubyte.gz``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from engine_overhead import BATCH_SIZE, StepTimes, make_objective, mnist
from interleaving import Segment, compare
from machine import machine
from reliability_table import write_page
from rich.console import Console

import ganvae_core as gv
from ganvae_core.builtin.metrics import Elbo
from ganvae_core.runs.observers import Recorder
from ganvae_core.store.directory import RunDirectory
from ganvae_core.store.files import whole_file

RESULTS = Path(__file__).parent / "results" / "reliability.json"
CHECKPOINT_EVERY = 100
TURN_STEPS = 330
"""No multiple of the interval: the checkpoint at the end of a fit is there with and without the others."""
MEMORY_STEPS = 50_000
READINGS = 50
NEVER = 10**9


def vae_engine(images: np.ndarray, folder: Path, *, every: int, measured: bool) -> gv.Engine:
    """The VAE of the engine's benchmark in a folder of its own, with a line in metrics.jsonl every 50 steps."""
    data = gv.split(gv.as_source(images), held_out=0.1)
    settings = gv.EngineSettings(
        steps=NEVER, batch_size=BATCH_SIZE, device="cpu", precision="fp32", samples_every=0, checkpoint_every=every,
        evaluate_every=None if measured else NEVER,
    )  # fmt: skip
    engine = gv.Engine(
        make_objective("vae", data.spec), data, settings,
        optimizers={"default": gv.OptimizerSettings(lr=1e-3)}, metrics=[Elbo()], saver=gv.CheckpointWriter(folder),
    )  # fmt: skip
    engine.callbacks.append(Recorder(RunDirectory(folder)))
    return engine


def turns(engine: gv.Engine) -> Segment:
    """Turns of an engine, from the first step to the last, all that was begun meanwhile being on disk."""
    watch = StepTimes()
    engine.callbacks.append(watch)

    def turn(steps: int) -> float:
        engine.fit(engine.step_index + steps)
        return watch.seconds

    return turn


def checkpoint_cost(
    images: np.ndarray, seconds: float, threads: int, console: Console
) -> list[dict[str, Any]]:
    """Training with checkpoints, and with measured checkpoints, against training without."""
    torch.set_num_threads(threads)
    found: list[dict[str, Any]] = []
    for name, measured in (
        ("checkpoints", False),
        ("checkpoints, each measured on 2,000 held-out rows", True),
    ):
        with tempfile.TemporaryDirectory(prefix="ganvae-reliability-") as folder:
            sides: dict[str, Segment] = {}
            for side, every in ((name, CHECKPOINT_EVERY), ("without", NEVER)):
                own = Path(folder) / str(every)
                own.mkdir()
                sides[side] = turns(vae_engine(images, own, every=every, measured=measured))
            comparison = compare("VAE 784-400-20", sides, steps=TURN_STEPS, batch_size=BATCH_SIZE, threads=threads,
                                 seconds=seconds, console=console)  # fmt: skip
            found.append(comparison.as_dict())
    return found


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Memory(gv.Callback):
    """Reads the resident memory at some of the logging intervals."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.readings: list[tuple[int, int]] = []

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if training.step % self.every == 0:
            self.readings.append((training.step, resident_bytes()))


def memory(steps: int) -> dict[str, Any]:
    """Resident memory over the steps of a run of a small VAE that logs, measures, draws and saves."""
    with tempfile.TemporaryDirectory(prefix="ganvae-reliability-") as folder:
        watch = Memory(max(50, steps // READINGS))
        settings = {
            "engine.device": "cpu", "engine.precision": "fp32", "engine.batch_size": 32, "generator.hidden": [64],
            "encoder.hidden": [64], "engine.checkpoint_every": CHECKPOINT_EVERY, "engine.samples_every": 5_000,
        }  # fmt: skip
        began = time.perf_counter()
        gv.train("vae", steps=steps, out=Path(folder) / "run", overrides=settings, callbacks=[watch])
        seconds = time.perf_counter() - began
    return {
        "steps": steps,
        "checkpoint_every": CHECKPOINT_EVERY,
        "seconds": round(seconds, 1),
        "readings": [{"step": step, "resident_bytes": held} for step, held in watch.readings],
    }


def store(results: Path, name: str, found: Any) -> None:
    """Put what was measured beside what is there of other measurements."""
    there = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    there[name] = {"machine": machine(), "found": found}
    with whole_file(results) as file:
        file.write((json.dumps(there, indent=1) + "\n").encode())


@click.command()
@click.option("--only", type=click.Choice(["checkpoints", "memory"]), help="Measure this alone.")
@click.option("--seconds", default=60.0, show_default=True, help="How long each comparison of speeds takes.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1), help="Of torch.")
@click.option(
    "--steps", default=MEMORY_STEPS, show_default=True, type=click.IntRange(min=100), help="Of the long run."
)
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--write-table", "table", is_flag=True, help="Write docs/reliability.md's table; measure nothing."
)
def main(only: str | None, seconds: float, threads: int, steps: int, results: Path, table: bool) -> None:
    """Measure what checkpoints cost, and memory over a long run."""
    console = Console(soft_wrap=True)
    if table:
        write_page()
        return
    work: dict[str, Callable[[], Any]] = {
        "checkpoints": lambda: checkpoint_cost(mnist(28), seconds, threads, console),
        "memory": lambda: memory(steps),
    }
    for name, measure in work.items():
        if only in (None, name):
            store(results, name, measure())
    console.print(f"written to {results}", highlight=False)


if __name__ == "__main__":
    main()
