"""``ganvae run --processes`` and torchrun: what a person sees, which code it ends with, and what is left behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from commands import (
    ENDLESS,
    SMALL,
    TWO,
    children_of,
    finished,
    forked_ranks,
    model_of,
    newest,
    until,
)
from warm import Done, Warm, warm

import ganvae_core as gv
from ganvae_core.cli import main
from ganvae_core.cli.launcher import exit_code
from ganvae_core.engine import processes
from ganvae_core.engine.environment import environment_of
from ganvae_core.store.checkpoints import read_checkpoint


def torchrun(*words: str, before: Callable[[], object] | None = None) -> Done:
    """Two processes of a Python command, as torchrun starts them: by itself, as new interpreters."""
    options = ("--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2")
    return warm("torch.distributed.run", *options, *words, before=before)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


class Going:
    """An endless training by two processes that has saved something."""

    def __init__(self, out: str) -> None:
        self.process = Warm("ganvae_core", ["run", *ENDLESS, *TWO, "--out", out], before=forked_ranks)
        until(lambda: (Path(out) / "checkpoints" / "step-000020").exists())
        self.ranks = children_of(self.process.pid)
        assert len(self.ranks) == 2

    def end(self) -> None:
        """End what a test that failed has left."""
        if self.process.running():
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
            self.process.done()

    def ended(self) -> Done:
        """What it gave, once it and its ranks are gone."""
        done = self.process.done()
        until(lambda: not any(Path(f"/proc/{rank}").exists() for rank in self.ranks))
        return done


@pytest.fixture
def going(request: pytest.FixtureRequest) -> Callable[[str], Going]:
    def begin(out: str) -> Going:
        begun = Going(out)
        request.addfinalizer(begun.end)
        return begun

    return begin


def test_two_processes_say_what_one_says_and_train_what_one_trains() -> None:
    words = (*SMALL, "--steps", "4", "engine.checkpoint_every=2")
    found = finished(*words, *TWO, "--out", "two")
    assert (found.code, found.out) == (0, "two\n"), found.err
    machine, what, *rest = found.err.splitlines()
    machine, what = (what, rest[0]) if machine.startswith("reading") else (machine, what)
    assert machine.endswith(" · 2 processes")
    assert what == "vae on digits (1,617 images of 8 × 8 to learn from, 180 held out), 4 steps of 16"
    assert found.err.count("vae on digits") == 1
    assert finished(*words, "engine.micro_batch_size=8", "--out", "one", "--quiet").code == 0
    for name, value in model_of("one", 4).items():
        torch.testing.assert_close(model_of("two", 4)[name], value, rtol=1e-5, atol=1e-6)

    # One process goes on with what two began as two would have, and two with what one began in such micro-batches.
    again = finished("--resume", "two", "--steps", "8")
    assert again.code == 0
    assert "it goes on within rounding at best" in again.err
    back = finished("--resume", "one", "--steps", "8", "--quiet", *TWO)
    assert (back.code, back.out, back.err) == (0, "one\n", "")
    for name, value in model_of("one", 8).items():
        torch.testing.assert_close(model_of("two", 8)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("objective.bta=3",), "error: objective.bta: 'vae/elbo' has no option 'bta'."),
        (("engine.batch_size=1",), "error: a batch of 1 row cannot be shared by 2 processes."),
    ],
)
def test_a_mistake_is_said_once_and_nothing_is_written(
    words: tuple[str, ...], expected: str, folder: Path
) -> None:
    found = finished("--plugin", "vae", "engine.device=cpu", *words, *TWO, "--quiet")
    assert (found.code, found.out) == (2, ""), found.err
    assert found.err.startswith(expected)
    assert found.err.count("error:") == 1
    assert "Traceback" not in found.err
    assert all(line.startswith("  ") for line in found.err.splitlines()[1:])
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds its processes in /proc")
class TestEnds:
    """What ends one process ends all, with something to go on from."""

    @pytest.mark.parametrize("rank", [0, 1])
    def test_a_rank_that_is_killed_is_named(self, rank: int, going: Callable[[str], Going]) -> None:
        begun = going("run")
        os.kill(begun.ranks[rank], signal.SIGKILL)
        done = begun.ended()
        assert (done.code, done.out) == (1, "")
        step = newest("run")
        read_checkpoint(Path("run", "checkpoints", f"step-{step:06d}"))  # which checks its files
        error, *hints = done.err[done.err.index("error:") :].splitlines()
        assert error.startswith(f"error: rank {rank} of 2 (process {begun.ranks[rank]}) was ended by SIGKILL")
        assert [hint.strip() for hint in hints] == [
            f"saved up to step {step}",
            "go on:  ganvae run --resume run",
        ]
        again = finished("--resume", "run", "--steps", str(step + 5), "--quiet")
        assert (again.code, again.out, again.err) == (0, "run\n", ""), again.err
        assert gv.load("run").step == step + 5

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_saves_and_ends(self, number: int, going: Callable[[str], Going]) -> None:
        begun = going("run")
        os.kill(begun.process.pid if number == signal.SIGINT else begun.ranks[1], number)
        done = begun.ended()
        assert (done.code, done.out) == (128 + number, "")
        step = newest("run")
        said = done.err[done.err.index("stopped") :].splitlines()
        assert said == [f"stopped at step {step:,} of 1,000,000; saved.", "go on:  ganvae run --resume run"]

    def test_ranks_whose_launcher_is_gone_save_and_end(self, going: Callable[[str], Going]) -> None:
        begun = going("run")
        os.kill(begun.process.pid, signal.SIGKILL)
        until(lambda: not any(alive(rank) for rank in begun.ranks))
        assert newest("run") >= 20
        assert "stopped at step" in begun.process.done().err


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("codes", "received", "code"),
    [
        ([], [], 0),
        ([1, 143], [], 1),  # torch sent SIGTERM to the other
        ([1, 143, 2], [], 2),
        ([143, 1], [], 143),
        ([1, 143], [signal.SIGTERM], 143),
        ([-15], [signal.SIGINT], 130),
        ([-6], [], 134),
    ],
)
def test_the_code_of_all_ranks_is_that_of_the_first_that_failed_by_itself(
    codes: list[int], received: list[int], code: int
) -> None:
    assert exit_code(codes, received) == code


BROKEN = """
import numpy as np, sys
import ganvae_core as gv
from ganvae_core.cli import main
from ganvae_core.data.stream import DataStream
read = DataStream.batch_at
def batch_at(self, samples_seen):
    from ganvae_core.engine.processes import world
    if samples_seen == 32 and world().rank == 1:
        raise {error}
    return read(self, samples_seen)
DataStream.batch_at = batch_at
sys.exit(main({words!r}))
"""


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (
            "gv.DataError('x.png cannot be read.', 'mend it')",
            2,
            "error: rank 1: x.png cannot be read.\n  mend it\n",
        ),
        ("MemoryError('no more')", 1, "error: rank 1: something went wrong inside "),
    ],
)
def test_an_error_of_one_rank_alone_is_said_with_its_number_and_ends_with_its_code(
    error: str, code: int, expected: str, folder: Path
) -> None:
    words = ["run", *ENDLESS, "--out", "run", "--quiet"]
    (folder / "broken.py").write_text(BROKEN.format(error=error, words=words))
    command = [sys.executable, str(folder / "broken.py")]
    script = f"import sys; from ganvae_core.cli.launcher import watch; sys.exit(watch({command}, 2))"
    found = warm("", code=script, before=forked_ranks)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(expected), found.err
    assert found.err.count("error:") == 1
    assert "Traceback" not in found.err


LEFT = """
import atexit, sys
from pathlib import Path
@atexit.register
def say_which_threads_are_left():  # registered first, and so called last
    for thread in Path("/proc/self/task").glob("*/comm"):
        print(thread.read_text().strip())
from ganvae_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_torchrun_trains_the_same_and_no_thread_of_torch_outlives_training(folder: Path) -> None:
    # A thread that gives up a tensor of Python's while the interpreter goes away aborts the process.
    (folder / "left.py").write_text(LEFT)
    found = torchrun("left.py", "run", *SMALL, "--steps", "4", "--out", "run")
    assert found.code == 0, found.err
    assert found.out.splitlines().count("run") == 1
    assert "gloo" not in found.out
    assert found.err.count("vae on digits") == 1
    assert " · 2 processes" in found.err
    assert gv.load("run").step == 4


def test_torchrun_and_processes_must_agree_on_how_many() -> None:
    words = ("-m", "ganvae_core", "run", *SMALL, "--steps", "4", "--processes", "3")
    found = torchrun(*words, before=forked_ranks)
    assert found.code == 1  # torchrun's own code for any failure
    assert (
        found.err.count(
            "error: --processes 3: this is one of 2 processes that were started together already."
        )
        == 1
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WORLD_SIZE": "two"}, "error: WORLD_SIZE=two: it is the number of processes that train together."),
        ({"WORLD_SIZE": "2"}, "error: the 2 processes of this run could not connect: "),
        (
            {"WORLD_SIZE": "2", "RANK": "first"},
            "error: the 2 processes of this run could not connect: ",
        ),
    ],
)
def test_an_environment_that_makes_no_sense_is_said_to_be_so(
    environment: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["run", *SMALL, "--steps", "2"]) == 2
    assert capsys.readouterr().err.startswith(expected)


def test_of_a_word_that_slipped_rank_0_alone_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, says in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert main(["run", "--no-such-option"]) == 2
        assert ("No such option" in capsys.readouterr().err.replace("no such", "No such")) == says


def test_each_process_gets_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert environment_of(1, 3, 1)["OMP_NUM_THREADS"] == "2"
    assert environment_of(1, 20, 1)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert "OMP_NUM_THREADS" not in environment_of(1, 3, 1)


def test_a_rank_whose_launcher_was_killed_before_it_connects_ends_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as taken:  # nobody listens at its port
        taken.bind(("127.0.0.1", 0))
        for name, value in (("GANVAE_LAUNCHER", "1"), ("RANK", "0"), ("WORLD_SIZE", "2"),
                            ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", str(taken.getsockname()[1]))):  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(processes, "CONNECTING", timedelta(milliseconds=10))
        with pytest.raises(gv.ConfigurationError, match="could not connect"):
            processes.world()
