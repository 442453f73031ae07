"""What the tests of the command line share: small settings, what a command gave, and small runs to try it on."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ganvae_core.cli.main import main

SMALL = ("engine.batch_size=16", "engine.device=cpu", "engine.log_every=1")
"""Settings with which any plugin trains in a moment; the steps are to be named, too."""
LONG = ("run", "--plugin", "vae", *SMALL, "generator.hidden=[4]", "encoder.hidden=[4]")
"""The smallest VAE, without a number of steps."""
VAE = (*LONG, "engine.steps=2")


@dataclass(frozen=True)
class Outcome:
    """What a command gave: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


class Refused(Protocol):
    """Runs a command that must be refused, and gives what it said."""

    def __call__(self, *arguments: object, code: int = 2) -> str: ...


Say = Callable[..., Outcome]


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with what would tell that it has changed."""
    return {
        str(path.relative_to(folder)): (status.st_size, status.st_mtime_ns) if path.is_file() else (0, 0)
        for path in sorted(folder.rglob("*"))
        if (status := path.stat())
    }


def train(out: Path, *arguments: object, steps: int = 2) -> Path:
    """Train something small into ``out``."""
    words = ["run", *SMALL, f"engine.steps={steps}", "--quiet", "--out", out, *arguments]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([str(word) for word in words]) == 0
    return out


@dataclass(frozen=True)
class Ended:
    """A process of ``compare`` that has ended: its command ran in this process."""

    returncode: int
    output: bytes

    def poll(self) -> int:
        return self.returncode

    def communicate(self, timeout: float) -> tuple[bytes, bytes]:
        return self.output, b""


def at_once(worker: object, words: list[str], output: int) -> Ended:
    """``Worker._start`` of ``compare`` without a new process."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(words)
    return Ended(code, printed.getvalue().encode())


def write_table(path: Path, rows: int = 40, extra: str = "") -> Path:
    """A table of three columns in units far from zero and one, and a label of two classes."""
    generator = np.random.default_rng(0)
    lines = [
        f"{generator.normal(170, 10):.3f},{generator.normal(7e4, 5e3):.1f},5,{('small', 'large')[row % 2]}"
        for row in range(rows)
    ]
    path.write_text("\n".join(["height,weight,legs,size", *lines]) + "\n" + extra)
    return path


def size_of(picture: str | Path) -> tuple[int, int]:
    """Width and height in pixels."""
    with Image.open(picture) as image:
        return image.size
