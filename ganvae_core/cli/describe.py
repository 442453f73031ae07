"""Runs in words: their data, device and results."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from ganvae_core.cli.frame import current_catalogue
from ganvae_core.cli.output import four_digits
from ganvae_core.engine.environment import cores
from ganvae_core.errors import RunError
from ganvae_core.store.directory import DATA, RunDirectory
from ganvae_core.store.manifests import preferred
from ganvae_core.types import Figure

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine
    from ganvae_core.types import DataSpec


def machine(engine: Engine) -> str:
    """Python, torch, the device and the precision."""
    device = engine.device.type
    threads = f"{cores()} core{'s' if cores() > 1 else ''}"
    place = f"{threads}, no accelerator" if device == "cpu" else f"{engine.device}, {threads}"
    python = ".".join(platform.python_version_tuple()[:2])
    processes = f" · {engine.world.size} processes" if engine.world.size > 1 else ""
    return f"python {python} · torch {version('torch').partition('+')[0]} · {place} · {engine.precision}{processes}"


def amount(count: int, spec: DataSpec) -> str:
    """``1,617 images of 8 × 8``."""
    from ganvae_core.views.finding import rows_in_words, view_of

    return counted(count, rows_in_words(spec, view_of(spec, current_catalogue())))


def counted(count: int, rows: str) -> str:
    """``1,617 images of 8 × 8``, from the words for such rows."""
    noun, *rest = rows.split(" ")
    return " ".join([f"{count:,}", noun if count != 1 else noun.removesuffix("s"), *rest])


def results(
    values: Mapping[str, float], figures: Iterable[Figure], gaps: Mapping[str, str] | None = None
) -> str:
    """All results in a line: ``ELBO −18.4 nats · squared error 3.2 a row``. One without a figure has its name.

    Figures that could not be had come last: ``coverage n/a · density n/a``.

    Args:
        values: by name.
        figures: what they are.
        gaps: the names of figures that could not be had.
    """
    labels = {figure.name: figure for figure in figures}
    shown = {name: figure for name, figure in labels.items() if name in values}
    shown |= {name: Figure(name, name.replace("_", " ")) for name in values if name not in shown}
    missing = [f"{labels[name].label} n/a" for name in gaps or {} if name in labels and name not in values]
    return " · ".join([*(result(figure, values[name]) for name, figure in shown.items()), *missing])


def reasons(figures: Iterable[Figure], gaps: Mapping[str, str]) -> list[str]:
    """Why figures could not be had, a reason a line: ``coverage, density: 50 held-out rows are needed``."""
    labels = {figure.name: figure.label for figure in figures}
    found: dict[str, list[str]] = {}
    for name, reason in gaps.items():
        found.setdefault(reason, []).append(labels.get(name, name))
    return [f"{', '.join(names)}: {reason}" for reason, names in found.items()]


def preference(run: RunDirectory) -> list[str]:
    """That held-out rows prefer a checkpoint to the newest, and the command that uses it; nothing where they do not."""
    found = preferred(run.manifests())
    if found is None:
        return []
    step, figure, then, now = found
    return [
        f"step {step:,} is better on held-out rows: {result(figure, then)}, and {result(figure, now)} at the end",
        f"use it:  ganvae sample {shlex.quote(str(run.path))} --checkpoint best",
    ]


def noise(run: RunDirectory) -> list[str]:
    """That a run's samples are noise, and the command that trains a prior; nothing where the run has trained one."""
    try:
        prior = run.read_json(DATA).get("prior_to_fit")
    except RunError:  # what reads the whole record says so
        return []
    if not isinstance(prior, str):
        return []
    return [
        "samples are noise: this run trained no prior on its codes",
        f"train one:  ganvae fit-prior {shlex.quote(str(run.path))} --prior {prior}",
    ]


def result(figure: Figure, value: float) -> str:
    """One result: ``ELBO −18.4 nats``."""
    return f"{figure.label} {four_digits(value)} {figure.unit}".rstrip()
