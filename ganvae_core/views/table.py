"""Tables of numbers: the distribution of each column, and files with the columns' names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np

from ganvae_core.types import DataSpec, Drawing, View
from ganvae_core.views.figures import new_figure, save_figure, span

TABLES = (".csv", ".parquet")
MOST_COLUMNS = 12
"""Columns that are drawn; more would be too small to read."""
MOST_ACROSS = 4
BARS = 40


@final
class TableView(View):
    """Rows of named columns."""

    endings = (*TABLES, ".png")
    shown = "draw"

    def fits(self, spec: DataSpec) -> bool:
        """Whether a row is flat."""
        return len(spec.shape) == 1

    def describe(self, spec: DataSpec) -> str:
        """``5 columns``."""
        return f"{spec.shape[0]} columns" if spec.shape[0] != 1 else "one column"

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """The marginal distribution of each column, over that of the real rows or the originals."""
        drawn = [("real", drawing.real), ("originals", drawing.originals), (drawing.name, drawing.rows)]
        kinds = [(name, rows) for name, rows in drawn if rows is not None]
        total = spec.shape[0]
        shown = min(total, MOST_COLUMNS)
        down = math.ceil(shown / MOST_ACROSS)
        across = math.ceil(shown / down)
        figure = new_figure(2.6 * across + (1.2 if len(kinds) > 1 else 0.0), 2.0 * down + 0.5)
        grid = figure.subplots(down, across, squeeze=False).flat
        for axes in grid[shown:]:
            axes.set_visible(False)
        for number, axes in enumerate(grid[:shown]):
            low, high = span(kinds[0][1][:, number])
            steps = number in spec.units.whole and high - low < BARS  # a bar for each whole number
            bars = np.arange(math.floor(low) + 0.5, high + 1) if steps else np.linspace(low, high, BARS + 1)
            for name, rows in kinds:
                above = len(kinds) > 1 and name == drawing.name
                style = {"color": "C0", "histtype": "step", "linewidth": 1.2} if above else {"color": "0.75"}
                axes.hist(
                    rows[:, number], bars, weights=np.full(len(rows), 1 / len(rows)), label=name, **style
                )
            axes.set(xlabel=column_names(spec)[number], yticks=[])
            axes.locator_params(axis="x", nbins=3)
            axes.spines[["top", "right", "left"]].set_visible(False)
        if len(kinds) > 1:
            figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
        figure.supylabel("share of rows", fontsize=10)
        columns = f", the first {shown} of {total} columns" if shown < total else ""
        figure.suptitle(f"{len(drawing.rows):,} {drawing.name}{columns}", fontsize=10)
        save_figure(figure, path)

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """A table with the columns of the data."""
        write_table(rows, spec, path, further)


def column_names(spec: DataSpec) -> tuple[str, ...]:
    """The columns' names, or their numbers where they have none."""
    return spec.columns or tuple(f"column_{number}" for number in range(spec.shape[0]))


def write_table(rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
    """Rows (N, D) as a .csv or .parquet file, with further columns on the right."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    columns = {
        name: _whole(rows[:, number]) if number in spec.units.whole else rows[:, number]
        for number, name in enumerate(column_names(spec))
    }
    for name, values in further.items():
        flat = values.reshape(len(values), -1).T
        for number, column in enumerate(flat):
            label = name if values.ndim == 1 else f"{name}_{number}"
            while label in columns:  # one of the data's own has this name
                label += "_"
            columns[label] = column
    table = pa.table({name: np.ascontiguousarray(values) for name, values in columns.items()})
    if path.suffix.lower() == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        pyarrow.csv.write_csv(table, path)


def _whole(values: np.ndarray) -> np.ndarray:
    """(N,) rounded values as integers; values beyond the largest integer that float64 holds become that integer."""
    limits = np.iinfo(np.int64)
    return np.clip(values, limits.min, limits.max - 1023).astype(np.int64)
