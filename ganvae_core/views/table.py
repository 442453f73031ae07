"""Tables: the distribution of each column, and files with the columns' names, types and spelling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from ganvae_core.types import DataSpec, Drawing, Field, View
from ganvae_core.views.cells import table_of, with_decimals
from ganvae_core.views.figures import new_figure, save_figure, span

TABLES = (".csv", ".parquet", ".feather", ".tsv")
MOST_COLUMNS = 16
"""Columns that are drawn; more would be too small to read."""
MOST_ACROSS = 4
PANEL, NAMES, LEGEND = (2.9, 2.1), 0.8, 1.6
"""Width and height of a column, and the further width of names of categories and of the legend, in inches."""
BARS = 40
MOST_BARS = 8
"""Categories that are drawn, the most frequent ones; the others are one bar."""
LONGEST = 14
"""Letters of a category's name that are drawn."""
LONGEST_TITLE = 36
BETWEEN = 0.12
"""Inches around each column."""
DAY = 86_400.0

_Kinds = Sequence[tuple[str, np.ndarray]]


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
        count = len(spec.fields or range(spec.shape[0]))
        return f"{count} columns" if count != 1 else "one column"

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """The marginal distribution of each column, over that of the real rows or the originals."""
        drawn = [("real", drawing.real), ("originals", drawing.originals), (drawing.name, drawing.rows)]
        kinds = [(name, rows) for name, rows in drawn if rows is not None]
        fields = spec.fields or tuple(Field(f"column_{at}") for at in range(spec.shape[0]))
        total = len(fields)
        shown = min(total, MOST_COLUMNS)
        down = math.ceil(shown / MOST_ACROSS)
        across = math.ceil(shown / down)
        named = any(field.categories for field in fields[:shown])
        width = across * (PANEL[0] + NAMES * named) + LEGEND * (len(kinds) > 1)
        figure = new_figure(width, down * PANEL[1] + 0.3)
        figure.get_layout_engine().set(w_pad=BETWEEN, h_pad=BETWEEN)
        grid = figure.subplots(down, across, squeeze=False).flat
        for axes in grid[shown:]:
            axes.set_visible(False)
        for number, (field, axes) in enumerate(zip(fields, grid, strict=False)):
            columns = [(name, rows[:, number]) for name, rows in kinds]
            if field.categories:
                _draw_categories(axes, columns, field)
            else:
                _draw_numbers(axes, columns, field, drawing.name)
            axes.set_title(_shortened(field.name, LONGEST_TITLE), fontsize=9)
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        if len(kinds) > 1:
            figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
        columns_shown = f", the first {shown} of {total} columns" if shown < total else ""
        title = f"{len(drawing.rows):,} {drawing.name}{columns_shown}: shares of rows"
        figure.suptitle(title, fontsize=10)
        save_figure(figure, path)

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """A table with the columns of the data."""
        write_table(rows, spec, path, further)


def _style(name: str, above: bool) -> dict[str, Any]:
    return {"color": "C0" if above else "0.75", "label": name}


def _draw_numbers(axes: Any, columns: _Kinds, field: Field, made: str) -> None:
    """A histogram with a share of the rows for each bar."""
    if field.kind == "date":
        columns = [(name, values / DAY) for name, values in columns]
    there = [values[~np.isnan(values)] for _, values in columns]
    low, high = span(there[0]) if len(there[0]) else (0.0, 1.0)
    bars = bar_edges(low, high, field.step / DAY if field.kind == "date" else field.step)
    for (name, values), seen in zip(columns, there, strict=True):
        above = len(columns) > 1 and name == made
        # One shape is drawn several times as fast as a rectangle for each bar.
        style = {"histtype": "step", "linewidth": 1.2} if above else {"histtype": "stepfilled"}
        axes.hist(seen, bars, weights=np.full(len(seen), 1 / len(values)), **_style(name, above), **style)
    axes.set(yticks=[])
    axes.spines["left"].set_visible(False)
    if field.kind != "date":
        axes.locator_params(axis="x", nbins=4)
        axes.ticklabel_format(
            axis="x", scilimits=(-4, 7)
        )  # a power of ten beside the axis takes a line of its own
        return
    ticks = np.linspace(there[0].min(), there[0].max(), 3) if len(there[0]) else []
    axes.set(xticks=ticks, xticklabels=[str(np.datetime64(int(tick), "D")) for tick in ticks])


def _shortened(name: str, longest: int) -> str:
    return name[:longest] + ("…" if len(name) > longest else "")


def bar_edges(low: float, high: float, step: float) -> np.ndarray:
    """The edges of bars, all as many steps of the values wide: else every third bar, say, had one value more."""
    if step < 1e-6 * (high - low):
        return np.linspace(low, high, BARS + 1)
    first, last = math.ceil(low / step), math.floor(high / step)
    if last < first:  # no value of this step is between them
        return np.linspace(low, high, BARS + 1)
    together = math.ceil((high - low) / step / BARS)
    count = math.ceil((last - first + 1) / together)
    return (first - 0.5 + together * np.arange(count + 1)) * step


def _draw_categories(axes: Any, columns: _Kinds, field: Field) -> None:
    """A bar for each of the most frequent categories, side by side for real rows and made ones."""
    count = len(field.categories)
    shares = [
        np.append(np.bincount(values[~np.isnan(values)].astype(np.int64), minlength=count), np.isnan(values).sum())
        / len(values)
        for _, values in columns
    ]  # fmt: skip
    names = [*field.categories, "missing"]
    order = [
        at for at in np.argsort(-shares[0], kind="stable") if at < count or max(s[count] for s in shares) > 0
    ]
    kept, others = order[:MOST_BARS], order[MOST_BARS:]
    labels = [_shortened(names[at], LONGEST) for at in kept]
    labels += [f"{len(others)} other{'s' if len(others) > 1 else ''}"] if others else []
    height = 0.8 / len(columns)
    for position, ((name, _), share) in enumerate(zip(columns, shares, strict=True)):
        lengths = [*share[kept], *([share[others].sum()] if others else [])]
        at = np.arange(len(lengths)) + height * (position - (len(columns) - 1) / 2)
        axes.barh(at, lengths, height, **_style(name, position > 0))
    axes.set(yticks=range(len(labels)), yticklabels=labels)
    axes.invert_yaxis()
    axes.locator_params(axis="x", nbins=4)


def column_names(spec: DataSpec) -> tuple[str, ...]:
    """The columns' names, or their numbers where they have none."""
    return spec.columns or tuple(f"column_{number}" for number in range(spec.shape[0]))


def write_table(rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
    """Rows (N, D) as a .csv, .tsv, .parquet or .feather file."""
    table = table_of(rows, spec, further)
    if path.suffix.lower() in (".csv", ".tsv"):
        for field in (*(spec.fields or ()), *(spec.condition_fields or ())):
            if field.dtype == "double" and field.name in table.column_names:
                place = table.column_names.index(field.name)
                table = table.set_column(place, field.name, with_decimals(table.column(place), field))
    write_arrow(table, path)


def write_arrow(table: Any, path: Path) -> None:
    """A pyarrow.Table as a .csv, .tsv, .parquet or .feather file."""
    import pyarrow.feather
    import pyarrow.parquet

    ending = path.suffix.lower()
    if ending == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif ending == ".feather":
        pyarrow.feather.write_feather(table, path)
    else:
        _write_text(table, path, "\t" if ending == ".tsv" else ",")


def _write_text(table: Any, path: Path, delimiter: str) -> None:
    """A text file with quotes where they are needed."""
    import csv

    import pyarrow as pa
    import pyarrow.csv

    for quoting in ("none", "needed"):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow(table.column_names)
        options = pyarrow.csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style=quoting)
        try:
            with path.open("ab") as file:
                pyarrow.csv.write_csv(table, file, options)
            return
        except pa.ArrowInvalid:  # a value has a quote, a delimiter or a line's end: then all text is quoted
            if quoting == "needed":
                raise
