"""Runs in words: what is trained on what, and how it turned out."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from ganvae_core.types import Figure

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine
    from ganvae_core.types import DataSpec

BUSY = 0.5
"""The share of the cores that others may use before a person is told."""
NOUNS = {"image": "images", "points": "points", "table": "rows", "array": "rows"}


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(engine: Engine) -> str:
    """Python, torch, where it computes and in which precision."""
    device = engine.device.type
    threads = f"{cores()} core{'s' if cores() > 1 else ''}"
    place = f"{threads}, no accelerator" if device == "cpu" else f"{engine.device}, {threads}"
    precision = "bf16" if "bfloat16" in str(engine.precision) else "fp32"
    python = ".".join(platform.python_version_tuple()[:2])
    processes = f" · {engine.world.size} processes" if engine.world.size > 1 else ""
    return f"python {python} · torch {version('torch').partition('+')[0]} · {place} · {precision}{processes}"


def busy(engine: Engine) -> list[str]:
    """A sentence where other programs keep the cores busy: torch's threads wait actively, and lose most by it."""
    import torch

    if engine.device.type != "cpu" or torch.get_num_threads() == 1 or not hasattr(os, "getloadavg"):
        return []
    load = os.getloadavg()[0]
    if load <= cores() * BUSY:
        return []
    return [
        f"other programs keep {load:.1f} of {cores()} cores busy; training may be several times quicker with"
        " one thread:  OMP_NUM_THREADS=1 ganvae run …"
    ]


def event(spec: DataSpec) -> str:
    """One event in words: ``8 × 8``, ``32 × 32 × 3``, ``5 columns``."""
    if spec.modality == "image":
        channels, height, width = spec.shape
        return f"{height} × {width}" + (f" × {channels}" if channels > 1 else "")
    if len(spec.shape) == 1:
        return f"{spec.shape[0]} columns" if spec.shape[0] != 1 else "one column"
    return " × ".join(str(size) for size in spec.shape)


def amount(count: int, spec: DataSpec) -> str:
    """``1,617 images of 8 × 8``."""
    noun = NOUNS[spec.modality] if count != 1 else NOUNS[spec.modality].removesuffix("s")
    return f"{count:,} {noun}" if spec.modality == "points" else f"{count:,} {noun} of {event(spec)}"


def results(values: Mapping[str, float], figures: Iterable[Figure]) -> str:
    """All results in a line: ``ELBO −18.4 nats · squared error 3.2 a row``. One without a figure has its name."""
    shown = {figure.name: figure for figure in figures if figure.name in values}
    shown |= {name: Figure(name, name.replace("_", " ")) for name in values if name not in shown}
    return " · ".join(result(figure, values[name]) for name, figure in shown.items())


def result(figure: Figure, value: float) -> str:
    """One result: ``ELBO −18.4 nats``."""
    number = f"{value:.4g}".replace("-", "−")
    return f"{figure.label} {number} {figure.unit}".rstrip()
