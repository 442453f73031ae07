"""All checks of the engine that need an accelerator, in one script of a few minutes.

Speed against bare loops in CUDA graphs, no wait for the device in a step, bitwise resume, memory, and recovery after it
ran out. With ``--device cpu`` it runs what a CPU can show, without graphs; the tests do so on tiny networks.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from bare_loops import Batches, GANLoop, VAELoop
from ganvae_dcgan.networks import DCGANCritic, DCGANGenerator
from ganvae_gan.objective import NonSaturating
from ganvae_vae.objective import ELBO
from machine import machine
from rich.console import Console
from torch import Tensor

import ganvae_core as gv
from ganvae_core.data.randomness import borrowed_randomness
from ganvae_core.engine.precision import computing
from ganvae_core.store.checkpoints import tensors_of

WARM_UP = 24
"""Steps before a measurement: kernels are chosen, code is compiled, and the data is placed on the device."""
LATENT = (64,)
MODES: list[tuple[str, bool]] = [("fp32", False), ("tf32", False), ("bf16", False), ("bf16", True)]


@dataclass(frozen=True)
class Work:
    """What is trained: ``vae`` or ``dcgan``."""

    name: str
    side: int
    rows: int
    batch_size: int
    steps: int
    width: int
    """Hidden units of the VAE, filters of the DCGAN."""


FULL = [Work("vae", 28, 60_000, 128, 300, 400), Work("dcgan", 64, 20_000, 128, 100, 64)]
TINY = [Work("vae", 8, 64, 8, 3, 16), Work("dcgan", 16, 64, 8, 2, 4)]


def images(work: Work) -> np.ndarray:
    """(rows, 1, side, side) uint8: speed does not depend on what they show."""
    return np.random.default_rng(0).integers(0, 256, (work.rows, 1, work.side, work.side), dtype=np.uint8)


def make_objective(work: Work, spec: gv.DataSpec) -> ELBO | NonSaturating:
    """New networks, the same each time."""
    torch.manual_seed(0)
    if work.name == "vae":
        generator = gv.MLPGenerator(LATENT, spec.shape, hidden=(work.width,))
        encoder = gv.MLPEncoder(spec, LATENT, hidden=(work.width,))
        return ELBO(gv.Model(generator, gv.StandardNormal(LATENT), gv.Bernoulli(spec), encoder))
    generator = DCGANGenerator(LATENT, spec.shape, filters=work.width)
    model = gv.Model(generator, gv.StandardNormal(LATENT), gv.Point(spec))
    return NonSaturating(model, spec, lambda data: DCGANCritic(data, filters=work.width))


def make_engine(work: Work, device: torch.device, **settings: Any) -> gv.Engine:
    """An engine that writes nothing while it trains."""
    data = gv.split(gv.as_source(images(work)), held_out=0.0)
    values = {"steps": 10**6, "batch_size": work.batch_size, "device": str(device), "log_every": 10**6,
              "samples_every": 0, "checkpoint_every": 10**6, "compile": False} | settings  # fmt: skip
    optimizers = {"default": gv.OptimizerSettings(lr=2e-4)}
    return gv.Engine(
        make_objective(work, data.spec), data, gv.EngineSettings(**values), optimizers=optimizers
    )


class StaticBatch:
    """A batch in one place of memory, which a CUDA graph reads: filled anew before each replay."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.x = batches.next()

    def next(self) -> Tensor:
        return self.x

    def fill(self) -> None:
        self.x.copy_(self.batches.next())


def bare_step(work: Work, device: torch.device, precision: str) -> Callable[[], object]:
    """A step of the loop by hand, as a CUDA graph where there is CUDA; call it where ``computing`` holds."""
    objective = make_objective(work, gv.as_source(images(work)).spec).to(device)
    batches = Batches(images(work), work.batch_size)
    batches.images, batches.order = batches.images.to(device), batches.order.to(device)
    model = objective.model
    if isinstance(objective, ELBO):
        assert model.encoder is not None
        loop = VAELoop(model.encoder, model.generator, batches, 2e-4)
        optimizers = [loop.optimizer]
    else:
        loop = GANLoop(model.generator, objective.critic, batches, LATENT[0], lr=2e-4, betas=(0.9, 0.999))
        optimizers = [loop.critic_optimizer, loop.generator_optimizer]

    def step() -> None:
        lower: AbstractContextManager[Any] = nullcontext()
        if precision == "bf16":  # casts that are kept must not outlive the capture of a graph
            lower = torch.autocast(device.type, torch.bfloat16, cache_enabled=device.type != "cuda")
        with torch.device(device), lower:
            loop.step()

    if device.type != "cuda":
        return step
    static = StaticBatch(batches)
    loop.batches = static  # pyright: ignore[reportAttributeAccessIssue]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["capturable"] = True
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay() -> None:
        static.fill()
        graph.replay()

    return replay


def images_per_second(step: Callable[[], object], work: Work, device: torch.device, warm_up: int) -> float:
    """Speed after a warm-up."""
    for _ in range(warm_up):
        step()
    _wait(device)
    began = time.perf_counter()
    for _ in range(work.steps):
        step()
    _wait(device)
    return work.steps * work.batch_size / (time.perf_counter() - began)


def speed(works: list[Work], device: torch.device, warm_up: int, console: Console) -> list[dict[str, Any]]:
    """Engine and bare loop, in each precision that the device has."""
    found: list[dict[str, Any]] = []
    for work in works:
        for precision, compiled in MODES if device.type == "cuda" else MODES[:1]:
            engine = make_engine(work, device, precision=precision, compile=compiled)
            peak = _peak(device)
            with borrowed_randomness(device) as generator, engine._computing.training():  # pyright: ignore
                own = images_per_second(partial(engine.step, generator), work, device, warm_up)
            used, peak = peak(), _peak(device)
            with computing(device, "fp32" if precision == "bf16" else precision):  # pyright: ignore
                bare = images_per_second(bare_step(work, device, precision), work, device, warm_up)
            row = {"work": work.name, "precision": precision, "compiled": compiled, "engine": own,
                   "bare": bare, "ratio": own / bare, "engine_mib": used, "bare_mib": peak()}  # fmt: skip
            found.append(row)
            console.print(
                f"{work.name}, {precision}{', compiled' if compiled else ''}: engine {own:,.0f} images/s, bare loop"
                f" {bare:,.0f}, ratio {own / bare:.3f}; at most {used:,.0f} and {row['bare_mib']:,.0f} MiB"
            )
    return found


def waits_for_nothing(works: list[Work], device: torch.device) -> str:
    """No step waits for the device: torch raises an error where one does."""
    if device.type != "cuda":
        return "needs CUDA"
    for work in works:
        engine = make_engine(work, device)
        with borrowed_randomness(device) as generator, engine._computing.training():  # pyright: ignore
            for _ in range(WARM_UP):
                engine.step(generator)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for _ in range(5):
                    engine.step(generator)
            finally:
                torch.cuda.set_sync_debug_mode("default")
    return "ok"


def resumes_bitwise(works: list[Work], device: torch.device, folder: Path) -> str:
    """Six steps in one go, and three, a checkpoint and three more, are the same bits."""
    from ganvae_core.store.checkpoints import read_checkpoint

    for work in works:
        options: dict[str, Any] = {"deterministic": True, "checkpoint_every": 3}
        whole = make_engine(work, device, **options).fit(6)
        place = folder / work.name
        first = make_engine(work, device, **options)
        first.attach(gv.CheckpointWriter(place), [])
        first.fit(3)
        second = make_engine(work, device, **options)
        (checkpoint,) = place.rglob("step-000003")
        second.restore(read_checkpoint(checkpoint))
        second.fit(6)
        one, other = tensors_of(whole.objective), tensors_of(second.objective)
        different = [name for name in one if not torch.equal(one[name], other[name])]
        if different:
            return f"{work.name}: {len(different)} of {len(one)} tensors differ, {different[0]} first"
    return "ok"


def recovers(device: torch.device) -> str:
    """A batch for which there is too little memory is computed in parts."""
    if device.type != "cuda":
        return "needs CUDA"
    work = Work("vae", 28, 60_000, 32_768, 3, 4096)
    make_engine(work, device, micro_batch_size=2048, precision="fp32").fit(2)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    make_engine(work, device, micro_batch_size=2048, precision="fp32").fit(2)
    enough = 1.3 * torch.cuda.max_memory_reserved(device)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(
        enough / torch.cuda.get_device_properties(device).total_memory, device
    )
    try:
        engine = make_engine(work, device, precision="fp32").fit(3)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    return (
        f"ok, with {engine.rows_at_once:,} rows at once"
        if engine.rows_at_once < 32_768
        else "memory sufficed"
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(device: torch.device) -> Callable[[], float]:
    """Begin to measure the largest allocated memory of a device, in MiB; 0 on a CPU."""
    if device.type != "cuda":
        return lambda: 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return lambda: torch.cuda.max_memory_allocated(device) / 2**20


def check(device: torch.device, *, tiny: bool, console: Console) -> dict[str, Any]:
    """All checks; what each of them found."""
    works, warm_up = (TINY, 1) if tiny else (FULL, WARM_UP)
    found: dict[str, Any] = {"machine": machine(device), "speed": speed(works, device, warm_up, console)}
    with tempfile.TemporaryDirectory() as folder:
        checks: dict[str, Callable[[], str]] = {
            "no wait in a step": lambda: waits_for_nothing(works, device),
            "bitwise resume": lambda: resumes_bitwise(works, device, Path(folder)),
            "recovery": lambda: recovers(device),
        }
        for name, run in checks.items():
            try:
                found[name] = run()
            except Exception as error:  # the other checks are still of use
                found[name] = f"{type(error).__name__}: {error}"
            console.print(f"{name}: {found[name]}")
    return found


@click.command()
@click.option("--device", "name", default="cuda", show_default=True, help="cuda, cuda:1, … or cpu.")
@click.option("--tiny", is_flag=True, help="Tiny networks and few steps: does the script itself work?")
@click.option("--results", default=Path(__file__).parent / "results" / "accelerator.json", show_default=True,
              type=click.Path(path_type=Path), help="Where the figures are written as JSON.")  # fmt: skip
def main(name: str, tiny: bool, results: Path) -> None:
    """Run all checks on a device."""
    found = check(torch.device(name), tiny=tiny, console=Console(soft_wrap=True, highlight=False))
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if any(str(found[check]).partition(" ")[0] not in ("ok,", "ok", "needs") for check in list(found)[2:]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
