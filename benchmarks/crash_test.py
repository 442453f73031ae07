"""Kills and interrupts training at random moments, resumes it, and holds the result against an uninterrupted run.

A kill is a SIGKILL. Its moment is chosen by the run's course: the start of the process, or the time after one of the
lines of the log that are still to come, all alike, but those at the end of a stage twice as often. Some kills
then wait until a checkpoint is being written. So a slow machine does not move all kills into the start. Most processes
are forked from one that has loaded torch already, which makes a kill cheap; some start Python anew, and those of two
processes always do. A signal is SIGINT, SIGTERM or SIGHUP, which must end the process with 130, 143 or 129, at any
moment from the first line of ganvae on. When a run has ended, its weights, optimizer state, log, pictures and
checkpoints must equal those of the uninterrupted run bit for bit, and nothing of the killed processes may be left.

Results are stored after each compared run, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import click

from ganvae_core.store.directory import CONFIG, METRICS, RunDirectory
from ganvae_core.store.files import whole_file
from ganvae_core.store.manifests import MODEL_FILE, STATE_FILE, checkpoint_folders, read_manifest
from ganvae_core.types import COST_OF_TRAINING

RESULTS = Path(__file__).parent / "results" / "crash_test.json"
STEPS = 100
SETTINGS = (
    "engine.device=cpu", "engine.precision=fp32", "engine.batch_size=16", "engine.log_every=7",
    "engine.checkpoint_every=5", "engine.samples_every=0",
)  # fmt: skip
TWO_STAGES = "stages=[{objective: prior-likelihood, steps: 30, train: [prior]}]"
SMALL_CRITIC = "critic.hidden=[32]"
FEW_FILTERS = ("generator.filters=8", "critic.filters=8")
QUANTISED = (TWO_STAGES, "prior.width=8", "prior.layers=1", "prior.heads=2")
LATENT_FLOW = (TWO_STAGES, "prior.width=8", "prior.layers=1", "prior.steps=2")
RECIPES: Mapping[str, Sequence[str]] = {
    "vae/vae": (),
    "gan/gan": ("generator.hidden=[64]",),
    "ae/ae": (),
    "ae/flow": (TWO_STAGES, "prior.hidden=[8]", "prior.transforms=1"),
    "dcgan/dcgan": FEW_FILTERS,
    "ae/vq-vae": QUANTISED,
    "vae/factor-vae": (SMALL_CRITIC,),
    "table-gan/table-gan": (),
    "ssgan/ssgan": FEW_FILTERS,
    "ae/latent-flow": LATENT_FLOW,
    "table-vae/table-vae": (),
    "bigan/bigan": (),
    "cgan/cgan": (),
    "infogan/infogan": (),
    "vae/vamp-vae": ("prior.components=5",),
    "vae/flow-vae": ("prior.hidden=[8]", "prior.transforms=1"),
    "vae/aae": (SMALL_CRITIC,),
    "vae/tc-vae": (),
    "vae/iwae": (),
    "vae/cvae": (),
    "vae/beta-vae": (),
    "vae/wae": (),
    "vae/swae": (),
    "ae/fsq-vae": QUANTISED,
    "ae/adversarial-ae": (*LATENT_FLOW, SMALL_CRITIC),
    "ae/vae-gan": (SMALL_CRITIC,),
    "ae/rae": (),
    "ae/dae": (),
}
"""Settings of each recipe besides those of all."""
TWO_PROCESSES = "vae/vae in two processes"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AIMED_SHARE = 0.4
"""Of the kills, those that wait until a checkpoint is being written."""
NEW_PYTHON_SHARE = 0.05
"""Of the killed processes, those that start Python anew; a quarter of those that are sent signals do."""
LONGEST_SECONDS = 3600.0
POLL_SECONDS = 0.001


class CrashTestError(Exception):
    """Something is not as it has to be after a kill; the message says what."""


@dataclass(frozen=True)
class Case:
    """What is trained: ``plugin`` or ``plugin/recipe`` with settings, for so many steps in its first stage."""

    recipe: str
    steps: int = STEPS
    settings: Sequence[str] = SETTINGS
    processes: int = 1

    def begin(self, out: Path) -> list[str]:
        """The arguments of the first process."""
        plugin, _, recipe = self.recipe.partition("/")
        named = ["--recipe", recipe] if recipe else []
        return ["run", "--plugin", plugin, *named, "--steps", str(self.steps), "--out", str(out), *self._shared(),
                *self.settings]  # fmt: skip

    def next_arguments(self, run: Path) -> list[str]:
        """Go on with what is a run already, else begin in the same place."""
        if (run / CONFIG).is_file():
            return ["run", "--resume", str(run), *self._shared()]
        return self.begin(run)

    def _shared(self) -> list[str]:
        return ["--processes", str(self.processes)] if self.processes > 1 else []


@dataclass
class Tally:
    """What has been done to one recipe.

    Args:
        kills: in all.
        while_writing: of them, while a draft of a checkpoint lay on the disk.
        before_first: of them, before there was any checkpoint.
        starting: of them, before the process wrote a line of the log.
        stage_ends: of them, between the last line of a stage and the first of the next.
        ending: of them, after the last line of the log: at the last pictures and the last checkpoint.
        signals: that were sent, and answered with the right exit code.
        runs: that were killed and resumed until they ended, and compared.
    """

    kills: int = 0
    while_writing: int = 0
    before_first: int = 0
    starting: int = 0
    stage_ends: int = 0
    ending: int = 0
    signals: int = 0
    runs: int = 0


class Process(Protocol):
    """A process of the command line."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative for a signal that killed it; None while it runs."""
        ...


Start = Callable[[Sequence[str], Path], Process]


def spawned(arguments: Sequence[str], errors: Path) -> Process:
    """A new Python process of the command line, on one thread; its output goes into a file."""
    with errors.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "ganvae_core", *arguments], stdout=file, stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


class Forked:
    """A copy of this process, which has loaded everything, that runs the command line."""

    def __init__(self, arguments: Sequence[str], errors: Path) -> None:
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            try:
                descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                os.dup2(descriptor, 1)
                os.dup2(descriptor, 2)
                from ganvae_core.cli.main import main as ganvae

                code = ganvae(arguments)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


def load_everything() -> float:
    """Import what training needs, so that forked processes need not; the seconds that it took."""
    import importlib

    from ganvae_core.plugins import installed_plugins

    began = time.monotonic()
    for name in ("torch", "torch._dynamo", "sklearn.mixture", "sklearn.datasets", "sklearn.datasets.data", "filelock",
                 "zuko.flows", "matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.PngImagePlugin",
                 "rich.progress", "ganvae_core.cli.run_verb", "ganvae_core.cli.progress", "ganvae_core.cli.describe",
                 "ganvae_core.cli.launcher", "ganvae_core.cli.run_files", "ganvae_core.runs.resuming",
                 "ganvae_core.runs.starting"):  # fmt: skip
        importlib.import_module(name)
    for plugin in installed_plugins().ready:
        for component in plugin.components:
            importlib.import_module(component.target.partition(":")[0])
    return time.monotonic() - began


def waited(process: Process) -> int:
    """The exit code of a process, once it has ended.

    Raises:
        CrashTestError: it does not end.
    """
    began = time.monotonic()
    while (code := process.poll()) is None:
        if time.monotonic() - began > LONGEST_SECONDS:
            raise CrashTestError(f"process {process.pid} does not end")
        time.sleep(0.002)
    return code


@dataclass(frozen=True)
class Course:
    """When a run that was left alone came how far.

    Args:
        seconds: by the step of each line of its log, and of step 0, since its process began.
        end: when the process ended.
        stage_ends: steps after which a stage was done, the last one among them.
    """

    seconds: Mapping[int, float]
    end: float
    stage_ends: Sequence[int]

    @property
    def last(self) -> int:
        """The last step."""
        return max(self.seconds)

    def after(self, step: int) -> float:
        """Seconds from the line of a step to the next line, or to the end of the process."""
        return (
            min((one for later, one in self.seconds.items() if later > step), default=self.end)
            - (self.seconds[step])
        )

    def started_later(self, seconds: float) -> Course:
        """The course of a process that also imports everything."""
        return Course(
            {step: one + seconds if step else one for step, one in self.seconds.items()},
            self.end + seconds,
            self.stage_ends,
        )


def last_logged(run: Path) -> int:
    """The step of the newest whole line of a run's log; 0 where there is none."""
    try:
        lines = (run / METRICS).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return 0
    return int(json.loads(lines[-1])["step"]) if lines else 0


def state_of_log(run: Path) -> object:
    """Something that is another thing once a process has written to a run's log."""
    try:
        stat = (run / METRICS).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def finish(case: Case, run: Path, start: Start = spawned) -> Course:
    """Train a run to its end, and note when it came how far.

    Raises:
        CrashTestError: it failed.
    """
    began = time.monotonic()
    seconds = {0: 0.0}
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder, "errors")
        process = start(case.begin(run), errors)
        while process.poll() is None and time.monotonic() - began < LONGEST_SECONDS:
            seconds.setdefault(last_logged(run), time.monotonic() - began)
            time.sleep(0.002)
        code = waited(process)
        if code != 0:
            raise CrashTestError(
                f"ganvae {' '.join(case.begin(run))} ended with {code}:\n{errors.read_text()}"
            )
    return Course(seconds, time.monotonic() - began, sorted({case.steps, max(seconds)}))


def outcome(run: Path, *, stopped: bool = False) -> dict[str, Any]:
    """What a finished run comes to: digests of its newest tensors, its log without speeds, its checkpoints, its files.

    Args:
        run: its directory.
        stopped: whether it was stopped by signals, each of which left a checkpoint: older ones are left out.
    """
    folders = checkpoint_folders(run / "checkpoints")
    newest = list(folders.values())[-1]
    records = [{name: value for name, value in record.items() if name not in COST_OF_TRAINING}
               for record in RunDirectory(run).metrics()]  # fmt: skip
    named = json.dumps(str(run))[1:-1]  # a warning that waits for the next record names the run, too
    older = {} if stopped else {step: read_manifest(folder)["results"] for step, folder in folders.items()}
    left_out = run / "checkpoints" if stopped else run / "none"
    return {
        **{name: _digest(newest / name) for name in (MODEL_FILE, STATE_FILE)},
        # NaN equals itself as text; a warning may name the run, and the runs that are compared lie in different places.
        "metrics": json.dumps(records).replace(named, "RUN"),
        "manifest": json.dumps(read_manifest(newest)).replace(named, "RUN"),
        "results": json.dumps(older),
        "pictures": {str(path.relative_to(run)): _digest(path) for path in sorted(run.rglob("*.png"))},
        "files": sorted(
            str(path.relative_to(run)) for path in run.rglob("*") if left_out not in path.parents
        ),
        "hidden": [path.name for path in run.rglob(".*")],
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def compare(whole: Mapping[str, Any], crashed: Mapping[str, Any]) -> None:
    """Hold the outcome of a run that was killed against that of one that was not.

    Raises:
        CrashTestError: they differ.
    """
    for name, expected in whole.items():
        if crashed[name] != expected:
            raise CrashTestError(f"{name} differ:\n  whole    {expected}\n  crashed  {crashed[name]}")


@dataclass(frozen=True)
class KillTime:
    """When a process is killed.

    Args:
        step: the step whose line of the log is awaited first; 0 for none.
        seconds: the time to wait after that line.
        aimed: whether the kill then waits until a checkpoint is being written.
    """

    step: int
    seconds: float
    aimed: bool

    @classmethod
    def of(cls, course: Course, done: int, random_numbers: random.Random) -> KillTime:
        """A time for a process that resumes from ``done`` steps."""
        ahead = [step for step in course.seconds if step > done]
        ends = [step for step in course.stage_ends if step > done]
        step = random_numbers.choice([0, *ahead, *ends])
        return cls(
            step, random_numbers.uniform(0.0, course.after(step)), random_numbers.random() < AIMED_SHARE
        )


def is_writing(run: Path) -> bool:
    """Whether a hidden folder of a step lies among the checkpoints."""
    checkpoints = run / "checkpoints"
    return checkpoints.is_dir() and any(name.startswith(".step-") for name in os.listdir(checkpoints))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@dataclass
class Attack:
    """Kills and resumes one case.

    Args:
        case: what is trained.
        course: of a run that was left alone, in a process as ``start`` makes it.
        random_numbers: decides the moments.
        tally: is counted up.
        start: starts its processes.
        imports_seconds: that a process of a new Python takes longer; None where ``start`` begins one already.
        signals: send signals that ask to stop instead of kills.
    """

    case: Case
    course: Course
    random_numbers: random.Random
    tally: Tally = field(default_factory=Tally)
    start: Start = spawned
    imports_seconds: float | None = None
    signals: bool = False

    def run_to_its_end(self, run: Path, attacks: int) -> None:
        """Attack one run until it has ended, or there have been so many attacks; then let it end.

        Raises:
            CrashTestError: a process failed by itself, or ended with another exit code than it has to.
        """
        with tempfile.TemporaryDirectory() as folder:
            errors = Path(folder, "errors")
            for _ in range(attacks):
                if self._attack_once(run, errors):
                    break
            else:
                arguments = self.case.next_arguments(run)
                _check_end(arguments, waited(self.start(arguments, errors)), errors)
        self.tally.runs += 1

    def _attack_once(self, run: Path, errors: Path) -> bool:
        """Start a process and kill or interrupt it; whether it came to its end before that."""
        start, course = self._start_and_course()
        done = max(checkpoint_folders(run / "checkpoints"), default=0)
        kill = KillTime.of(course, done, self.random_numbers)
        arguments, log_before = self.case.next_arguments(run), state_of_log(run)

        def reached() -> bool:
            return not kill.step or (last_logged(run) >= kill.step and state_of_log(run) != log_before)

        process = start(arguments, errors)
        code = None
        try:
            while process.poll() is None and not reached():
                time.sleep(POLL_SECONDS)
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < kill.seconds:
                time.sleep(POLL_SECONDS)
            while kill.aimed and process.poll() is None and not is_writing(run):
                time.sleep(POLL_SECONDS)
            if process.poll() is None:
                answer = self._send_signal if self.signals else self._kill
                code = answer(process, run, errors)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
        if code is None:
            _check_end(arguments, waited(process), errors)
            return True
        if not self.signals:
            self._count(run, started=state_of_log(run) != log_before)
        return False

    def _start_and_course(self) -> tuple[Start, Course]:
        share = 0.25 if self.signals else NEW_PYTHON_SHARE
        if self.imports_seconds is None or self.random_numbers.random() >= share:
            return self.start, self.course
        return spawned, self.course.started_later(self.imports_seconds)

    def _kill(self, process: Process, run: Path, errors: Path) -> int | None:
        """Kill the process, or one of several; None where it came to its end at the same moment."""
        victims = [process.pid, *children(process.pid)] if self.case.processes > 1 else [process.pid]
        victim = self.random_numbers.choice(victims)
        os.kill(victim, signal.SIGKILL)
        code = waited(process)
        return None if code == 0 or (code == 2 and victim == process.pid) else code

    def _count(self, run: Path, *, started: bool) -> None:
        """Count a kill by what is on the disk after it."""
        logged = last_logged(run)
        self.tally.kills += 1
        self.tally.while_writing += is_writing(run)
        self.tally.before_first += not checkpoint_folders(run / "checkpoints")
        self.tally.starting += not started
        self.tally.ending += started and logged == self.course.last
        self.tally.stage_ends += started and logged in self.course.stage_ends[:-1]

    def _send_signal(self, process: Process, run: Path, errors: Path) -> int | None:
        """Send a signal, and wait; None where the process came to its end at the same moment."""
        number = self.random_numbers.choice(SIGNALS)
        os.kill(process.pid, number)
        code = waited(process)
        if code == 0:
            return None
        # Before the first line of ganvae, Python itself answers: by the signal, or for SIGINT by a KeyboardInterrupt.
        # After the last one it does, too.
        text = errors.read_text()
        outside = code == -number and (not text.strip() or is_complete(run))
        if code != 128 + number and not outside:
            if code == 2 and "is finished" in text:
                return None
            raise CrashTestError(f"{run}: a process answered {number.name} with {code}:\n{text}")
        self.tally.signals += 1
        return code


def is_complete(run: Path) -> bool:
    """Whether the newest checkpoint of a run says that training is done."""
    newest = list(checkpoint_folders(run / "checkpoints").values())[-1:]
    return any(read_manifest(folder)["complete"] for folder in newest)


def _check_end(arguments: Sequence[str], code: int, errors: Path) -> None:
    """A process ends well, or finds that the one that was killed had done everything."""
    text = errors.read_text()
    if code != 0 and not (code == 2 and "is finished: it has done" in text):
        raise CrashTestError(f"ganvae {' '.join(arguments)} ended with {code}:\n{text}")


def stored(path: Path) -> dict[str, Any]:
    """The results so far."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"seeds": {}}


def share_of(count: int, position: int, parts: int) -> int:
    """How many of ``count`` attacks one of so many recipes gets."""
    return count // parts + (position < count % parts)


def case_of(name: str) -> Case:
    """A case by the name that results are stored under."""
    recipe, _, together = name.partition(" in ")
    return Case(recipe, settings=(*SETTINGS, *RECIPES.get(recipe, ())), processes=2 if together else 1)


def crash_test(
    name: str, kills: int, signals: int, seed: int, results: Path, folder: Path, imports_seconds: float
) -> None:
    """Attack runs of one case so many times in all, compare each with the uninterrupted one, and store the counts.

    Args:
        name: of the case.
        kills: in all, those that are stored included.
        signals: likewise.
        seed: other moments for another one.
        results: the file of the counts.
        folder: for the runs; what failed stays there.
        imports_seconds: that a new Python needs before it trains.

    Raises:
        CrashTestError: one did not come out the same; the run is kept.
    """
    from machine import machine

    case = case_of(name)
    # gloo cannot be copied with a process.
    start: Start = spawned if case.processes > 1 else Forked
    whole = folder / "whole"
    course = finish(case, whole, start)
    expected = {stopped: outcome(whole, stopped=stopped) for stopped in (False, True)}
    while True:
        done = stored(results)
        entry = done["seeds"].setdefault(str(seed), {}).setdefault(name, {})
        tally = Tally(**{key: value for key, value in entry.items() if key in asdict(Tally())})
        by_signal = tally.kills >= kills
        left = signals - tally.signals if by_signal else kills - tally.kills
        if left <= 0:
            return
        began = time.monotonic()
        numbers = random.Random(f"{seed} {name} {tally.runs}")
        attack = Attack(
            case, course, numbers, tally, start, None if start is spawned else imports_seconds, by_signal
        )
        run = folder / f"run-{tally.runs}"
        attack.run_to_its_end(run, left)
        compare(expected[by_signal], outcome(run, stopped=by_signal))
        shutil.rmtree(run)
        spent = round(entry.get("seconds", 0.0) + time.monotonic() - began, 1)
        entry |= {**asdict(tally), "steps": case.steps, "seconds": spent, "machine": machine()}
        with whole_file(results) as file:
            file.write((json.dumps(done, indent=1) + "\n").encode())


@click.command()
@click.option(
    "--kills", default=200, show_default=True, type=click.IntRange(min=0), help="In all, over the cases."
)
@click.option("--signals", default=0, show_default=True, type=click.IntRange(min=0), help="Likewise.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Other moments for another one."
)
@click.option(
    "--recipe", "names", multiple=True, default=(*RECIPES, TWO_PROCESSES), help="Repeatable; all by default."
)
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path))
def main(kills: int, signals: int, seed: int, names: tuple[str, ...], results: Path) -> None:
    """Kill and interrupt training, resume it, and compare with a run that was left alone."""
    os.environ["OMP_NUM_THREADS"] = "1"
    imports_seconds = load_everything()
    failed = False
    for position, name in enumerate(names):
        folder = Path(tempfile.mkdtemp(prefix="ganvae-crash-"))
        try:
            crash_test(name, share_of(kills, position, len(names)), share_of(signals, position, len(names)),
                       seed, results, folder, imports_seconds)  # fmt: skip
        except CrashTestError as error:
            failed = True
            click.echo(f"{name}, seed {seed}: FAILED, see {folder}\n{error}")
            continue
        shutil.rmtree(folder)
        entry = stored(results)["seeds"].get(str(seed), {}).get(name, {})
        counts = {key: entry.get(key, 0) for key in asdict(Tally())}
        click.echo(f"{name}, seed {seed}: {json.dumps(counts)}; all equal to the whole one")
    sys.exit(failed)


if __name__ == "__main__":
    main()
