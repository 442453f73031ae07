"""Pictures of data alone: a grid of images, a scatter plot of points, the marginals of a table."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ganvae_core.store.files import whole_file
from ganvae_core.types import DataSpec
from ganvae_core.views.pictures import MOST_COLUMNS, image_grid, save_image

IMAGES_IN_A_ROW = 8


def draw_preview(rows: np.ndarray, spec: DataSpec, path: Path) -> None:
    """Draw rows (N, *X) in the source's own units, images in [0, 1], to a PNG.

    Raises:
        TrainingError: it could not be written.
    """
    if spec.modality == "image":
        save_image(image_grid(rows, min(IMAGES_IN_A_ROW, len(rows))), path)
        return
    figure = _scatter(rows, spec) if spec.modality == "points" else _marginals(rows, spec)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    with whole_file(path) as file:
        file.write(picture.getvalue())


def _scatter(rows: np.ndarray, spec: DataSpec) -> Figure:
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(rows[:, 0], rows[:, 1], s=4, alpha=0.5, linewidths=0)
    axes.set(xlabel=_column(spec, 0), ylabel=_column(spec, 1), title=f"{len(rows):,} of {spec.count:,} rows")
    return figure


def _marginals(rows: np.ndarray, spec: DataSpec) -> Figure:
    shown = min(rows.shape[1], MOST_COLUMNS)
    across = min(shown, 4)
    down = math.ceil(shown / across)
    figure = Figure(figsize=(2.6 * across, 2.0 * down + 0.5), layout="constrained")
    grid: Any = figure.subplots(down, across, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= shown:
            axes.set_visible(False)
            continue
        values = rows[:, number]
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, bins=40, range=_extent(values), weights=weights, color="0.6")
        axes.set_xlabel(_column(spec, number))
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.supylabel("share of rows", fontsize=10)
    figure.suptitle(
        f"{shown} of {rows.shape[1]:,} columns, {len(rows):,} of {spec.count:,} rows", fontsize=10
    )
    return figure


def _extent(values: np.ndarray) -> tuple[float, float]:
    """Where to draw bars, with room for them around a constant, however large it is."""
    low, high = float(values.min()), float(values.max())
    margin = 0.0 if high - low > 1e-9 * abs(high) else 0.5 + 1e-3 * abs(high)
    return low - margin, high + margin


def _column(spec: DataSpec, index: int) -> str:
    return spec.columns[index] if spec.columns else f"column {index}"
