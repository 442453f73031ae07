"""What a comparison trains and measures, and how far it has come: all of it is read from its folder."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ganvae_core.errors import ConfigurationError, Interrupted, RunError
from ganvae_core.store.files import whole_file

PLAN = "compare.json"
RUNS = "runs"
EVALUATIONS = "evaluations"
LOGS = "logs"
T = TypeVar("T")
SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a comparison.

    Args:
        candidate: its name.
        seed: of the run.
        run: its directory.
        evaluation: the file with its figures.
        log: what was printed while it was trained and measured.
        train: the command that trains it.
        measure: the command that measures it with the references, and prints JSON.
    """

    candidate: str
    seed: int
    run: Path
    evaluation: Path
    log: Path
    train: tuple[str, ...]
    measure: tuple[str, ...]

    @property
    def name(self) -> str:
        """``vae-seed-1``."""
        return self.run.name

    @property
    def is_done(self) -> bool:
        """Whether it is trained and measured."""
        return self.evaluation.is_file()

    @property
    def has_references(self) -> bool:
        """Whether it is measured with the references."""
        return self.is_done and any(part["references"] for part in self.measured()["measured"])

    def measured(self) -> dict[str, Any]:
        """Its figures, as ``ganvae evaluate --json`` prints them."""
        return json.loads(self.evaluation.read_text("utf-8"))[0]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A comparison.

    Args:
        folder: where everything is written.
        candidates: plugins, or ``plugin/recipe``.
        seeds: of each candidate.
        data: the source, as it is typed after ``--data``; empty for the default.
        overrides: KEY=VALUE for all candidates.
        steps: of every run; None for those of the recipe.
        seconds: of training at most; None without a limit.
        metrics: as ``ganvae evaluate --metrics`` takes them; empty for those that suit the data.
        samples: that are measured; None for the default.
        runs: existing runs that are compared, instead of candidates.
        stages: of the candidates that have several, which share the budget evenly.
    """

    folder: Path
    candidates: tuple[str, ...] = ()
    seeds: int = 1
    data: str = ""
    overrides: tuple[str, ...] = ()
    steps: int | None = None
    seconds: float | None = None
    metrics: str = ""
    samples: int | None = None
    runs: tuple[str, ...] = ()
    stages: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])

    @property
    def jobs(self) -> list[Job]:
        """The runs of the first seed before those of the second, so that all candidates are seen early."""
        if self.runs:
            return [self._job(Path(path).name, 0, Path(path), ()) for path in self.runs]
        jobs: list[Job] = []
        for seed in range(self.seeds):
            for candidate in self.candidates:
                name = candidate.replace("/", "-")
                jobs.append(self._job(candidate, seed, self.folder / RUNS / f"{name}-seed-{seed}",
                                      self.command(candidate, seed)))  # fmt: skip
        return jobs

    def command(self, candidate: str, seed: int) -> tuple[str, ...]:
        """What trains a candidate, as a person would type it, without the place of the run."""
        plugin, _, recipe = candidate.partition("/")
        words = ["run", "--plugin", plugin]
        words += ["--recipe", recipe] if recipe else []
        words += ["--data", self.data] if self.data else []
        stages = self.stages.get(candidate, 1)
        if self.steps is not None:
            words += ["--steps", str(self.steps - (stages - 1) * (self.steps // stages))]
            words += [f"stages.{number}.steps={self.steps // stages}" for number in range(stages - 1)]
        words += ["--seed", str(seed), *self.overrides]
        if self.seconds is not None:
            shared = f", stages: {stages}" if stages > 1 else ""
            words.append(f"callbacks=[{{name: compare/budget, seconds: {self.seconds:g}{shared}}}]")
        return tuple(words)

    def _job(self, candidate: str, seed: int, run: Path, train: tuple[str, ...]) -> Job:
        measure = ["evaluate", str(run), "--seed", "0", "--json"]
        measure += ["--metrics", self.metrics] if self.metrics else []
        measure += ["--samples", str(self.samples)] if self.samples is not None else []
        return Job(candidate, seed, run, self.folder / EVALUATIONS / f"{run.name}.json",
                   self.folder / LOGS / f"{run.name}.txt", train, tuple(measure))  # fmt: skip


def write_settings(settings: Any, name: str) -> None:
    """Write a dataclass into its folder, as JSON without the folder, which may be moved."""
    values = {key: value for key, value in dataclasses.asdict(settings).items() if key != "folder"}
    with whole_file(settings.folder / name) as file:
        file.write((json.dumps(values, indent=2) + "\n").encode())


def read_settings(kind: Callable[..., T], folder: Path, name: str, what: str) -> T:
    """A dataclass that ``write_settings`` has written; lists are tuples.

    Raises:
        RunError: the folder is none of what is wanted.
    """
    try:
        values: dict[str, Any] = json.loads((folder / name).read_text("utf-8"))
        values.pop("format", None)  # in those that earlier versions began
        return kind(folder=folder, **{key: _as_tuples(value) for key, value in values.items()})
    except FileNotFoundError:
        raise RunError(f"'{folder}' is not a {what}: it has no {name}.") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder / name} is damaged: {error}.") from error


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def parse_budget(text: str | None) -> tuple[int | None, float | None]:
    """``60s``, ``5m`` or ``1h`` as seconds, a plain number as steps.

    Raises:
        ConfigurationError: it is neither.
    """
    if text is None:
        return None, None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)?\s*", text)
    if match is None or float(match[1]) <= 0 or (match[2] is None and "." in match[1]):
        raise ConfigurationError(f"--budget: '{text}' is neither a time nor a number of steps.",
                                 "like  --budget 60s  --budget 5m  --budget 2000")  # fmt: skip
    if match[2] is None:
        return int(match[1]), None
    return None, float(match[1]) * SECONDS[match[2]]


def interrupted(stop: KeyboardInterrupt, kept: str, verb: str, folder: Path) -> Interrupted:
    """The error of a stop by a signal, with its exit code and how to go on."""
    number = stop.args[0] if stop.args else signal.SIGINT
    resume = f"go on:  ganvae {verb} --resume {shlex.quote(str(folder))}"
    return Interrupted(f"stopped; {kept} in {folder}.", resume, exit_code=128 + number)


def ganvae(words: Sequence[str]) -> list[str]:
    """A ganvae command for this Python."""
    return [sys.executable, "-m", "ganvae_core", *words]


def typed(words: Sequence[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(["ganvae", *words])


def next_free(name: str) -> Path:
    """The first of ``NAME-1``, ``NAME-2`` … that does not exist."""
    return next(path for number in itertools.count(1) if not (path := Path(f"{name}-{number}")).exists())
