"""What writes down and draws a run while it trains: callbacks that every run on disk has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import in_own_units, rows_of
from ganvae_core.errors import TrainingError
from ganvae_core.evaluation.measuring import evenly, sample_pairs
from ganvae_core.interfaces import Callback, FittedPrior
from ganvae_core.model import Model
from ganvae_core.store.directory import LOSSES, RunDirectory
from ganvae_core.types import DataSpec
from ganvae_core.views.pictures import draw_losses, draw_reconstructions, draw_samples, is_drawable

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine

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

    def on_step(self, engine: Engine, record: Mapping[str, Any]) -> None:
        """Add the line, after those were dropped that training has undone."""
        if "returned_to" in record:
            self.directory.keep_metrics_until(record["returned_to"])
        self.directory.append_metrics(record)

    def on_end(self, engine: Engine) -> None:
        """Add what was warned of since the last interval."""
        if "warnings" in engine.pending:
            rest = {"step": engine.step_index, "samples_seen": engine.samples_seen, **engine.take_pending()}
            self.on_step(engine, rest)

    def on_error(self, engine: Engine, error: BaseException) -> None:
        """Add what was warned of before the error, if that can be written."""
        with suppress(TrainingError):  # the first error is the one to tell
            self.on_end(engine)


@final
class Pictures(Callback):
    """Draws samples and reconstructions at intervals, and the losses at the end."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._losses_until = -1

    def on_samples(self, engine: Engine) -> None:
        """Draw what the averaged model makes now; at the end of a run, its losses, too."""
        if engine.step_index >= engine.target_steps or engine.stop_requested:
            self._draw_losses(engine)
        spec = engine.data.spec
        if not is_drawable(spec):
            return
        seed = engine.settings.seed
        if can_sample(engine.model):
            count = GRID if spec.modality == "image" else PLOTTED
            conditions, headings = by_class(engine.model, spec, count)
            if conditions is not None:
                count = min(count - count % len(headings), ROWS * len(headings))  # no row is left unfinished
                conditions = conditions[:count]
            noise = drawn_with_noise(spec)
            made, given = sample_pairs(engine.model, count, seed, engine.device, conditions, noise=noise)
            real = None if spec.modality == "image" else visible(self._real(engine), spec)
            draw_samples(visible(made, spec), real, spec,
                         self.directory.picture("samples", engine.step_index),
                         headings=headings, labels=labels_of(given, spec))  # fmt: skip
        if engine.model.encoder is not None and spec.modality == "image":
            self._reconstruct(engine, spec)

    def on_end(self, engine: Engine) -> None:
        """Draw the curves of the whole run, unless they are there."""
        self._draw_losses(engine)

    def _draw_losses(self, engine: Engine) -> None:
        records = self.directory.metrics()
        if records and self._losses_until != engine.step_index:
            unit = "nats" if "likelihood" in engine.objective.needs else ""
            draw_losses(records, self.directory.path / LOSSES, unit)
        self._losses_until = engine.step_index

    def _reconstruct(self, engine: Engine, spec: DataSpec) -> None:
        indices = engine.data.held_out if len(engine.data.held_out) else engine.data.training
        x, condition, _ = rows_of(engine.data, evenly(indices, RECONSTRUCTED), engine.device)
        with torch.no_grad():
            made = engine.model.reconstruct(x, condition)
        path = self.directory.picture("reconstructions", engine.step_index)
        draw_reconstructions(visible(x, spec), visible(made, spec), path)

    def _real(self, engine: Engine) -> Tensor:
        return rows_of(engine.data, evenly(engine.data.training, PLOTTED), engine.device)[0]


def can_sample(model: Model) -> bool:
    """Whether the prior is ready: one that is fitted on codes is not, until training has ended."""
    return not isinstance(model.prior, FittedPrior) or model.prior.fitted


def drawn_with_noise(spec: DataSpec) -> bool:
    """Whether samples are draws from the observation, and not its means: of images a person wants to see the means."""
    return spec.modality in ("table", "points")


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
