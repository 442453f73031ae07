"""Kills and interrupts training at random moments, resumes it, and holds the result against an uninterrupted run.

A kill is a SIGKILL. Half of them come at any moment; half are aimed at the writing of a checkpoint. Most killed
processes are forked from one that has loaded torch already, which makes a kill cheap; ``--signals`` and two processes
start Python anew. A signal is SIGINT, SIGTERM or SIGHUP, which must end the process with 130, 143 or 129, at any moment
from the first line of ganvae on. When a run has ended, its weights, optimizer state, log and checkpoints must equal
those of the uninterrupted run bit for bit, and nothing of the killed processes may be left.

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

from ganvae_core.store.directory import CONFIG, RunDirectory
from ganvae_core.store.files import whole_file
from ganvae_core.store.manifests import MODEL_FILE, STATE_FILE, checkpoint_folders, read_manifest

RESULTS = Path(__file__).parent / "results" / "crash_test.json"
STEPS = 40
SETTINGS = (
    "engine.device=cpu", "engine.precision=fp32", "engine.batch_size=16", "engine.log_every=7",
    "engine.checkpoint_every=5", "engine.samples_every=0",
)  # fmt: skip
TWO_STAGES = "stages=[{objective: prior-likelihood, steps: 30, train: [prior]}]"
RECIPES: Mapping[str, Sequence[str]] = {
    "vae/vae": (),
    "gan/gan": ("generator.hidden=[64]",),
    "ae/ae": (),
    "ae/flow": (TWO_STAGES,),
    "bigan/bigan": (),
    "cgan/cgan": (),
    "dcgan/dcgan": ("data=digits",),
    "infogan/infogan": (),
    "ssgan/ssgan": (),
}
"""Settings of each recipe besides those of all."""
TWO_PROCESSES = "vae/vae in two processes"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_SHARE = 0.3
"""Of a run's time, before its first step."""
LONGEST_SECONDS = 3600.0
POLL_SECONDS = 0.0005


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
        signals: that were sent, and answered with the right exit code.
        runs: that were killed and resumed until they ended, and compared.
    """

    kills: int = 0
    while_writing: int = 0
    before_first: int = 0
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


def load_everything() -> None:
    """Import what training needs, so that forked processes need not."""
    import importlib

    from ganvae_core.plugins import installed_plugins

    for name in ("torch", "sklearn.mixture", "sklearn.datasets", "zuko.flows", "matplotlib.figure",
                 "PIL.PngImagePlugin", "matplotlib.backends.backend_agg", "rich.progress", "ganvae_core.cli.run_verb",
                 "ganvae_core.cli.progress", "ganvae_core.runs.resuming", "ganvae_core.runs.starting"):  # fmt: skip
        importlib.import_module(name)
    for plugin in installed_plugins().ready:
        for component in plugin.components:
            importlib.import_module(component.target.partition(":")[0])


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


def finish(arguments: Sequence[str], start: Start = spawned) -> float:
    """Run a command to its end; the seconds that it took.

    Raises:
        CrashTestError: it failed.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder, "errors")
        code = waited(start(arguments, errors))
        if code != 0:
            raise CrashTestError(f"ganvae {' '.join(arguments)} ended with {code}:\n{errors.read_text()}")
    return time.monotonic() - began


def outcome(run: Path) -> dict[str, Any]:
    """What a finished run comes to: digests of its newest tensors, its log without speeds, its checkpoints."""
    folders = checkpoint_folders(run / "checkpoints")
    newest = list(folders.values())[-1]
    records = [{name: value for name, value in record.items() if name != "samples_per_second"}
               for record in RunDirectory(run).metrics()]  # fmt: skip
    manifests = {step: read_manifest(folder) for step, folder in folders.items()}
    return {
        **{
            name: hashlib.sha256((newest / name).read_bytes()).hexdigest()
            for name in (MODEL_FILE, STATE_FILE)
        },
        "metrics": json.dumps(records),  # NaN equals itself as text
        "results": json.dumps([(step, manifest["results"]) for step, manifest in manifests.items()]),
        "complete": list(manifests.values())[-1]["complete"],
        "files": sorted(str(path.relative_to(run)) for path in run.rglob("*")),
    }


def compare(whole: Mapping[str, Any], crashed: Mapping[str, Any]) -> None:
    """Hold the outcome of a run that was killed against that of one that was not.

    Raises:
        CrashTestError: they differ.
    """
    for name, expected in whole.items():
        if crashed[name] != expected:
            raise CrashTestError(f"{name} differ:\n  whole    {expected}\n  crashed  {crashed[name]}")


def moment(case: Case, run: Path, seconds: float, random_numbers: random.Random) -> tuple[float, bool]:
    """When to kill: after so many seconds, and then whether to wait until a checkpoint is being written."""
    done = max(checkpoint_folders(run / "checkpoints"), default=0) / case.steps
    left = seconds * (START_SHARE + (1 - START_SHARE) * max(0.0, 1 - done))
    return random_numbers.uniform(0.0, left), random_numbers.random() < 0.5


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
        seconds: that it takes when it is left alone.
        random_numbers: decides the moments.
        tally: is counted up.
        start: starts its processes.
        signals: send signals that ask to stop instead of kills.
    """

    case: Case
    seconds: float
    random_numbers: random.Random
    tally: Tally = field(default_factory=Tally)
    start: Start = spawned
    signals: bool = False

    def run_to_its_end(self, run: Path, attacks: int) -> None:
        """Attack one run until it has ended, or there have been so many attacks; then let it end.

        Raises:
            CrashTestError: a process failed by itself, or ended with another exit code than it has to.
        """
        with tempfile.TemporaryDirectory() as folder:
            errors = Path(folder, "errors")
            for _ in range(attacks):
                after, aimed = moment(self.case, run, self.seconds, self.random_numbers)
                if self._attack_once(run, errors, after, aimed):
                    break
            else:
                arguments = self.case.next_arguments(run)
                _check_end(arguments, waited(self.start(arguments, errors)), errors)
        self.tally.runs += 1

    def _attack_once(self, run: Path, errors: Path, after: float, aimed: bool) -> bool:
        """Start a process and kill or interrupt it; whether it came to its end before that."""
        arguments = self.case.next_arguments(run)
        process = self.start(arguments, errors)
        began = time.monotonic()
        code = None
        try:
            while process.poll() is None and time.monotonic() - began < after:
                time.sleep(0.002)
            while aimed and process.poll() is None and not is_writing(run):
                time.sleep(POLL_SECONDS)
            if process.poll() is None:
                code = self._signal(process, arguments, errors)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
        if code is None:
            _check_end(arguments, waited(process), errors)
            return True
        return False

    def _signal(self, process: Process, arguments: Sequence[str], errors: Path) -> int | None:
        """Send a signal, and wait; None where the process came to its end at the same moment."""
        if not self.signals:
            victims = [process.pid, *children(process.pid)] if self.case.processes > 1 else [process.pid]
            victim = self.random_numbers.choice(victims)
            os.kill(victim, signal.SIGKILL)
            code = waited(process)
            if code == 0 or (code == 2 and victim == process.pid):
                return None
            run = Path(arguments[arguments.index("--out" if "--out" in arguments else "--resume") + 1])
            self.tally.kills += 1
            self.tally.while_writing += is_writing(run)
            self.tally.before_first += not checkpoint_folders(run / "checkpoints")
            return code
        number = self.random_numbers.choice(SIGNALS)
        os.kill(process.pid, number)
        code = waited(process)
        if code == 0:
            return None
        # Before the first line of ganvae, Python itself answers: by the signal, or for SIGINT by a KeyboardInterrupt.
        early = code == -number and not errors.read_text().strip()
        if code != 128 + number and not early:
            if code == 2 and "is finished" in errors.read_text():
                return None
            raise CrashTestError(
                f"ganvae {' '.join(arguments)} answered {number.name} with {code}:\n{errors.read_text()}"
            )
        self.tally.signals += 1
        return code


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


def crash_test(name: str, kills: int, signals: int, seed: int, results: Path, folder: Path) -> None:
    """Attack runs of one case so many times in all, compare each with the uninterrupted one, and store the counts.

    Raises:
        CrashTestError: one did not come out the same; the run is kept.
    """
    from machine import machine

    case = case_of(name)
    # gloo cannot be copied with a process.
    start: Start = spawned if case.processes > 1 else Forked
    whole = folder / "whole"
    seconds = {False: finish(case.begin(whole), start)}
    expected = outcome(whole)
    if signals:
        seconds[True] = finish(case.begin(folder / "again"), spawned)
        compare(expected, outcome(folder / "again"))
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
        attack = Attack(case, seconds[by_signal], numbers, tally, spawned if by_signal else start, by_signal)
        run = folder / f"run-{tally.runs}"
        attack.run_to_its_end(run, left)
        compare(expected, outcome(run))
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
    load_everything()
    failed = False
    for position, name in enumerate(names):
        folder = Path(tempfile.mkdtemp(prefix="ganvae-crash-"))
        try:
            crash_test(name, share_of(kills, position, len(names)), share_of(signals, position, len(names)),
                       seed, results, folder)  # fmt: skip
        except CrashTestError as error:
            failed = True
            click.echo(f"{name}, seed {seed}: FAILED, see {folder}\n{error}")
            continue
        shutil.rmtree(folder)
        entry = stored(results)["seeds"].get(str(seed), {}).get(name, {})
        click.echo(
            f"{name}, seed {seed}: {entry.get('kills', 0)} kills, {entry.get('while_writing', 0)} while a checkpoint"
            f" was written, {entry.get('before_first', 0)} before the first; {entry.get('signals', 0)} signals;"
            f" {entry.get('runs', 0)} runs, all equal to the whole one"
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
