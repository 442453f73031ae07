"""Series for people: line plots, and tables with times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from matplotlib.figure import Figure

from ganvae_core import DataSpec, Drawing, View
from ganvae_sequence.clock import step_text, times_of

MOST_DRAWN, ACROSS, MOST_LINES = 24, 4, 8
MOST_LINED_UP = 8
"""Lines of a grid of paths."""


@final
class SeriesView(View):
    """Windows of a series (T, C): a small plot for each, a line for each column."""

    noun = "windows"
    plugin = "series-vae"
    endings = (".csv", ".parquet", ".png")
    shown = "draw"
    as_grid = True
    gaps = True
    shows_real = True
    along = 0

    def fits(self, spec: DataSpec) -> bool:
        """Whether a row has times and named columns."""
        return len(spec.shape) == 2 and len(spec.details.get("columns", ())) == spec.shape[1]

    def describe(self, spec: DataSpec) -> str:
        """``24 times, 7 columns``."""
        return f"{spec.shape[0]} times, {spec.shape[1]} column{'s' if spec.shape[1] != 1 else ''}"

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """Rows as lines, in their columns' deviations; originals dashed. Real rows stand in the upper half."""
        scale = np.asarray(spec.units.scale)
        offset = np.asarray(spec.units.offset)

        def shown(rows: np.ndarray) -> np.ndarray:
            return (rows[..., :MOST_LINES] - offset[:MOST_LINES]) / scale[:MOST_LINES]

        most = MOST_LINED_UP * drawing.columns if drawing.columns else MOST_DRAWN
        count = min(len(drawing.rows), most)
        plots: list[tuple[str, np.ndarray, np.ndarray | None]] = []
        across = drawing.columns or len(drawing.headings) or min(ACROSS, count)
        if drawing.real is not None and drawing.originals is None:
            real = drawing.real[
                np.linspace(0, len(drawing.real) - 1, min(2 * across, len(drawing.real))).astype(int)
            ]
            plots += [("real", row, None) for row in shown(real)]
            count = min(count, 3 * across)
        originals = None if drawing.originals is None else shown(drawing.originals[:count])
        for number, row in enumerate(shown(drawing.rows[:count])):
            plots.append((drawing.name, row, None if originals is None else originals[number]))
        down = math.ceil(len(plots) / across)
        width, height = (1.4, 0.95) if across > 2 * ACROSS else (2.3, 1.3)
        figure = Figure((width * across + 1.3, height * down + 0.6), layout="constrained")
        grid: Any = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat
        for number, axes in enumerate(grid):
            axes.set_visible(number < len(plots))
            if number >= len(plots):
                continue
            name, row, original = plots[number]
            for at in range(row.shape[1]):
                label = spec.details["columns"][at]
                axes.plot(row[:, at], color=f"C{at}", linewidth=1.0, label=label)
                if original is not None:
                    axes.plot(original[:, at], color=f"C{at}", linewidth=0.9, linestyle=":")
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
            if number < len(drawing.headings):
                axes.set_title(drawing.headings[number], fontsize=8)
            elif not drawing.columns and (number == 0 or plots[number - 1][0] != name):
                axes.set_title(name, fontsize=9, loc="left")
            if name == "real":
                axes.set_facecolor("0.94")
        figure.legend(
            *grid[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8
        )
        figure.supxlabel(step_text(spec.details), fontsize=8)
        figure.supylabel("deviations from the mean", fontsize=8)
        if originals is not None:
            figure.suptitle(f"{drawing.name}, originals dotted", fontsize=9)
        figure.savefig(path, format="png", dpi=100)

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """A line for each time of each window: the window's number, the time from its beginning, and the columns."""
        count, length, _ = rows.shape
        columns: dict[str, Any] = {"window": np.repeat(np.arange(count), length)}
        columns[spec.details.get("time") or "time"] = np.tile(times_of(spec.details, length), count)
        for at, name in enumerate(spec.details["columns"]):
            columns[name] = pa.array(rows[..., at].reshape(-1), from_pandas=True)  # empty where it is NaN
        for name, values in further.items():
            if values.ndim == 1:
                columns[name] = pa.array(np.repeat(values, length), from_pandas=True)
        table = pa.table(columns)
        if path.suffix.lower() == ".parquet":
            pyarrow.parquet.write_table(table, path)
        else:
            pyarrow.csv.write_csv(table, path)
