"""Kills a training process at random moments, resumes it, and holds what came of it against a run left alone.

Each kill is a SIGKILL, which no process can answer. Half of them come at any moment, from the start of Python to the
last picture; half are aimed at the writing of a checkpoint. When a run has ended, its weights, optimizer state, log and
checkpoints must equal those of the uninterrupted run bit for bit, and nothing of the killed processes may be left.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from ganvae_core.store.directory import CONFIG, RunDirectory
from ganvae_core.store.files import whole_file
from ganvae_core.store.manifests import MODEL_FILE, STATE_FILE, checkpoint_folders, read_manifest

RESULTS = Path(__file__).parent / "results" / "crash_test.json"
RECIPES = ("vae", "gan", "ae")
STEPS = 1000
SETTINGS = (
    "engine.device=cpu", "engine.precision=fp32", "engine.batch_size=64", "engine.log_every=10",
    "engine.checkpoint_every=10", "engine.samples_every=100", "generator.hidden=[64]",
)  # fmt: skip
START_SHARE = 0.5
"""Of a run's time, before its first step."""
PATIENCE_SECONDS = 3600.0
POLL_SECONDS = 0.0005


class CrashTestError(Exception):
    """Something is not as it has to be after a kill; the message says what."""


@dataclass(frozen=True)
class Case:
    """What is trained: ``ganvae run --plugin <recipe>`` with settings, for so many steps."""

    recipe: str
    steps: int = STEPS
    settings: Sequence[str] = SETTINGS

    def begin(self, out: Path) -> list[str]:
        """The arguments of the first process."""
        return ["run", "--plugin", self.recipe, "--steps", str(self.steps), "--out", str(out), *self.settings]


@dataclass
class Tally:
    """What has been done to one recipe.

    Args:
        kills: in all.
        while_writing: of them, while a draft of a checkpoint lay on the disk.
        before_first: of them, before there was any checkpoint.
        runs: that were killed and resumed until they ended, and compared.
    """

    kills: int = 0
    while_writing: int = 0
    before_first: int = 0
    runs: int = 0


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """A process of the command line, on one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", "ganvae_core", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(arguments: Sequence[str]) -> float:
    """Run a command to its end; the seconds that it took.

    Raises:
        CrashTestError: it failed.
    """
    began = time.monotonic()
    process = start(arguments)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    if process.returncode != 0:
        raise CrashTestError(f"ganvae {' '.join(arguments)} ended with {process.returncode}:\n{errors}")
    return time.monotonic() - began


def outcome(run: Path) -> dict[str, Any]:
    """What a finished run comes to: digests of its newest tensors, its log without speeds, its checkpoints."""
    folders = checkpoint_folders(run / "checkpoints")
    newest = list(folders.values())[-1]
    records = [{name: value for name, value in record.items() if name != "samples_per_second"}
               for record in RunDirectory(run).metrics()]  # fmt: skip
    results = {step: read_manifest(folder)["results"] for step, folder in folders.items()}
    return {
        **{
            name: hashlib.sha256((newest / name).read_bytes()).hexdigest()
            for name in (MODEL_FILE, STATE_FILE)
        },
        "metrics": records,
        "results": results,
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
    left = seconds * (START_SHARE + (1 - START_SHARE) * (1 - done))
    return random_numbers.uniform(0.0, left), random_numbers.random() < 0.5


def is_writing(run: Path) -> bool:
    """Whether a hidden folder of a step lies among the checkpoints."""
    checkpoints = run / "checkpoints"
    return checkpoints.is_dir() and any(name.startswith(".step-") for name in os.listdir(checkpoints))


def kill_once(arguments: Sequence[str], run: Path, after: float, aimed: bool, tally: Tally) -> bool:
    """Start a process and kill it; whether it came to its end before that.

    Raises:
        CrashTestError: it failed by itself.
    """
    process = start(arguments)
    began = time.monotonic()
    try:
        while process.poll() is None and time.monotonic() - began < after:
            time.sleep(0.002)
        while aimed and process.poll() is None and not is_writing(run):
            time.sleep(POLL_SECONDS)
        process.kill()
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    if process.returncode >= 0:
        _check_end(arguments, process.returncode, errors)
        return True
    tally.kills += 1
    tally.while_writing += is_writing(run)
    tally.before_first += not checkpoint_folders(run / "checkpoints")
    return False


def _check_end(arguments: Sequence[str], code: int, errors: str) -> None:
    """A process ends well, or finds that the one that was killed had done everything."""
    if code != 0 and not (code == 2 and "is finished: it has done its" in errors):
        raise CrashTestError(f"ganvae {' '.join(arguments)} ended with {code}:\n{errors}")


def crash_and_resume(
    case: Case, run: Path, seconds: float, random_numbers: random.Random, tally: Tally, kills: int
) -> None:
    """Kill and resume one run until it has ended, or so many kills are done; then let it end.

    Args:
        case: what is trained.
        run: the run directory, which is not there yet.
        seconds: that the run takes when it is left alone.
        random_numbers: decides the moments.
        tally: is counted up.
        kills: at which the killing stops.

    Raises:
        CrashTestError: a process failed by itself.
    """
    ended = False
    while tally.kills < kills and not ended:
        after, aimed = moment(case, run, seconds, random_numbers)
        ended = kill_once(_next_arguments(case, run), run, after, aimed, tally)
    if not ended:
        arguments = _next_arguments(case, run)
        process = start(arguments)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        _check_end(arguments, process.returncode, errors)
    tally.runs += 1


def _next_arguments(case: Case, run: Path) -> list[str]:
    """Go on with what is a run already, else begin in the same place."""
    return ["run", "--resume", str(run)] if (run / CONFIG).is_file() else case.begin(run)


def crash_test(case: Case, kills: int, seed: int, folder: Path) -> Tally:
    """Kill runs of one recipe so many times in all, and compare each with the uninterrupted one.

    Raises:
        CrashTestError: one did not come out the same.
    """
    random_numbers = random.Random(f"{seed} {case.recipe}")
    whole = folder / f"{case.recipe}-whole"
    seconds = finish(case.begin(whole))
    expected = outcome(whole)
    tally = Tally()
    while tally.kills < kills:
        run = folder / f"{case.recipe}-{tally.runs}"
        crash_and_resume(case, run, seconds, random_numbers, tally, kills)
        compare(expected, outcome(run))
        shutil.rmtree(run)
    return tally


def stored(path: Path) -> dict[str, Any]:
    """The results so far."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"seeds": {}}


def share_of(kills: int, position: int, count: int) -> int:
    """How many of the kills one of ``count`` recipes gets."""
    return kills // count + (position < kills % count)


@click.command()
@click.option(
    "--kills", default=200, show_default=True, type=click.IntRange(min=1), help="In all, over the recipes."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Other moments for another one."
)
@click.option("--recipe", "recipes", multiple=True, default=RECIPES, show_default=True, help="Repeatable.")
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path))
@click.option("--again", is_flag=True, help="Also what has a result.")
def main(kills: int, seed: int, recipes: tuple[str, ...], results: Path, again: bool) -> None:
    """Kill training, resume it, and compare with a run that was left alone."""
    from machine import machine

    for position, recipe in enumerate(recipes):
        done = stored(results)
        own = share_of(kills, position, len(recipes))
        before = done["seeds"].get(str(seed), {}).get(recipe)
        if own == 0 or (before and before["kills"] >= own and not again):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ganvae-crash-") as folder:
            tally = crash_test(Case(recipe), own, seed, Path(folder))
        entry = {
            **asdict(tally),
            "steps": STEPS,
            "seconds": round(time.monotonic() - began, 1),
            "machine": machine(),
        }
        done = stored(results)
        done["seeds"].setdefault(str(seed), {})[recipe] = entry
        with whole_file(results) as file:
            file.write((json.dumps(done, indent=1) + "\n").encode())
        click.echo(
            f"{recipe}, seed {seed}: {tally.kills} kills, {tally.while_writing} while a checkpoint was written,"
            f" {tally.before_first} before the first; {tally.runs} runs, all equal to the whole one"
        )


if __name__ == "__main__":
    main()
