"""The command line, called in this process, in an empty folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from ganvae_core.cli.main import main

SMALL = ("engine.steps=2", "engine.batch_size=16", "engine.device=cpu", "engine.log_every=1")
"""Settings with which any plugin trains in a moment."""


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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def say(folder: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command, whatever becomes of it."""

    def run(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def done(say: Say) -> Say:
    """Run a command that must succeed."""

    def run(*arguments: object) -> Outcome:
        outcome = say(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome

    return run


@pytest.fixture
def refused(say: Say, folder: Path) -> Refused:
    """Run a command that must be refused: one error with what to do, no traceback, and nothing written."""

    def run(*arguments: object, code: int = 2) -> str:
        before = files_in(folder)
        outcome = say(*arguments)
        assert (outcome.code, outcome.out) == (code, ""), outcome
        error, *hints = outcome.err.splitlines()
        assert error.startswith("error: "), outcome.err
        assert all(hint.startswith("  ") for hint in hints), outcome.err
        assert "inside ganvae" not in error
        assert files_in(folder) == before
        return outcome.err

    return run


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with what would tell that it has changed."""
    return {
        str(path.relative_to(folder)): (status.st_size, status.st_mtime_ns) if path.is_file() else (0, 0)
        for path in sorted(folder.rglob("*"))
        if (status := path.stat())
    }


def train(out: Path, *arguments: object) -> Path:
    """Train something small into ``out``."""
    assert main(["run", *SMALL, "--quiet", "--out", str(out), *(str(word) for word in arguments)]) == 0
    return out


def write_table(path: Path, rows: int = 40, extra: str = "") -> Path:
    """A table of three columns in units far from zero and one, and a label of two classes."""
    generator = np.random.default_rng(0)
    lines = [
        f"{generator.normal(170, 10):.3f},{generator.normal(7e4, 5e3):.1f},5,{('small', 'large')[row % 2]}"
        for row in range(rows)
    ]
    path.write_text("\n".join(["height,weight,legs,size", *lines]) + "\n" + extra)
    return path


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data and runs that tests share and leave as they are."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="session")
def vae_kept(kept: Path) -> Path:
    return train(kept / "vae", "--plugin", "vae", "generator.hidden=[4]", "encoder.hidden=[4]",
                 "engine.steps=4", "engine.checkpoint_every=2")  # fmt: skip


@pytest.fixture
def vae(vae_kept: Path, folder: Path) -> Path:
    """A run of four steps on the digits, with checkpoints at two and four, to do with what one likes."""
    shutil.copytree(vae_kept, folder / "vae")
    return Path("vae")


@pytest.fixture(scope="session")
def gan(kept: Path) -> Path:
    """A run without an encoder."""
    return train(kept / "gan", "--plugin", "gan", "generator.hidden=[4]", "critic.hidden=[4]")


@pytest.fixture(scope="session")
def table(kept: Path) -> Path:
    """A run on a table of numbers."""
    data = write_table(kept / "table.csv")
    return train(kept / "table", "--plugin", "vae", "--data", data, "data.columns=[height,weight,legs]",
                 "generator.hidden=[4]", "encoder.hidden=[4]")  # fmt: skip
