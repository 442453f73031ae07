"""Whether ``engine.threads: auto`` takes the faster of one thread and all, alone and beside a busy core.

    python benchmarks/threads.py            # about three minutes

For each recipe the run's own trial chooses; then one thread and all take turns for longer, and the choice is judged by
their medians. It passes where the choice is within 5 % of the better.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import torch
from machine import describe, machine

from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import nest
from ganvae_core.engine.devices import computing_threads
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.preparation import Preparation, prepare
from ganvae_core.runs.threads import chosen_threads

RECIPES = {"vae": (), "gan": (), "dcgan": ("generator.filters=16", "critic.filters=16")}
ALLOWED = 1.05


@contextmanager
def busy_core(wanted: bool) -> Generator[None]:
    """A context in which another process keeps a core busy."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def prepared(recipe: str, settings: tuple[str, ...]) -> Preparation:
    """The recipe on the digits, on the CPU."""
    pairs = [("engine.device", "cpu"), ("metrics", []), *(pair.split("=") for pair in settings)]
    catalogue = installed_plugins()
    return prepare(
        configure(catalogue, recipe, None, [nest([(key, value) for key, value in pairs])]), catalogue
    )


def seconds_of_turns(preparation: Preparation, seconds: float) -> tuple[float, float]:
    """Seconds of a step with one thread and with all, medians of turns that alternate for so many seconds."""
    engine, every = preparation.engine, torch.get_num_threads()
    engine.fit(2)
    times: tuple[list[float], list[float]] = ([], [])
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(times[0]) < 5:
        for threads, own in zip((1, every), times, strict=True):
            with computing_threads(threads):
                began = time.perf_counter()
                engine.fit(engine.state.step + 5)
                own.append((time.perf_counter() - began) / 5)
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="of the turns of each recipe, alone and beside"
    )
    arguments = parser.parse_args()
    os.environ.pop("OMP_NUM_THREADS", None)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    print(describe(machine()))
    failed = 0
    for recipe, settings in RECIPES.items():
        for busy in (False, True):
            with busy_core(busy):
                chosen, _ = chosen_threads(prepared(recipe, settings))
                one, every = seconds_of_turns(prepared(recipe, settings), arguments.seconds)
            taken = one if chosen == 1 else every
            ratio = taken / min(one, every)
            failed += ratio > ALLOWED
            print(
                f"{recipe}{' beside a busy core' if busy else ''}: one thread {1000 * one:.1f} ms a step, all"
                f" {1000 * every:.1f} ms; auto takes {chosen}, {ratio:.2f} of the better"
            )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
