"""Whatever kills a process, and whenever: what is on the disk is whole, and the next process goes on from it."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from crash_test import SETTINGS, Attack, Case, compare, finish, outcome
from toys import engine, regression
from warm import Warm

import ganvae_core as gv
from ganvae_core.cli.main import main
from ganvae_core.runs.resuming import resume
from ganvae_core.store.checkpoints import (
    Snapshot,
    mend_checkpoints,
    newest_whole,
    remove_checkpoint,
    write_checkpoint,
)
from ganvae_core.store.directory import RunDirectory
from ganvae_core.store.files import whole_file
from ganvae_core.store.manifests import checkpoint_folders
from ganvae_core.store.ownership import held

KILLED = 9
CALLS = ("mkdir", "rename", "unlink", "rmdir", "fsync", "open")
"""Functions of ``os`` that change what is on the disk, or make it last."""

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # the child does nothing but file work


def killed_before(call: int, work: Callable[[], Any]) -> bool:
    """Do the work in a child process that dies before its n-th call; False where it has fewer and did it all."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, KILLED)
        return code == KILLED
    calls = iter(range(call))

    def dying(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            os._exit(KILLED)
        return function(*arguments, **options)

    for name in CALLS:
        setattr(os, name, partial(dying, getattr(os, name)))
    try:
        work()
    finally:
        os._exit(0)


def every_death(folder: Path, prepare: Callable[[Path], Any], work: Callable[[Path], Any]) -> Iterator[Path]:
    """A folder for each call before which a process may die at this work, prepared and worked on as far as that."""
    for call in itertools.count():
        parent = folder / str(call)
        prepare(parent)
        if not killed_before(call, partial(work, parent)):
            assert call > 3, "the work makes hardly any calls: it is not what is tested"
            return
        yield parent


def write(parent: Path, step: int, value: float) -> None:
    write_checkpoint(
        parent, Snapshot({"x": torch.tensor(value)}, {"y": torch.tensor(-value)}, {"step": step}).copied()
    )


def value_at(parent: Path) -> tuple[int, float] | None:
    """Step and value of the newest whole checkpoint; none is damaged, seen or hidden."""
    newest, damage = newest_whole(parent)
    assert damage == ()
    return None if newest is None else (newest.step, float(newest.model()["x"]))


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def write_old(parent: Path) -> None:
    write(parent, 3, 1.0)


def write_new(parent: Path) -> None:
    write(parent, 3, 2.0)


def test_a_process_killed_at_its_first_checkpoint_leaves_it_whole_or_none(tmp_path: Path) -> None:
    seen: set[object] = set()
    for parent in every_death(tmp_path, Path.mkdir, write_old):
        found = value_at(parent)
        mend_checkpoints(parent)
        assert value_at(parent) == found
        assert hidden(parent) == []
        seen.add(found)
    assert seen == {None, (3, 1.0)}


def test_a_process_killed_while_it_replaces_a_checkpoint_leaves_the_old_or_the_new_one(
    tmp_path: Path,
) -> None:
    seen: set[object] = set()
    for parent in every_death(tmp_path, write_old, write_new):
        found = value_at(parent)  # a reader finds one of them even before anything is mended
        mend_checkpoints(parent)
        assert value_at(parent) == found
        assert [path.name for path in parent.iterdir()] == ["step-000003"]
        seen.add(found)
    assert seen == {(3, 1.0), (3, 2.0)}


def test_a_process_killed_while_it_removes_a_checkpoint_leaves_the_others(tmp_path: Path) -> None:
    def fill(parent: Path) -> None:
        write(parent, 1, 1.0)
        write(parent, 2, 2.0)

    for parent in every_death(tmp_path, fill, lambda parent: remove_checkpoint(parent / "step-000001")):
        assert value_at(parent) == (2, 2.0)
        assert set(checkpoint_folders(parent)) in ({1, 2}, {2})
        mend_checkpoints(parent)
        assert hidden(parent) == []


def test_a_rename_that_fails_brings_back_what_was_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 3, 1.0)
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if Path(source).name.endswith(".draft"):
            raise OSError("the disk has gone")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(gv.TrainingError, match="the disk has gone"):
        write(tmp_path, 3, 2.0)
    assert value_at(tmp_path) == (3, 1.0)
    assert hidden(tmp_path) == []


class Begun:
    """A process of the command line that begins with torch imported."""

    def __init__(self, arguments: Sequence[str], errors: Path) -> None:
        self._process, self._errors = Warm("ganvae_core", arguments), errors
        self._code: int | None = None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        if self._code is None and not self._process.running():
            done = self._process.done()
            self._errors.write_text(done.out + done.err)
            self._code = done.code
        return self._code


def test_a_few_kills_of_a_training_process_change_nothing(tmp_path: Path) -> None:
    """A short form of benchmarks/crash_test.py; the whole of it makes 200 kills."""
    case = Case("vae", settings=(*SETTINGS, "generator.hidden=[16]", "encoder.hidden=[16]"))
    course = finish(case, tmp_path / "whole", Begun)
    attack = Attack(case, course, random.Random(1), start=Begun)
    while not attack.tally.kills:  # a process may come to its end before it is killed
        run = tmp_path / f"crashed-{attack.tally.runs}"
        attack.run_to_its_end(run, 3)
        compare(outcome(tmp_path / "whole"), outcome(run))


# Leftovers


def test_what_a_killed_process_left_is_taken_away_at_the_next_start_and_nothing_else(tmp_path: Path) -> None:
    engine(regression(), steps=2, directory=tmp_path).fit()
    (tmp_path / "samples").mkdir()
    left = [
        ".config.yaml.abcdefgh.draft",
        "samples/.step-000002.png.abcdefgh.draft",
        ".metrics.jsonl.abcd_fg1.draft",
        "samples/.step-000004.draft",
    ]
    kept = [
        "notes.draft",
        ".draft",
        ".codes.npz.abcdefgh.draft",
        "samples/.seed-0-n-64.png.abcdefgh.draft",
        ".my.settings",
        "samples/.hidden",
    ]
    (tmp_path / "samples/.step-000004.draft").mkdir()
    for name in (*left[:-1], *kept, "samples/.step-000004.draft/half"):
        (tmp_path / name).write_text("half")
    (tmp_path / "checkpoints" / ".step-000009.draft").mkdir()
    (tmp_path / "checkpoints" / ".step-000001.rubbish").mkdir()
    engine(regression(), steps=3, directory=tmp_path).fit()
    assert not [name for name in left if (tmp_path / name).exists()]
    assert all((tmp_path / name).exists() for name in kept), "a verb like `sample` may be writing this one"
    assert hidden(tmp_path / "checkpoints") == []


def test_drafts_have_the_name_by_which_they_are_found(tmp_path: Path) -> None:
    with whole_file(tmp_path / "config.yaml") as file:
        (draft,) = tmp_path.iterdir()
        file.write(b"x")
    copy = tmp_path / draft.name
    copy.mkdir()
    (copy / "config.yaml").write_bytes(b"of a killed process")
    with held(tmp_path):
        assert not copy.exists()


def test_files_have_the_rights_of_new_ones_and_the_umask_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of all threads: a checkpoint that is written meanwhile would be open to everybody."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail("the umask is changed"))
            with whole_file(tmp_path / "config.yaml") as file:
                file.write(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "config.yaml").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_folder_that_a_killed_start_left_behind_is_free(tmp_path: Path) -> None:
    """``config.yaml`` comes last, so that what has one is a whole run."""
    killed = tmp_path / "run"
    killed.mkdir()
    for name in ("data.json", "plugins.lock.toml", ".lock", ".config.yaml.abcdefgh.draft"):
        (killed / name).write_text("{")
    run = gv.train("vae", steps=1, out=killed, overrides={"engine.device": "cpu", "generator.hidden": [4]})
    assert run.step == 1
    assert hidden(killed) == []


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    class Killed(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Any) -> None:
            raise KeyboardInterrupt

    settings = {"engine.device": "cpu", "generator.hidden": [4], "engine.log_every": 1}
    with pytest.raises(KeyboardInterrupt):
        gv.train("vae", steps=3, out=tmp_path / "run", overrides=settings, callbacks=[Killed()])
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    with pytest.warns(UserWarning, match="stopped before its first checkpoint, so it begins anew"):
        resumed = resume(tmp_path / "run")
    whole = gv.train("vae", steps=3, out=tmp_path / "whole", overrides=settings)
    compare(outcome(whole.path), outcome(resumed))


def test_a_run_that_fails_in_its_first_step_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Broken(gv.Callback):
        def on_start(self, training: gv.TrainingView) -> None:
            raise ValueError("broken")

    for out in (None, tmp_path / "own"):
        with pytest.raises(gv.TrainingError, match="broken"):
            gv.train("vae", steps=3, out=out, overrides={"engine.device": "cpu"}, callbacks=[Broken()])
    assert list((tmp_path / "runs").iterdir()) == []
    assert not (tmp_path / "own").exists()


# One process at a time


def holding(directory: Path) -> tuple[threading.Thread, threading.Event]:
    """A thread that holds the directory, as another process does, until it is told to let go."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with held(directory):
            taken.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(60)
    return thread, done


def test_a_directory_in_use_is_refused_to_engines_too_and_free_again_afterwards(tmp_path: Path) -> None:
    trained = engine(regression(), steps=2, directory=tmp_path).fit()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    thread, done = holding(tmp_path)
    try:
        for work in (lambda: engine(regression(), steps=3, directory=tmp_path).fit(), trained.save):
            with pytest.raises(gv.RunError, match="is in use: another process trains there"):
                work()
    finally:
        done.set()
        thread.join()
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert engine(regression(), steps=3, directory=tmp_path).fit().step_index == 3


def test_who_holds_a_directory_may_hold_it_again(tmp_path: Path) -> None:
    with held(tmp_path):
        with held(tmp_path):
            assert (tmp_path / ".lock").exists()
        assert (tmp_path / ".lock").exists(), "it is given back by the first alone"
    assert not (tmp_path / ".lock").exists()


def test_a_second_process_is_refused_while_others_may_look_and_the_lock_goes_with_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    case = Case("vae", steps=10**6)
    process = Warm("ganvae_core", case.begin(run))
    try:
        deadline = time.monotonic() + 600
        while not checkpoint_folders(run / "checkpoints"):
            assert process.running()
            assert time.monotonic() < deadline, "there is no checkpoint"
            time.sleep(0.02)
        for words in (["run", "--resume", str(run)], case.begin(run)):
            assert main(words) == 2
            assert "error: " in capsys.readouterr().err
        assert main(["run", "--resume", str(run)]) == 2
        assert "is in use: another process trains there" in capsys.readouterr().err
        for words in (
            ["show", str(run)],
            ["runs", str(tmp_path)],
            ["sample", str(run), "-n", "4", "-o", str(tmp_path / "x.png")],
        ):
            assert main(words) == 0, capsys.readouterr().err
        assert process.running()
    finally:
        process.kill()
    capsys.readouterr()
    step = max(RunDirectory(run).manifests())
    assert main(["run", "--resume", str(run), "--steps", str(step + 20)]) == 0
    assert f"from step {step:,}" in capsys.readouterr().err
    assert hidden(run) == []
