"""The command line, called in this process, in an empty folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import Outcome, Refused, Say, files_in, train, write_table


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def say(folder: Path, say: Say) -> Say:
    """Run a command in the folder, whatever becomes of it."""
    return say


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


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data and runs that tests share and leave as they are."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="session")
def vae_kept(kept: Path) -> Path:
    return train(kept / "vae", "--plugin", "vae", "generator.hidden=[4]", "encoder.hidden=[4]",
                 "engine.checkpoint_every=2", steps=4)  # fmt: skip


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
