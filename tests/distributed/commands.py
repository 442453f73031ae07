"""What the tests of commands that several processes run share: small settings, and looks at what became of them."""

from __future__ import annotations

import os
import pickle
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch
import torch
from warm import Done, ganvae, run_to_the_end

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


TWO = ("--processes", "2")


def finished(*words: str) -> Done:
    """``ganvae run``, run until it ends, in processes that begin with torch."""
    return ganvae("run", *words, before=forked_ranks if "--processes" in words else None)


class Rank(subprocess.Popen[bytes]):
    """A process that waits for the command that it is to run."""

    waiting: list[tuple[int, int]] = []  # noqa: RUF012
    """Their numbers, and the pipes that they read from."""

    def _execute_child(self, args: tuple[str, ...], executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any,
                       cwd: Any, env: dict[str, str], *further: Any) -> None:  # fmt: skip
        self.pid, pipe = Rank.waiting.pop(0)
        self._child_created = True
        with os.fdopen(pipe, "wb") as file:
            pickle.dump((args, env), file)


def forked_ranks(count: int = 2) -> None:
    """Let torch take processes for ranks that were forked from this one, so that they need not import it."""
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    for _ in range(count):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.close(write)
            with os.fdopen(read, "rb") as file:
                try:
                    (_, *words), variables = pickle.load(file)
                except EOFError:  # the launcher has ended without it
                    os._exit(0)
            os.environ.clear()
            os.environ.update(variables)
            run_python([word for word in words if word not in ("-P", "-u")])
        os.close(read)
        Rank.waiting.append((pid, write))
    subprocess_handler.Popen = Rank  # pyright: ignore


def run_python(words: list[str]) -> NoReturn:
    """Run what an interpreter is given, ``-m MODULE`` or a script, after a filter of warnings."""
    if words[0] == "-W":
        warnings.simplefilter(words[1])  # pyright: ignore[reportArgumentType]
        words = words[2:]
    if words[0] == "-m":
        run_to_the_end(words[1], "", words[2:])
    run_to_the_end("", Path(words[0]).read_text("utf-8"), words[1:])


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
