"""Callbacks of every run on disk: its log and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import batch_of
from ganvae_core.evaluation.measuring import figures_of
from ganvae_core.evaluation.sampling import Samples, can_sample, evenly, sample_rows
from ganvae_core.model import Model
from ganvae_core.store.directory import LOSSES, RunDirectory
from ganvae_core.training import Callback, TrainingView
from ganvae_core.types import Batch, DataSpec, Drawing, View
from ganvae_core.views.curves import draw_losses
from ganvae_core.views.showing import show, shown_rows

GRID = 64
LINES = 8
"""Most rows of a grid with a column for each class: with few classes it would be a strip."""
MOST_COLUMNS = 20
"""Classes that a grid has columns for."""
RECONSTRUCTED = 32
PLOTTED = 2_500
"""Rows in a picture of where many lie."""


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

    def __init__(self, directory: RunDirectory, view: View) -> None:
        self.directory = directory
        self.view = view
        self._records_drawn = 0

    def on_samples(self, training: TrainingView) -> None:
        """Draw samples of the averaged model and its reconstructions; at the end of a run, its losses, too.

        A run that is killed after its last checkpoint has all of them.
        """
        if training.ending:
            self._draw_losses(training)
        if ".png" not in self.view.endings:
            return
        if can_sample(training.model):
            self._draw_samples(training)
        if training.model.encoder is not None and self.view.as_grid:
            self._draw_reconstructions(training)

    def on_end(self, training: TrainingView) -> None:
        """Draw the curves of all that was logged."""
        self._draw_losses(training)

    def _draw_losses(self, training: TrainingView) -> None:
        """Draw the curves, unless they are drawn, or the fit of the prior or the stage that trains it follows."""
        records = self.directory.metrics()
        follows = training.step >= training.target_steps and not can_sample(training.model)
        if len(records) == self._records_drawn or follows:
            return
        self._records_drawn = len(records)
        unit = "nats" if "likelihood" in training.objective.needs else ""
        draw_losses(records, self.directory.path / LOSSES, unit, figures_of(training.metrics))

    def _draw_samples(self, training: TrainingView) -> None:
        spec, model = training.data.spec, training.model
        count = GRID if self.view.as_grid else PLOTTED
        conditions, headings = by_class(model, spec, self.view, count)
        if headings:
            count = min(
                count - count % len(headings), LINES * len(headings)
            )  # every line of the grid is full
            conditions = None if conditions is None else conditions[:count]
        samples = sample_rows(
            model, count, training.settings.seed, training.device, conditions, noise=model.shown == "draw"
        )
        real = None
        if self.view.shows_real or not self.view.as_grid:
            rows = evenly(training.data.training, PLOTTED)
            real = batch_of(training.data, rows, training.device)
        drawing = drawing_of(samples, spec, self.view, real, headings)
        show(self.view, drawing, spec, self.directory.picture("samples", training.step))

    def _draw_reconstructions(self, training: TrainingView) -> None:
        spec = training.data.spec
        indices = training.data.held_out if len(training.data.held_out) else training.data.training
        batch = batch_of(training.data, evenly(indices, RECONSTRUCTED), training.device)
        with torch.no_grad():
            made = training.model.reconstruct(batch.x, batch.condition)
        made = shown_rows(made, spec, self.view)
        originals = shown_rows(batch.x, spec, self.view, batch.mask)
        drawing = Drawing(made, "reconstructions", originals=originals)
        show(self.view, drawing, spec, self.directory.picture("reconstructions", training.step))


def drawing_of(
    samples: Samples, spec: DataSpec, view: View, real: Batch | None, headings: Sequence[str]
) -> Drawing:
    """Samples, with the classes that they were made for, and rows of data beside them where there are any."""
    rows = None if real is None else shown_rows(real.x, spec, view, real.mask)
    labels = class_numbers(samples.condition, spec)
    return Drawing(shown_rows(samples.x, spec, view), real=rows, labels=labels, headings=headings)


def class_numbers(condition: Tensor | None, spec: DataSpec) -> np.ndarray | None:
    """(N,) positions in ``spec.classes`` of conditions (N, classes), or None where they are no classes."""
    return None if condition is None or not spec.classes else condition.argmax(1).numpy()


def by_class(model: Model, spec: DataSpec, view: View, count: int) -> tuple[Tensor | None, tuple[str, ...]]:
    """Conditions (count, classes) that give each class a column of a grid, and the columns' headings."""
    if spec.condition is None or not spec.classes or not view.as_grid or len(spec.classes) > MOST_COLUMNS:
        return None, ()
    columns = len(spec.classes)
    device = next(model.parameters()).device
    return torch.eye(columns, device=device).repeat(count // columns + 1, 1)[:count], spec.classes
