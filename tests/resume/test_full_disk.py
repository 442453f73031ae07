"""A disk that runs full, or fails: what was saved is whole, and the person is told what happened and what to do."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toys import engine, regression
from warm import Done, ganvae

import ganvae_core as gv
from ganvae_core.engine.loop import Engine
from ganvae_core.store.checkpoints import Snapshot, newest_whole
from ganvae_core.store.directory import RunDirectory
from ganvae_core.store.writer import CheckpointWriter

MOUNT = ["mount", "-t", "tmpfs", "tmpfs"]
TRAIN = (
    "run", "--plugin", "vae", "--steps", "40", "engine.device=cpu", "engine.batch_size=16", "engine.log_every=1",
    "engine.keep_checkpoints=100", "engine.samples_every=0", "generator.hidden=[64]", "encoder.hidden=[64]",
)  # fmt: skip
CHECKPOINT_KB = 200
"""Of the small VAE, about."""


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of so many kilobytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run([*MOUNT, "-o", f"size={request.param}k", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("only the superuser may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def train(out: Path, *settings: str, before: Callable[[], object] | None = None) -> Done:
    """Run the small VAE in a process of its own."""
    return ganvae(*TRAIN, *settings, "--out", out, before=before)


def allow_50_kb() -> None:
    """Let the process write files of at most so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))


def check_told(done: Done, reason: str) -> list[str]:
    """The error's lines: what could not be written and why, without a traceback."""
    lines = done.err.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    assert (done.code, done.out) == (1, "")
    assert "could not be written: " in lines[start]
    assert reason.lower() in lines[start].lower()
    assert "Traceback" not in done.err
    return lines[start:]


@pytest.mark.parametrize("disk", [5 * CHECKPOINT_KB], indirect=True)
def test_a_disk_that_runs_full_leaves_the_checkpoints_before_it_whole(disk: Path) -> None:
    run = disk / "run"
    told = check_told(train(run, "engine.checkpoint_every=2"), "no space left on device")
    assert "--resume" in told[1]
    newest, damage = newest_whole(run / "checkpoints")
    assert newest is not None
    assert 2 <= newest.step < 40
    assert damage == ()
    assert not list(run.rglob(".*"))
    assert gv.load(run).step == newest.step


@pytest.mark.parametrize("disk", [CHECKPOINT_KB // 2], indirect=True)
def test_before_the_first_checkpoint_nobody_is_sent_to_resume(disk: Path) -> None:
    told = check_told(train(disk / "run", "engine.checkpoint_every=2"), "no space left on device")
    assert "--resume" not in "".join(told)
    assert "nothing is saved yet" in told[1]


@pytest.mark.parametrize("disk", [8], indirect=True)
def test_where_not_even_the_settings_fit_nothing_is_left(disk: Path) -> None:
    check_told(train(disk / "run"), "no space left on device")
    assert list(disk.iterdir()) == []


def test_a_limit_on_files_is_said_as_a_full_disk_is(tmp_path: Path) -> None:
    told = check_told(
        train(tmp_path / "run", "engine.checkpoint_every=2", before=allow_50_kb), "file too large"
    )
    assert "nothing is saved yet" in told[1]


def test_a_write_that_fails_behind_training_is_told_at_the_next_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = engine(regression(), steps=100, checkpoint_every=4, log_every=3, directory=tmp_path).fit(3)

    def failing(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ganvae_core.store.checkpoints._write_files", failing)
    with pytest.raises(
        gv.TrainingError, match="step-000004 could not be written: No space left on device"
    ) as raised:
        training.fit()
    assert training.step_index == 6
    assert training.saved_step == 3
    assert "--resume" in raised.value.hints[0]
    monkeypatch.undo()
    assert training.fit(8).saved_step == 8, "with space again, it goes on"


def test_where_training_fails_too_both_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    def breaking(self: Engine, *arguments: object) -> None:
        raise gv.TrainingError("training itself failed")

    training = engine(regression(), steps=100, checkpoint_every=2, log_every=50, directory=tmp_path)
    monkeypatch.setattr("ganvae_core.store.checkpoints._write_files", failing)
    begin = CheckpointWriter.begin

    def begin_and_break(self: CheckpointWriter, snapshot: Snapshot) -> None:
        begin(self, snapshot)
        monkeypatch.setattr(Engine, "step", breaking)

    monkeypatch.setattr(CheckpointWriter, "begin", begin_and_break)
    with pytest.raises(gv.TrainingError, match="training itself failed") as raised:
        training.fit()
    assert "No space left on device" in str(raised.value)


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(gv.TrainingError, match=r"metrics\.jsonl could not be written"):
        RunDirectory(tmp_path).append_metrics({"step": 1})
