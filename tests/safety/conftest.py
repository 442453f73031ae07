"""A small run, and a trap that tells whether code was run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Outcome, Say, train

from ganvae_core.cli.main import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps on an array, with checkpoints at two and four."""
    folder = tmp_path_factory.mktemp("trained")
    np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    return train(folder / "run", "--plugin", "vae", "--data", folder / "x.npy", "generator.hidden=[4]",
                 "encoder.hidden=[4]", "engine.checkpoint_every=2", steps=4)  # fmt: skip


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run, to do with what one likes."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file that is there once somebody's code was run."""
    return tmp_path / "code-was-run"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command; whatever it is given, it ends with a code of the contract and without a traceback."""

    def command(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert code in (0, 1, 2, 3), captured.err
        assert "Traceback" not in captured.err
        assert "something went wrong inside" not in captured.err, captured.err
        return Outcome(code, captured.out, captured.err)

    return command


@pytest.fixture
def every_verb(say: Say, tmp_path: Path) -> Callable[[Path], list[Outcome]]:
    """Do with a run whatever can be done with one."""

    def all_of_them(run: Path) -> list[Outcome]:
        made = tmp_path / "made"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        commands = (
            ("show", run), ("show", run, "--json"), ("runs", run.parent),
            ("sample", run, "-n", "2", "--checkpoint", "best"), ("sample", run, "-n", "2", "-o", made / "a.npz"),
            ("reconstruct", run, "-n", "2", "-o", made / "c.npz"), ("encode", run, "-o", made / "d.npz"),
            ("run", "--plugin", "vae", "--config", run / "config.yaml", "--dry-run"),
            ("run", "--resume", run, "--steps", "6"),
        )  # fmt: skip
        return [say(*words) for words in commands]

    return all_of_them
