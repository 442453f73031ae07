"""What the engine costs: its speed next to bare loops that were written by hand for one model.

Both train the same networks on MNIST with fused Adam, on data in memory, in turns within one process. The engine logs
every 50 steps and draws its progress bar. Run it with GANVAE_DATA_DIR set to a folder that holds
``mnist/train-images-idx3-ubyte.gz``.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import torch
from bare_loops import Batches, GANLoop, VAELoop
from ganvae_dcgan.networks import DCGANCritic, DCGANGenerator
from ganvae_gan.objective import NonSaturating
from ganvae_vae.objective import ELBO
from interleaving import Comparison, Segment, compare
from machine import machine
from rich.console import Console

import ganvae_core as gv
from ganvae_core.builtin.sources.idx import read_idx
from ganvae_core.cli.progress import Progress
from ganvae_core.runs.observers import Recorder
from ganvae_core.store.directory import RunDirectory

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "engine_overhead.json"
README = HERE / "README.md"
TABLE_BEGINS, TABLE_ENDS = "<!-- table begins -->", "<!-- table ends -->"
BATCH_SIZE = 128
GAN_LATENT_SIZE = 64
GAN_LR, GAN_BETAS = 2e-4, (0.5, 0.999)
VAE_LR = 1e-3
PROFILED_FUNCTIONS = 40
Name = Literal["vae", "dcgan", "dcgan-reusing"]


@dataclass(frozen=True)
class Work:
    """What is trained, and how long a turn is: over a second, so that the bar is drawn some times in it."""

    title: str
    steps: int
    profiled_steps: int


WORKS: Mapping[Name, Work] = {
    "vae": Work("VAE 784-400-20", 300, 1000),
    "dcgan": Work("DCGAN 32 × 32", 5, 10),
    "dcgan-reusing": Work("DCGAN 32 × 32, bare loop reuses its fakes", 5, 10),
}


class StepTimes(gv.Callback):
    """Times the steps of a fit, without what comes before the first and after the last."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0

    def on_start(self, training: gv.TrainingView) -> None:
        self.began = time.perf_counter()

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        self.seconds = time.perf_counter() - self.began


def engine_turns(engine: gv.Engine, folder: Path) -> Segment:
    """Turns of an engine as ``ganvae run`` drives it: a line in metrics.jsonl every 50 steps, a bar in a terminal."""
    watch = StepTimes()
    terminal = Console(file=open(os.devnull, "w"), force_terminal=True, highlight=False)  # noqa: SIM115
    run = RunDirectory.create(Path(tempfile.mkdtemp(dir=folder)), "benchmark")
    bar = Progress(terminal, "images", lambda: engine.step_index)
    engine.callbacks.extend([Recorder(run), bar, watch])  # the watch comes last

    def turn(steps: int) -> float:
        engine.fit(engine.step_index + steps)
        return watch.seconds

    return turn


def bare_turns(loop: VAELoop | GANLoop) -> Segment:
    """Turns of a hand-written loop."""

    def turn(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            loop.step()
        return time.perf_counter() - began

    return turn


def mnist(side: int) -> np.ndarray:
    """(60000, 1, side, side) uint8."""
    folder = os.environ.get("GANVAE_DATA_DIR")
    if folder is None:
        raise click.UsageError("GANVAE_DATA_DIR is not set: the folder that holds mnist/")
    images = read_idx(Path(folder) / "mnist" / "train-images-idx3-ubyte.gz")
    border = (side - images.shape[1]) // 2
    return np.pad(images, ((0, 0), (border, border), (border, border)))[:, None]


def make_objective(name: Name, spec: gv.DataSpec) -> ELBO | NonSaturating:
    """New networks, the same for both sides."""
    torch.manual_seed(0)
    if name == "vae":
        latent = (20,)
        encoder = gv.MLPEncoder(spec, latent, hidden=(400,))
        generator = gv.MLPGenerator(latent, spec.shape, hidden=(400,))
        return ELBO(gv.Model(generator, gv.StandardNormal(latent), gv.Bernoulli(spec), encoder))
    latent = (GAN_LATENT_SIZE,)
    generator = DCGANGenerator(latent, spec.shape, filters=64)
    model = gv.Model(generator, gv.StandardNormal(latent), gv.Point(spec))
    return NonSaturating(model, spec, lambda data: DCGANCritic(data, filters=64))


def make_engine(name: Name, images: np.ndarray, precision: Literal["fp32", "bf16"] = "fp32") -> gv.Engine:
    """The engine on the CPU; bf16 brings channels_last with it."""
    data = gv.split(gv.as_source(images), held_out=0.0)
    optimizer = gv.OptimizerSettings(lr=VAE_LR)
    if name != "vae":
        optimizer = gv.OptimizerSettings(lr=GAN_LR, optimizer=gv.Adam(betas=GAN_BETAS))
    settings = gv.EngineSettings(
        steps=10**9, batch_size=BATCH_SIZE, device="cpu", precision=precision, samples_every=0,
        checkpoint_every=10**9,
    )  # fmt: skip
    return gv.Engine(make_objective(name, data.spec), data, settings, optimizers={"default": optimizer})


def make_bare_loop(name: Name, images: np.ndarray) -> VAELoop | GANLoop:
    """The loop by hand, on networks of its own."""
    objective = make_objective(name, gv.as_source(images).spec)
    batches = Batches(images, BATCH_SIZE)
    if isinstance(objective, ELBO):
        assert objective.model.encoder is not None
        return VAELoop(objective.model.encoder, objective.model.generator, batches, VAE_LR)
    return GANLoop(
        objective.model.generator, objective.critic, batches, GAN_LATENT_SIZE,
        lr=GAN_LR, betas=GAN_BETAS, reuse_fakes=name == "dcgan-reusing",
    )  # fmt: skip


def measure(name: Name, threads: int, seconds: float, console: Console) -> Comparison:
    """The engine against the bare loop."""
    torch.set_num_threads(threads)
    images = mnist(28 if name == "vae" else 32)
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "engine": engine_turns(make_engine(name, images), Path(folder)),
            "bare loop": bare_turns(make_bare_loop(name, images)),
        }
        work = WORKS[name]
        return compare(work.title, sides, steps=work.steps, batch_size=BATCH_SIZE,
                       threads=threads, seconds=seconds, console=console)  # fmt: skip


def measure_bf16(threads: int, seconds: float, console: Console) -> Comparison:
    """The engine on the DCGAN in bf16 with channels_last against itself in fp32."""
    torch.set_num_threads(threads)
    images = mnist(32)
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "engine, bf16": engine_turns(make_engine("dcgan", images, "bf16"), Path(folder)),
            "engine, fp32": engine_turns(make_engine("dcgan", images, "fp32"), Path(folder)),
        }
        work = WORKS["dcgan"]
        return compare(work.title, sides, steps=work.steps, batch_size=BATCH_SIZE,
                       threads=threads, seconds=seconds, console=console)  # fmt: skip


def profile(name: Name, threads: int, console: Console) -> None:
    """Print where the time of a step goes, for both sides; the profiler itself slows every call a little."""
    torch.set_num_threads(threads)
    images = mnist(28 if name == "vae" else 32)
    steps = WORKS[name].profiled_steps
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "engine": engine_turns(make_engine(name, images), Path(folder)),
            "bare loop": bare_turns(make_bare_loop(name, images)),
        }
        for side, turn in sides.items():
            turn(max(1, steps // 10))
            profiler = cProfile.Profile()
            profiler.enable()
            turn(steps)
            profiler.disable()
            _print_profile(f"{WORKS[name].title}, {side}", profiler, steps, console)


def _print_profile(title: str, profiler: cProfile.Profile, steps: int, console: Console) -> None:
    console.print(f"\n{title}: microseconds a step", highlight=False)
    console.print(f"{'own':>9} {'with callees':>13} {'calls':>8}  function", highlight=False)
    entries = pstats.Stats(profiler).stats.items()  # pyright: ignore[reportAttributeAccessIssue]
    slowest = sorted(entries, key=lambda entry: entry[1][2], reverse=True)[:PROFILED_FUNCTIONS]
    for (file, line, function), (_, calls, own, cumulative, _) in slowest:
        place = function if file == "~" else f"{function} ({Path(file).parent.name}/{Path(file).name}:{line})"
        figures = f"{own * 1e6 / steps:9.1f} {cumulative * 1e6 / steps:13.1f} {calls / steps:8.1f}"
        console.print(f"{figures}  {place}", highlight=False, markup=False, soft_wrap=True)


def write_table(results: Path, readme: Path) -> None:
    """Put the table of the results between the marks in the README."""
    found = json.loads(results.read_text(encoding="utf-8"))
    where = found["machine"]
    lines = [
        f"{where['cpu']}, {where['cores']} cores, Python {where['python']}, torch {where['torch']}, {where['date']}.",
        "",
        "| work | threads | judged (images/s) | judged by (images/s) | ratio, median (quartiles) | pairs |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["comparisons"]:
        first, second, ratio = row["first_speed"], row["second_speed"], row["ratio"]
        lines.append(
            f"| {row['work']} | {row['threads']} | {row['first']} {first['median']:,.0f} "
            f"| {row['second']} {second['median']:,.0f} | **{ratio['median']:.3f}** "
            f"({ratio['lower_quartile']:.3f} to {ratio['upper_quartile']:.3f}) "
            f"| {row['pairs']} of {row['steps']} steps |"
        )
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    table = "\n".join(lines)
    readme.write_text(f"{before}{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}{after}", encoding="utf-8")


@click.command()
@click.option(
    "--work", "names", multiple=True, type=click.Choice(list(WORKS)), help="Measure this alone; repeatable."
)
@click.option("--threads", multiple=True, type=click.IntRange(min=1),
              help="Threads of torch; repeatable. Default: the number of cores, and 1.")  # fmt: skip
@click.option("--seconds", default=35.0, show_default=True, help="How long each comparison takes.")
@click.option("--bf16", is_flag=True, help="Also compare bf16 with channels_last to fp32, on the DCGAN.")
@click.option(
    "--profile", "profiled", is_flag=True, help="Print where a step's time goes; measure nothing else."
)
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path),
              help="Where the figures are written as JSON.")  # fmt: skip
@click.option("--write-table", "table", is_flag=True,
              help="Write the table in README.md from the results; measure nothing.")  # fmt: skip
def main(
    names: tuple[Name, ...],
    threads: tuple[int, ...],
    seconds: float,
    bf16: bool,
    profiled: bool,
    results: Path,
    table: bool,
) -> None:
    """Measure the engine against bare loops written by hand, in turns."""
    console = Console(soft_wrap=True)
    if table:
        write_table(results, README)
        return
    # As the engine does: without it the loop takes up to twice as long after 1,000 steps.
    torch.set_flush_denormal(True)
    cores = os.cpu_count() or 1
    counts = threads or tuple(dict.fromkeys((cores, 1)))
    if profiled:
        for name in names or ("vae",):
            profile(name, counts[0], console)
        return
    comparisons = [measure(name, count, seconds, console) for count in counts for name in names or WORKS]
    if bf16:
        comparisons += [measure_bf16(counts[0], seconds, console)]
    results.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "comparisons": [comparison.as_dict() for comparison in comparisons]}
    results.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {results}", highlight=False)


if __name__ == "__main__":
    main()
