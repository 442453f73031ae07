"""Points in the plane: scatter plots over the density of real rows."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np

from ganvae_core.types import DataSpec, Drawing, View
from ganvae_core.views.figures import BESIDE_LINES, new_figure, save_figure, span
from ganvae_core.views.table import TABLES, write_table

BINS = 120
DENSE = 10.0
"""The density that is drawn darkest, in multiples of an even one."""
MOST_COLOURS = 10
"""Classes with a colour of their own; more would share colours."""
LINE = 60
"""Letters of the title that stand in a line."""
LIKE_SPANS = 3.0
"""Coordinates whose spans differ by less than this factor are drawn to one scale."""


@final
class PointsView(View):
    """Rows of two numbers."""

    noun = "points"
    endings = (".png", *TABLES)
    shown = "draw"

    def fits(self, spec: DataSpec) -> bool:
        """Whether a row has two numbers."""
        return spec.shape == (2,)

    def describe(self, spec: DataSpec) -> str:
        """Nothing: all points have two coordinates."""
        return ""

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """A scatter plot over the real density, by class where there are few, or each original joined to its row."""
        rows, real = drawing.rows, drawing.originals if drawing.real is None else drawing.real
        classes = spec.classes if drawing.labels is not None else None
        coloured = classes is not None and len(classes) <= MOST_COLOURS
        figure = new_figure(7.2 if coloured else 5.6, 5)
        axes = figure.subplots()
        box = [span((rows if real is None else real)[:, number]) for number in range(2)]
        if real is not None:
            # No darker than a few rows a bin: narrow modes, which fall into few bins, would hide the wide ones.
            axes.hist2d(real[:, 0], real[:, 1], bins=BINS, range=box, cmap="Greys", alpha=0.5,
                        vmax=DENSE * len(real) / BINS**2)  # fmt: skip
        if drawing.originals is not None:
            ends = np.stack([drawing.originals, rows])  # (2, N, 2)
            axes.plot(ends[..., 0], ends[..., 1], color="C1", alpha=0.6, linewidth=0.8)
        for position, name in enumerate(classes if coloured and classes else [""]):
            own = rows[drawing.labels == position] if coloured else rows
            axes.scatter(own[:, 0], own[:, 1], s=4, alpha=0.5, linewidths=0, color=f"C{position}", label=name)
        if coloured:
            axes.legend(**BESIDE_LINES, markerscale=3)
        names = spec.columns or ("first coordinate", "second coordinate")
        axes.set(xlabel=names[0], ylabel=names[1], xlim=box[0], ylim=box[1])
        spans = [high - low for low, high in box]
        if max(spans) < LIKE_SPANS * min(spans):
            axes.set_aspect("equal")
        figure.suptitle(textwrap.fill(_title(drawing, box, coloured=coloured), LINE), fontsize=10)
        save_figure(figure, path)

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """A table of two columns."""
        write_table(rows, spec, path, further)


def _title(drawing: Drawing, box: list[tuple[float, float]], *, coloured: bool) -> str:
    low, high = np.transpose(box)
    outside = int(((drawing.rows < low) | (drawing.rows > high)).any(axis=1).sum())
    parts = f"{len(drawing.rows):,} {drawing.name} ({'a colour for each class' if coloured else 'blue'})"
    if drawing.originals is not None:
        parts += " joined to their real rows"
    if drawing.real is not None or drawing.originals is not None:
        parts += " over the density of real rows (grey)"
    return parts + (f"; {outside:,} lie outside" if outside else "")
