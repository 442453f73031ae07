"""What writes down and draws a run while it trains: callbacks that every run on disk has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import in_own_units, rows_of
from ganvae_core.evaluation.sampling import can_sample, drawn_with_noise, evenly, sample_rows
from ganvae_core.interfaces import Callback, TrainingView
from ganvae_core.model import Model
from ganvae_core.store.directory import LOSSES, RunDirectory
from ganvae_core.types import DataSpec
from ganvae_core.views.pictures import draw_losses, draw_reconstructions, draw_samples, is_drawable

GRID = 64
ROWS = 8
"""Of a grid with a column for each class: few classes would make it a strip."""
RECONSTRUCTED = 32
PLOTTED = 2_500
"""Rows in a scatter plot or in marginals."""


@final
class Recorder(Callback):
    """Writes ``metrics.jsonl``, a line for each logging interval."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """Add the line."""
        self.directory.append_metrics(record)


@final
class Pictures(Callback):
    """Draws samples and reconstructions at intervals, and the losses at the end."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._losses_until = -1

    def on_samples(self, training: TrainingView) -> None:
        """Draw what the averaged model makes now; at the end of a run, its losses, too."""
        if training.ending:
            self._draw_losses(training)
        spec = training.data.spec
        if not is_drawable(spec):
            return
        seed = training.settings.seed
        if can_sample(training.model):
            count = GRID if spec.modality == "image" else PLOTTED
            conditions, headings = by_class(training.model, spec, count)
            if conditions is not None:
                count = min(count - count % len(headings), ROWS * len(headings))  # no row is left unfinished
                conditions = conditions[:count]
            noise = drawn_with_noise(training.model, spec)
            made, given = sample_rows(training.model, count, seed, training.device, conditions, noise=noise)
            real = None if spec.modality == "image" else visible(self._real(training), spec)
            draw_samples(visible(made, spec), real, spec,
                         self.directory.picture("samples", training.step),
                         headings=headings, labels=labels_of(given, spec))  # fmt: skip
        if training.model.encoder is not None and spec.modality == "image":
            self._reconstruct(training, spec)

    def on_end(self, training: TrainingView) -> None:
        """Draw the curves of the whole run, unless they are there."""
        self._draw_losses(training)

    def _draw_losses(self, training: TrainingView) -> None:
        records = self.directory.metrics()
        if records and self._losses_until != training.step:
            unit = "nats" if "likelihood" in training.objective.needs else ""
            draw_losses(records, self.directory.path / LOSSES, unit)
        self._losses_until = training.step

    def _reconstruct(self, training: TrainingView, spec: DataSpec) -> None:
        indices = training.data.held_out if len(training.data.held_out) else training.data.training
        x, condition, _ = rows_of(training.data, evenly(indices, RECONSTRUCTED), training.device)
        with torch.no_grad():
            made = training.model.reconstruct(x, condition)
        path = self.directory.picture("reconstructions", training.step)
        draw_reconstructions(visible(x, spec), visible(made, spec), path)

    def _real(self, training: TrainingView) -> Tensor:
        return rows_of(training.data, evenly(training.data.training, PLOTTED), training.device)[0]


def labels_of(condition: Tensor | None, spec: DataSpec) -> np.ndarray | None:
    """(N,) positions in ``spec.classes`` of conditions (N, classes), or None where they are no classes."""
    return None if condition is None or not spec.classes else condition.argmax(1).numpy()


def by_class(model: Model, spec: DataSpec, count: int) -> tuple[Tensor | None, tuple[str, ...]]:
    """Conditions (count, classes) that put each class in a column of its own, and the columns' headings."""
    if spec.condition is None or spec.classes is None or spec.modality != "image" or len(spec.classes) > 20:
        return None, ()
    columns = len(spec.classes)
    device = next(model.parameters()).device
    return torch.eye(columns, device=device).repeat(count // columns + 1, 1)[:count], spec.classes


def save_picture(
    x: Tensor,
    spec: DataSpec,
    path: Path,
    *,
    columns: int = 0,
    headings: Sequence[str] = (),
    rows_together: int = 0,
) -> None:
    """Write a PNG of rows as fits the data: a grid of images, a scatter plot, marginals.

    Args:
        x: (N, *X) within the data's range.
        spec: what the data is.
        path: of the file; it appears whole or not at all.
        columns: of a grid of images; by default one for each heading, or as square as possible.
        headings: above the columns of a grid, if there are any.
        rows_together: of a grid, with a wider gap before the next ones; 0 for all.
    """
    draw_samples(visible(x, spec), None, spec, path, columns, headings, rows_together)


def visible(x: Tensor, spec: DataSpec) -> np.ndarray:
    """Rows as they are drawn: images in [0, 1], everything else in the source's own units."""
    values = x.detach().float().cpu().numpy()
    if spec.modality == "image" and spec.range is not None:
        low, high = spec.range
        return (values - low) / (high - low)
    if spec.modality == "image":
        low, high = float(values.min()), float(values.max())
        return (values - low) / (high - low or 1.0)
    return in_own_units(values, spec.units)
