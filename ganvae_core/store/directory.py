"""The run directory: where everything about a run lies, and what can be read of it without torch."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ganvae_core.errors import RunError
from ganvae_core.store.files import DRAFT, refuse_pickle, whole_file, writing
from ganvae_core.store.manifests import manifests_in, numbers, without_gaps

CONFIG = "config.yaml"
DATA = "data.json"
FORMAT = 2
"""Of a run's files."""
LOCK = "plugins.lock.toml"
METRICS = "metrics.jsonl"
LOSSES = "losses.png"
DEFAULT_PARENT = "runs"
CHECKPOINTS = "checkpoints"
IN_USE = ".lock"
BEFORE_CONFIG = (DATA, LOCK, IN_USE)
"""What a process may have written that was killed while it made a run directory: ``config.yaml`` comes last."""


@final
@dataclass(frozen=True)
class RunDirectory:
    """A folder that holds everything needed to resume, sample, compare and explore what was trained."""

    path: Path

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunDirectory:
        """A new run directory: ``path`` itself, or the next free ``runs/<name>-<n>``.

        Raises:
            RunError: ``path`` exists and is not an empty folder, or cannot be made.
        """
        try:
            if path is None:
                return cls(_next_free(Path(DEFAULT_PARENT), name))
            refuse_taken(path)
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"the run directory {path or DEFAULT_PARENT} cannot be made: {error.strerror}."
            ) from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run in an existing folder.

        Raises:
            RunError: there is no such folder, or it is no run.
        """
        if not os.path.exists(path):  # False too for a name that no file can have
            raise RunError(f"there is no run '{path}'.", "ganvae runs  lists those that there are")
        refuse_pickle(
            path, "RUN", RunError, "a run is a folder that `ganvae run` made; its weights are safetensors"
        )
        if not (path / CONFIG).is_file():
            raise RunError(
                f"'{path}' is not a run: it has no {CONFIG}.",
                "a run is a folder that `ganvae run` made; ganvae runs  lists them",
                "it has the checkpoints of an engine of your own:  engine.restore(gv.CheckpointWriter(…).newest());"
                " gv.train makes runs"
                if (path / CHECKPOINTS).is_dir()
                else "",
            )
        return cls(path)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.resolve().name

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS

    def has_nothing_of_training(self) -> bool:
        """Whether there is only what a run is made from: nothing was logged, saved or drawn."""
        known = (CONFIG, *BEFORE_CONFIG)
        return all(
            entry.name in known or (entry.is_dir() and not any(entry.iterdir()))
            for entry in self.path.iterdir()
        )

    def picture(self, kind: str, step: int) -> Path:
        """Where the picture of one kind (``samples``, ``reconstructions``) for a step goes."""
        folder = self.path / kind
        folder.mkdir(exist_ok=True)
        return folder / f"step-{step:06d}.png"

    def write(self, name: str, text: str) -> None:
        """Write one of the run's text files, whole or not at all."""
        with whole_file(self.path / name) as file:
            file.write(text.encode())

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write one of the run's JSON files, whole or not at all."""
        self.write(name, json.dumps(values, indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """One of the run's JSON files.

        Raises:
            RunError: it is missing or not JSON.
        """
        path = self.path / name
        try:
            values = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        if not isinstance(values, dict):
            raise RunError(f"{path} is damaged: it is not a JSON object.")
        return values

    def data_record(self) -> dict[str, Any]:
        """What ``data.json`` holds.

        Raises:
            RunError: it cannot be read, or another version of ganvae made the run, in another format.
        """
        record = self.read_json(DATA)
        if record.get("format") != FORMAT:
            raise RunError(
                f"'{self.path}' was made by another version of ganvae, which stores runs differently.",
                f"train it anew:  ganvae run --config {shlex.quote(str(self.path / CONFIG))}",
            )
        return record

    def read(self, name: str) -> str:
        """One of the run's text files.

        Raises:
            RunError: it is missing or cannot be read.
        """
        path = self.path / name
        try:
            return path.read_text("utf-8")
        except FileNotFoundError:
            raise RunError(f"{path} is missing, so this run cannot be used.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path} cannot be read: {error}") from error

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to ``metrics.jsonl``; a number that is not finite, which JSON has not, is null there.

        Raises:
            TrainingError: it could not be written.
        """
        with writing(self.path / METRICS), (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(_line(record))

    def keep_metrics_until(self, step: int, *, whole: bool = False) -> None:
        """Drop what was logged after the checkpoint of a step, since training goes on from there and logs it again.

        Args:
            step: of the checkpoint.
            whole: keep all records of that step; by default the first one, since those after it belong to the end of a
                stage, which comes later if more steps are trained.
        """
        kept: list[dict[str, Any]] = []
        for record in self.metrics():
            first = not kept or kept[-1]["step"] < step
            if record["step"] < step or (record["step"] == step and (first or whole)):
                kept.append(record)
        if kept:
            self.write(METRICS, "".join(_line(record) for record in kept))
        else:
            (self.path / METRICS).unlink(missing_ok=True)

    def metrics(self) -> list[dict[str, Any]]:
        """What ``metrics.jsonl`` holds, null as NaN; a last line that was cut short is left out.

        Raises:
            RunError: the file cannot be read.
        """
        path = self.path / METRICS
        try:
            lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}.") from error
        return [record for line in lines if (record := metrics_record(line))]

    def manifests(self) -> dict[int, dict[str, Any]]:
        """All checkpoints' manifests by step, oldest first, unchecked; empty where one cannot be read."""
        return manifests_in(self.checkpoints)

    def newest_step(self) -> int | None:
        """The step of the newest checkpoint whose manifest is whole; None where there is none."""
        return max((step for step, manifest in self.manifests().items() if manifest), default=None)

    def newest_results(self) -> dict[str, float]:
        """Held-out results of the newest checkpoint that was measured; empty where there is none."""
        return numbers(self.newest_measured().get("results"))

    def newest_measured(self) -> dict[str, Any]:
        """The manifest of the newest checkpoint that was measured; empty where there is none."""
        measured = (
            each for each in reversed(self.manifests().values()) if each.get("results") or each.get("gaps")
        )
        return next(measured, {})


def metrics_record(line: str | bytes) -> dict[str, Any]:
    """One line of ``metrics.jsonl``: numbers, NaN for null, and the texts of ``warnings``; empty if it is not whole."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict) or type(record.get("step")) is not int:
        return {}
    warnings = record.get("warnings")
    texts = [str(text) for text in warnings] if isinstance(warnings, list) else []
    return numbers(record) | ({"warnings": texts} if texts else {})


def find_runs(parent: Path) -> list[RunDirectory]:
    """The runs in a folder, oldest first.

    Raises:
        RunError: there is no such folder.
    """
    if not parent.is_dir():
        raise RunError(
            f"there is no folder '{parent}'.", "ganvae run --plugin vae  makes a first run, in runs/"
        )
    found = [RunDirectory(path) for path in parent.iterdir() if (path / CONFIG).is_file()]
    return sorted(found, key=lambda run: ((run.path / CONFIG).stat().st_mtime, run.name))


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(without_gaps(record)) + "\n"


def _next_free(parent: Path, name: str) -> Path:
    """Make and return the next free ``<parent>/<name>-<n>``; two processes never get the same."""
    parent.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(rf"{re.escape(name)}-(\d+)$")
    taken = [int(match.group(1)) for path in parent.iterdir() if (match := pattern.match(path.name))]
    number = max(taken, default=0) + 1
    while True:
        path = parent / f"{name}-{number}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def refuse_taken(path: Path) -> None:
    """Raise where a run directory cannot be made without touching what is there.

    Raises:
        RunError: there is a run already, or something else.
    """
    if not os.path.exists(path) or (path.is_dir() and all(_before_config(entry) for entry in path.iterdir())):
        return
    if (path / CONFIG).is_file():
        raise RunError(
            f"--out {path}: there is a run already.",
            f"go on with it:  ganvae run --resume {shlex.quote(str(path))}",
            "or name another folder; nothing is overwritten",
        )
    raise RunError(
        f"--out {path}: this is not a run and not empty, so nothing is written there.",
        "name a folder that does not exist yet",
    )


def _before_config(entry: Path) -> bool:
    """Whether a process that was killed while it made a run directory may have left this, and nobody else."""
    return entry.name in BEFORE_CONFIG or (entry.name.startswith(".") and entry.name.endswith(DRAFT))
