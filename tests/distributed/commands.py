"""What the tests of commands that several processes run share: small settings, and looks at what became of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from warm import ganvae

ENOUGH_SECONDS = 600
SMALL = ("--plugin", "vae", "engine.batch_size=16", "engine.device=cpu", "generator.hidden=[4]", "encoder.hidden=[4]",
         "metrics=[]")  # fmt: skip
ENDLESS = (
    *SMALL,
    "--steps",
    "1000000",
    "engine.checkpoint_every=20",
    "engine.samples_every=0",
    "engine.log_every=20",
)
GANVAE = (sys.executable, "-m", "ganvae_core", "run")


def finished(*words: str, how: tuple[str, ...] = GANVAE) -> subprocess.CompletedProcess[str]:
    """A command, run until it ends; ``ganvae run`` itself in a process that begins with torch."""
    if how == GANVAE:
        done = ganvae("run", *words)
        return subprocess.CompletedProcess(words, done.code, done.out, done.err)
    return subprocess.run([*how, *words], capture_output=True, text=True, timeout=ENOUGH_SECONDS)


def until(there: Callable[[], bool]) -> None:
    give_up = time.monotonic() + ENOUGH_SECONDS
    while not there():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def children_of(process: int) -> list[int]:
    """The processes that one has started, oldest first."""
    found: list[tuple[int, int]] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(fields[1]) == process and fields[0] != "Z":
                found.append((int(fields[19]), int(entry.name)))
    return [number for _, number in sorted(found)]


def newest(run: str) -> int:
    return max(int(path.name[5:]) for path in Path(run, "checkpoints").glob("step-*"))


def model_of(run: str, step: int) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(Path(run, "checkpoints", f"step-{step:06d}", "model.safetensors"))
