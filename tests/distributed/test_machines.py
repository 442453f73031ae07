"""Two machines, as far as two network namespaces with a cable between them are two machines, under torchrun."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from commands import (
    ENDLESS,
    ENOUGH_SECONDS,
    SMALL,
    children_of,
    finished,
    forked_ranks,
    model_of,
    newest,
    until,
)
from warm import Warm

from ganvae_core.store.checkpoints import read_checkpoint

CLONE_NEWNET = 0x40000000
"""Of Linux's ``setns``: the namespace is one of networks."""

pytestmark = pytest.mark.timeout(4 * ENOUGH_SECONDS)


@dataclass
class Machine:
    """A network namespace with one end of the cable, and a folder that the other machine does not see."""

    namespace: str
    interface: str
    address: str
    folder: Path

    def torchrun(self, head: str, *words: str) -> Warm:
        """Start its part of ``ganvae run``: one process of two."""
        options = [
            *("--nnodes", "2", "--nproc-per-node", "1"),
            *("--rdzv-backend", "c10d", "--rdzv-id", "1", "--rdzv-endpoint", f"{head}:29500"),
            # Machines that share a host's name cannot tell by it which of them the endpoint is.
            *("--rdzv-conf", f"is_host={self.address == head}", "--local-addr", self.address),
        ]
        return Warm(
            "torch.distributed.run",
            [*options, "-m", "ganvae_core", "run", *words],
            folder=self.folder,
            variables=os.environ | {"GLOO_SOCKET_IFNAME": self.interface, "OMP_NUM_THREADS": "1"},
            before=partial(enter, self.namespace),
        )


def enter(namespace: str) -> None:
    """Move this process to a network namespace, with a process in it that torch may take for its rank."""
    file = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), namespace)
    os.close(file)
    forked_ranks(1)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two of them, and a cable."""
    made: list[Machine] = []
    for number in (1, 2):
        name = f"gv{os.getpid()}{'ab'[number - 1]}"
        made.append(Machine(name, name, f"10.77.0.{number}", tmp_path / name))
        made[-1].folder.mkdir()
    first, second = made
    try:
        for machine in made:
            ip("netns", "add", machine.namespace)
        ip("link", "add", first.interface, "netns", first.namespace, "type", "veth",
           "peer", "name", second.interface, "netns", second.namespace)  # fmt: skip
        for machine in made:
            inside = ("-n", machine.namespace)
            ip(*inside, "addr", "add", f"{machine.address}/24", "dev", machine.interface)
            ip(*inside, "link", "set", machine.interface, "up")
            ip(*inside, "link", "set", "lo", "up")
        yield first, second
    finally:
        for machine in made:
            if shutil.which("ip"):
                subprocess.run(["ip", "netns", "del", machine.namespace], capture_output=True)


def ip(*words: str) -> None:
    """Make a part of a network, or skip the test where that is not allowed."""
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces cannot be made here")


@pytest.fixture
def begun() -> Iterator[list[Warm]]:
    """The launchers that a test has started; what a test that failed has left is ended."""
    launchers: list[Warm] = []
    yield launchers
    for launcher in launchers:
        if launcher.running():
            kill(launcher)


def kill(launcher: Warm) -> None:
    """End a launcher and its process at once, as when a machine is switched off."""
    ranks = children_of(launcher.pid)
    launcher.kill()
    for rank in ranks:
        os.kill(rank, signal.SIGKILL)


def test_two_machines_train_what_one_process_trains(
    machines: tuple[Machine, Machine], begun: list[Warm], tmp_path: Path
) -> None:
    head = machines[0].address
    words = (*SMALL, "--steps", "4", "--out", "run")
    begun += [machine.torchrun(head, *words) for machine in machines]
    done = [launcher.done() for launcher in begun]
    assert [one.code for one in done] == [0, 0], done
    (printed,) = (one.out for one in done if one.out)  # rank 0 is on either of them
    assert printed == "run\n"
    (run,) = (machine.folder / "run" for machine in machines if (machine.folder / "run").exists())
    assert any(" · 2 processes" in one.err for one in done)
    one = finished(*words[:-1], str(tmp_path / "one"), "engine.micro_batch_size=8", "--quiet")
    assert one.code == 0, one.err
    for name, value in model_of(str(tmp_path / "one"), 4).items():
        torch.testing.assert_close(model_of(str(run), 4)[name], value, rtol=1e-5, atol=1e-6)


def test_a_machine_that_is_gone_ends_the_run_with_something_to_go_on_from(
    machines: tuple[Machine, Machine], begun: list[Warm], tmp_path: Path
) -> None:
    run = str(tmp_path / "shared" / "run")
    begun += [machine.torchrun(machines[0].address, *ENDLESS, "--out", run) for machine in machines]
    until(lambda: Path(run, "checkpoints", "step-000020").exists())
    of_rank_0 = next(number for number, launcher in enumerate(begun) if " · 2 processes" in launcher.said())
    kill(begun[1 - of_rank_0])
    done = begun[of_rank_0].done()
    assert (done.code, done.out) == (1, "")
    step = newest(run)
    read_checkpoint(Path(run, "checkpoints", f"step-{step:06d}"))  # which checks its files
    error, *hints = done.err[done.err.index("error: ") :].splitlines()
    assert error.endswith("the connection to another process of this run was lost.")
    assert f"  saved up to step {step:,}" in hints
    assert f"  go on:  ganvae run --resume {run}" in hints
    again = finished("--resume", run, "--steps", str(step + 5), "--quiet")
    assert (again.code, again.out, again.err) == (0, f"{run}\n", "")
