"""A run's settings, progress and results, read from its files without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ganvae_core.config.layers import read_yaml
from ganvae_core.errors import ConfigurationError, RunError
from ganvae_core.store.directory import CONFIG, LOSSES, METRICS, RunDirectory, metrics_record
from ganvae_core.store.manifests import numbers, read_figures, texts
from ganvae_core.types import Figure

NEEDED: tuple[tuple[str, type], ...] = (
    ("plugin", str),
    ("recipe", str),
    ("data.name", str),
    ("engine.steps", int),
)
"""The keys that a ``config.yaml`` must have."""
PICTURES = ("samples", "reconstructions")
NO_PICTURES = (*PICTURES, "checkpoints")
"""Folders without further kinds of pictures."""
TAIL_BYTES = 16_384
"""The last line of ``metrics.jsonl`` lies in these; the whole file may be very long."""


@dataclass(frozen=True)
class Outline:
    """One run in a line.

    Args:
        run: the folder, as other verbs take it.
        changed: when something was last written there, in local time.
        plugin: what was trained.
        recipe: the plugin's, with the plugin's name before it where it is not the default one.
        data: the file or folder that was learnt from, else the name of the source.
        step: steps done, according to what was logged or saved last.
        steps: steps to be done in all.
        finished: whether the newest checkpoint ends the last stage, and nothing was logged after it.
        results: held-out results of the newest checkpoint that was measured.
        figures: what these are, in their order.
        gaps: why figures of these could not be had, by their names.
        problem: why the run cannot be read; empty where it can.
    """

    run: Path
    changed: datetime
    plugin: str = ""
    recipe: str = ""
    data: str = ""
    step: int = 0
    steps: int = 0
    finished: bool = False
    results: dict[str, float] = field(default_factory=dict[str, float])
    figures: list[Figure] = field(default_factory=list[Figure])
    gaps: dict[str, str] = field(default_factory=dict[str, str])
    problem: str = ""


def outline(run: RunDirectory) -> Outline:
    """The outline of a run, also of a damaged one."""
    files = [run.path / CONFIG, run.path / METRICS, run.checkpoints]
    written = max(file.stat().st_mtime for file in files if file.exists())
    changed = datetime.fromtimestamp(written).astimezone()
    try:
        config = read_config(run)
        newest = next((found for found in reversed(run.manifests().values()) if found), {})
        saved = newest.get("step", 0)
        measured = run.newest_measured()
        stages = config.get("stages") or ()
        logged = last_record(run).get("step", 0)
    except RunError as error:
        return Outline(run.path, changed, problem=error.message)
    return Outline(
        run.path,
        changed,
        config["plugin"],
        recipe_name(config),
        data_name(config["data"]),
        max(logged, saved),
        config["engine"]["steps"] + sum(settings(stage).get("steps", 0) for stage in stages),
        bool(newest.get("complete")) and newest.get("stage", 0) == len(stages) and logged <= saved,
        numbers(measured.get("results")),
        read_figures(measured.get("figures")),
        texts(measured.get("gaps")),
    )


def read_config(run: RunDirectory) -> dict[str, Any]:
    """The settings in ``config.yaml``, of which those that every run has are there.

    Raises:
        RunError: it is damaged; the message says where.
    """
    where = run.path / CONFIG
    try:
        config = read_yaml(run.read(CONFIG), str(where), typed=True)
    except ConfigurationError as error:
        raise RunError(error.message) from None
    for key, kind in NEEDED:
        value = config
        for part in key.split("."):
            value = settings(value).get(part)
        if not isinstance(value, kind):
            raise RunError(f"{where} is damaged: '{key}' is missing or wrong.")
    return config


def last_record(run: RunDirectory) -> dict[str, Any]:
    """The last whole line of ``metrics.jsonl`` that is of an interval; empty where there is none.

    Raises:
        RunError: the file cannot be read.
    """
    path = run.path / METRICS
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    for line in reversed(lines):
        record = metrics_record(line)  # it is empty where a line was cut short, or is being written
        # A last line may only say what was warned of after the last interval.
        if record and ("warnings" not in record or len(record) > 4):
            return record
    return {}


def pictures(run: RunDirectory) -> dict[str, Path]:
    """The newest picture of each kind, and the curves of the losses, as far as they are there.

    A kind is a folder of pictures with their step in their names, also those of callbacks. Of a kind that has several
    for its newest step it is the folder.
    """
    others = sorted(
        entry.name for entry in run.path.iterdir() if entry.is_dir() and entry.name not in NO_PICTURES
    )
    found: dict[str, Path] = {}
    for kind in (*PICTURES, *others):
        drawn = sorted((run.path / kind).glob("step-*.png"), key=lambda path: (_step_of(path), path.name))
        newest = [path for path in drawn if _step_of(path) == _step_of(drawn[-1])]
        if newest:
            found[kind] = newest[0] if len(newest) == 1 else run.path / kind
    losses = run.path / LOSSES
    return found | ({"losses": losses} if losses.exists() else {})


def _step_of(picture: Path) -> int:
    """The step in a name like ``step-000200.png`` or ``step-000200-part-2.png``; 0 where somebody else's has none."""
    digits = picture.stem.split("-")[1]
    return int(digits) if digits.isdecimal() and digits.isascii() else 0


def recipe_name(config: Mapping[str, Any]) -> str:
    """A plugin's default recipe by the plugin's name, another one as ``plugin/recipe``."""
    plugin, recipe = config["plugin"], config["recipe"]
    return recipe if recipe == plugin or not plugin else f"{plugin}/{recipe}"


def data_name(data: Mapping[str, Any]) -> str:
    """The file or folder that a run's data came from, else its source."""
    path = data.get("path")
    return Path(path).name if isinstance(path, str) else data["name"].removeprefix("builtin/")


def settings(value: Any) -> dict[str, Any]:
    """A mapping as it is, and anything else as an empty one."""
    return value if isinstance(value, dict) else {}
