"""Whether a run uses the machine well: its threads, its estimate of time, and its sampling.

    python benchmarks/threads.py            # about six minutes; what is in results/threads.json is not done again

- ``engine.threads: auto``, alone and beside a process that keeps a core busy. For each recipe the run's trial chooses;
  then one thread and all take turns, and the choice is judged by the ratio of each pair of turns. The aim is 5 % of the
  better. The load of the machine before each is stored with it: beside other programs "alone" means little.
- The estimate of time after a twentieth of a run, against what the rest took. The aim is 25 %. The clock is the
  process's own CPU time on one thread, so that it does not depend on what else the machine does.
- Sampling 100,000 images against a bare loop over the generator, in turns, in CPU time on one thread. The aim is 5 %.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from engine_overhead import Name, make_objective
from interleaving import FEWEST_PAIRS, Segment, Spread, compare
from machine import machine
from rich.console import Console

import ganvae_core as gv
from ganvae_core.cli.progress import Remaining
from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import nest
from ganvae_core.engine.devices import computing_threads
from ganvae_core.evaluation.sampling import CHUNK, sample_rows
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.preparation import Preparation, prepare
from ganvae_core.runs.threads import chosen_threads
from ganvae_core.store.files import whole_file

RESULTS = Path(__file__).parent / "results" / "threads.json"
RECIPES = {"vae": (), "gan": (), "dcgan": ("generator.filters=16", "critic.filters=16")}
ESTIMATED_STEPS = {"vae": 900, "gan": 600, "dcgan": 180}
ESTIMATES = 5
"""Runs of each recipe: one alone may meet a machine that becomes slower in its middle."""
ALLOWED, ALLOWED_ESTIMATE = 1.05, 0.25
TURN_STEPS = 5
SAMPLES = 100_000
TURN_SAMPLES = {"vae": 40 * CHUNK, "dcgan": CHUNK}

Found = dict[str, Any]


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


def prepared(recipe: str, **changes: Any) -> Preparation:
    """The recipe on the digits, on the CPU."""
    pairs = [("engine.device", "cpu"), ("metrics", []), *(pair.split("=") for pair in RECIPES[recipe])]
    pairs += [(key.replace("_", ".", 1), value) for key, value in changes.items()]
    catalogue = installed_plugins()
    return prepare(
        configure(catalogue, recipe, None, [nest([(key, value) for key, value in pairs])]), catalogue
    )


def pairs_of_turns(preparation: Preparation, seconds: float) -> list[tuple[float, float]]:
    """Seconds of a step with one thread and with all, in turns that alternate for so many seconds."""
    engine, every = preparation.engine, torch.get_num_threads()
    engine.fit(2)
    pairs: list[tuple[float, float]] = []
    ends = time.perf_counter() + seconds

    def turn(threads: int) -> float:
        with computing_threads(threads):
            began = time.perf_counter()
            engine.fit(engine.state.step + TURN_STEPS)
            return (time.perf_counter() - began) / TURN_STEPS

    while time.perf_counter() < ends or len(pairs) < FEWEST_PAIRS:
        if len(pairs) % 2:
            every_time = turn(every)
            pairs.append((turn(1), every_time))
        else:
            pairs.append((turn(1), turn(every)))
    return pairs


def choice(recipe: str, busy: bool, seconds: float) -> Found:
    """What the trial takes, and how much slower that is than the other, a value for each pair of turns."""
    load = os.getloadavg()[0]
    with busy_core(busy):
        chosen, _ = chosen_threads(prepared(recipe))
        pairs = pairs_of_turns(prepared(recipe), seconds)
    slower = Spread.of([one / every if chosen == 1 else every / one for one, every in pairs])
    milliseconds = [Spread.of([1000 * pair[side] for pair in pairs]) for side in (0, 1)]
    return {
        "chosen": chosen, "one_ms": asdict(milliseconds[0]), "all_ms": asdict(milliseconds[1]), "pairs": len(pairs),
        "time_to_other": asdict(slower), "load_before": round(load, 1), "holds": slower.median <= ALLOWED,
    }  # fmt: skip


class Estimates(gv.Callback):
    """Estimates the rest of a run as its progress does, by a clock that is given."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.remaining = Remaining()
        self.found: list[tuple[int, float, float]] = []
        """Step, time and estimate."""

    def on_start(self, training: gv.TrainingView) -> None:
        self.remaining = Remaining(training.step, self.clock())

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        now = self.clock()
        left = self.remaining.after(training.step, training.target_steps, now)
        self.found.append((training.step, now, left))


def estimate(recipe: str) -> Found:
    """The estimate after a twentieth of a run by what the rest of its steps took, of several runs."""
    load, steps = os.getloadavg()[0], ESTIMATED_STEPS[recipe]
    ratios: list[float] = []
    for _ in range(ESTIMATES):
        watch = Estimates(time.process_time)
        with computing_threads(1):
            engine = prepared(recipe, engine_steps=steps, engine_log_every=max(1, steps // 60)).engine
            engine.callbacks.append(watch)
            engine.fit()
        _, then, left = next(each for each in watch.found if each[0] >= steps / 20)
        ratios.append(left / (watch.found[-1][1] - then))
    ratio = Spread.of(ratios)
    return {
        "runs": ESTIMATES, "steps": steps, "ratio": asdict(ratio), "load_before": round(load, 1),
        "holds": abs(ratio.median - 1) <= ALLOWED_ESTIMATE,
    }  # fmt: skip


def sampling(name: Name, seconds: float, console: Console) -> Found:
    """Sampling by the engine's functions against a loop over the generator, in CPU time."""
    load = os.getloadavg()[0]
    spec = gv.as_source(torch.zeros(2, 1, 28, 28) if name == "vae" else torch.zeros(2, 1, 32, 32)).spec
    model = make_objective(name, spec).model.eval().requires_grad_(False)
    device = torch.device("cpu")

    def timed(work: Callable[[int], Any]) -> Segment:
        def turn(count: int) -> float:
            began = time.process_time()
            work(count)
            return time.process_time() - began

        return turn

    def bare(count: int) -> torch.Tensor:
        made = torch.empty(count, *spec.shape)
        with torch.no_grad():
            for start in range(0, count, CHUNK):
                z = torch.randn(CHUNK, *model.prior.latent_shape)
                raw = model.generator(z)
                made[start : start + CHUNK] = raw.sigmoid() if name == "vae" else raw.tanh()
        return made

    sides = {
        "sample_rows": timed(lambda count: sample_rows(model, count, 0, device)),
        "bare loop": timed(bare),
    }
    with computing_threads(1):
        found = compare(f"sampling, {name}", sides, steps=TURN_SAMPLES[name], batch_size=1, threads=1,
                        seconds=seconds, console=console)  # fmt: skip
    images = found.pairs * found.steps
    return {
        **found.as_dict(),
        "images": images,
        "load_before": round(load, 1),
        "holds": found.ratio.median >= 0.95,
    }


def measurements(seconds: float, console: Console) -> dict[str, Callable[[], Found]]:
    """What is measured, by the name that it is stored under."""
    work: dict[str, Callable[[], Found]] = {}
    names: tuple[Name, ...] = ("vae", "dcgan")
    for name in names:
        work[f"sampling {name}"] = lambda name=name: sampling(name, seconds, console)
    for recipe in RECIPES:
        work[f"estimate {recipe}"] = lambda recipe=recipe: estimate(recipe)
        for busy in (False, True):
            key = f"threads {recipe}{' beside a busy core' if busy else ''}"
            work[key] = lambda recipe=recipe, busy=busy: choice(recipe, busy, seconds)
    return work


@click.command()
@click.option("--seconds", default=15.0, show_default=True, help="Of the turns of each comparison.")
@click.option("--only", help="Measure what begins with this alone: sampling, estimate, threads.")
@click.option("--again", is_flag=True, help="Measure what is stored, too.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path))
def main(seconds: float, only: str | None, again: bool, results: Path) -> None:
    """Measure the choice of threads, the estimate of time, and sampling."""
    os.environ.pop("OMP_NUM_THREADS", None)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    console = Console(soft_wrap=True)
    stored: dict[str, Any] = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    chosen = {
        name: work for name, work in measurements(seconds, console).items() if name.startswith(only or "")
    }
    for name, work in chosen.items():
        if again or name not in stored:
            stored[name] = {**work(), "machine": machine()}
            with whole_file(results) as file:
                file.write((json.dumps(stored, indent=1) + "\n").encode())
        shown = {key: value for key, value in stored[name].items() if key != "machine"}
        console.print(f"{name}: {json.dumps(shown)}", highlight=False)
    sys.exit(not all(stored[name]["holds"] for name in chosen))


if __name__ == "__main__":
    main()
