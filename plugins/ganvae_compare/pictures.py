"""The pictures of a report: candidates side by side, from the same draws, as data URLs."""

from __future__ import annotations

import base64
import csv
import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

import ganvae_core as gv
from ganvae_compare.evaluating import timed
from ganvae_compare.rules import Entry
from ganvae_core import latent
from ganvae_core.cli.request import usual_ending
from ganvae_core.data.codec import batch_of
from ganvae_core.evaluation.sampling import can_sample, evenly, sample_codes
from ganvae_core.runs.loading import Run, read_run
from ganvae_core.types import Drawing
from ganvae_core.views.showing import show, shown_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Chart

POINTS, FEW, CODES = 1_000, 4, 2_000
JOINED = 100
"""Points of a plane that are joined to another each."""
MOST_COLUMNS = 16
"""Columns of a table whose rows are shown."""
SEED = 0
MOST_COLOURS = 10
KNOWN_ROWS = 20_000
WIDEST = 900
"""Pixels of a picture at most; larger ones are scaled down."""


@dataclass(frozen=True)
class Table:
    """Rows of a table as text.

    Args:
        headings: of the columns.
        rows: a label and the cells of each; the second value says whether a new group begins.
    """

    headings: Sequence[str]
    rows: Sequence[tuple[str, bool, Sequence[str]]]


SECTIONS = {
    "Samples": "The same seed for every candidate, beside rows of the data.",
    "Nearest training rows": "Samples with the training row that is nearest to each in x.",
    "Reconstructions": "The same held-out rows for every candidate that encodes.",
    "Interpolations": "From one draw of the prior to another, along the path that suits it.",
    "Codes": "Held-out rows, by the two first principal components of their codes.",
}


@dataclass
class Pictures:
    """Data URLs, or rows of tables, by section and candidate.

    Args:
        shown: by the titles of ``SECTIONS``.
        curves: one picture for all candidates.
        broad: sections whose pictures have many panels and need the whole width.
    """

    shown: dict[str, dict[str, str | Table]]
    curves: str = ""
    broad: Sequence[str] = ()

    @property
    def sections(self) -> list[tuple[str, str, Mapping[str, str | Table]]]:
        """Title, explanation and content of each section that has any."""
        return [(title, text, self.shown[title]) for title, text in SECTIONS.items() if self.shown[title]]


def drawn(entries: Sequence[Entry]) -> Pictures:
    """The pictures of the first run of each candidate."""
    shown: dict[str, dict[str, str | Table]] = {title: {} for title in SECTIONS}
    runs = {entry.name: read_run(entry.runs[0]) for entry in entries if entry.runs}
    for name, run in runs.items():
        has_encoder, as_grid = run.model.encoder is not None, run.view.as_grid
        if has_encoder:
            shown["Codes"][name] = codes(run)
        if ".png" not in run.view.endings:
            continue
        if has_encoder:
            shown["Reconstructions"][name] = reconstruction(run)
        if not can_sample(run.model):
            continue
        made = run.samples(4 * across(run) if as_grid else POINTS, seed=SEED).x
        if as_grid and not shown["Samples"]:
            data = _real(run, "held_out", 4 * across(run))
            shown["Samples"]["data"] = picture(run, Drawing(data, columns=across(run)))
        real = None if as_grid else _real(run, "training", POINTS)
        shown["Samples"][name] = picture(run, Drawing(_rows(run, made), real=real, columns=across(run)))
        shown["Nearest training rows"][name] = nearest(run, made)
        shown["Interpolations"][name] = interpolation(run)
    broad = ["Samples"] if any(is_table(run) for run in runs.values()) else []
    return Pictures(shown, curves({name: run.metrics for name, run in runs.items()}), broad)


def across(run: Run) -> int:
    """Rows beside each other in a picture: images are read in small, and curves are not."""
    return 8 if run.spec.modality == "image" else 3


def picture(run: Run, drawing: Drawing) -> str:
    """What the run's view draws, as a data URL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        show(run.view, drawing, run.spec, path)
        return data_url(path)


def data_url(source: Path | io.BytesIO) -> str:
    """A picture as a data URL, scaled down where it is wide; WebP, so that a report stays small."""
    from PIL import Image

    image = Image.open(source)
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)))
    target = io.BytesIO()
    image.save(target, "WEBP", quality=88, method=4)
    return "data:image/webp;base64," + base64.b64encode(target.getvalue()).decode()


def is_plane(run: Run) -> bool:
    """Whether pictures show single rows among many, as points of a plane."""
    return not run.view.as_grid and not is_table(run)


def is_table(run: Run) -> bool:
    """Whether rows are shown as lines of cells: a picture has shares of many rows."""
    return not run.view.as_grid and usual_ending(run.view) == ".csv"


def table(run: Run, groups: Sequence[tuple[Sequence[str], Tensor]]) -> Table:
    """Rows of a table as the view writes them.

    Args:
        run: whose rows they are.
        groups: labels and x (N, *X) of rows that belong together.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        show(run.view, Drawing(_rows(run, torch.cat([x for _, x in groups]))), run.spec, path)
        with path.open(newline="", encoding="utf-8") as file:
            headings, *cells = csv.reader(file)
    labels = [(label, at == 0) for of_group, _ in groups for at, label in enumerate(of_group)]
    return Table(headings[:MOST_COLUMNS], [(label, first, [_short(text) for text in row[:MOST_COLUMNS]])
                                           for (label, first), row in zip(labels, cells, strict=True)])  # fmt: skip


def _short(text: str) -> str:
    """A number with four digits that count; any other text as it is."""
    try:
        return f"{float(text):.4g}" if "." in text else text
    except ValueError:
        return text


def nearest(run: Run, made: Tensor) -> str | Table:
    """Samples with the training rows that are nearest to them."""
    made = made[: paired_rows(run)]
    data = run.open_data()
    best = torch.full((len(made),), torch.inf)
    closest = made.clone()
    for batch in gv.batches(data, evenly(data.training, KNOWN_ROWS), rows_at_once=1_024):
        distances, places = latent.nearest(made, batch.x.float().cpu(), 1)
        better = distances[:, 0] < best
        best[better] = distances[better, 0]
        closest[better] = batch.x.cpu()[places[better, 0]]
    return paired(run, made, closest, "samples", ("sample", "nearest row"))


def reconstruction(run: Run) -> str | Table:
    """Held-out rows with their reconstructions."""
    data = run.open_data()
    batch = batch_of(data, evenly(data.held_out, paired_rows(run)), run.device)
    with torch.no_grad():
        made = run.model.reconstruct(batch.x, batch.condition)
    return paired(run, made, batch.x, "reconstructions", ("reconstruction", "row"))


def paired_rows(run: Run) -> int:
    """Rows that are shown with others that belong to them."""
    return 2 * across(run) if run.view.as_grid else JOINED if is_plane(run) else FEW


def paired(run: Run, made: Tensor, real: Tensor, name: str, labels: tuple[str, str]) -> str | Table:
    """What was made, with the rows of the data that belong to it; points are joined to theirs, over the data's density.

    Args:
        run: that has made it.
        made: (N, *X).
        real: (N, *X).
        name: of what was made.
        labels: of one of either.
    """
    if is_table(run):
        return table(run, [((f"{labels[0]} {number}", labels[1]), torch.stack(pair))
                           for number, pair in enumerate(zip(made, real, strict=True), 1)])  # fmt: skip
    density = _real(run, "training", POINTS) if is_plane(run) else None
    drawing = Drawing(_rows(run, made), name, real=density, originals=_rows(run, real), columns=across(run))
    return picture(run, drawing)


def interpolation(run: Run) -> str | Table:
    """Paths from one draw of the prior to another, decoded."""
    paths, count = (2, 6) if is_table(run) else (FEW, across(run) if run.view.as_grid else 40)
    z, condition = sample_codes(run.model, 2 * paths, SEED, run.device)
    if condition is not None:
        condition = condition[:paths]
        z, _ = sample_codes(run.model, 2 * paths, SEED, run.device, torch.cat([condition, condition]))
    with torch.no_grad():
        steps = latent.interpolate(run.model, z[:paths], z[paths:], count, condition=condition)
        rows = torch.stack([run.model(step, condition) for step in steps], 1)  # (paths, count, *X)
    if is_table(run):
        shares = [f"{100 * at / (count - 1):.0f} %" for at in range(count)]
        return table(run, [([f"path {number}, {share}" for share in shares], path)
                           for number, path in enumerate(rows, 1)])  # fmt: skip
    drawing = Drawing(_rows(run, rows.flatten(0, 1)), columns=across(run))
    if is_plane(run):
        drawing = replace(drawing, name=f"points of {paths} paths", real=_real(run, "training", POINTS))
    return picture(run, drawing)


def codes(run: Run) -> str:
    """A map of held-out codes."""
    data = run.open_data()
    rows = evenly(data.held_out, CODES)
    z = run.encode(data, rows).reshape(len(rows), -1)
    plane = latent.project(z) if z.shape[1] > 1 else np.column_stack([z, np.zeros(len(z))])
    classes = run.source_spec.classes or ()
    chart, axes = _chart(4.2, 4.2)
    if 0 < len(classes) <= MOST_COLOURS:
        points = axes.scatter(
            *plane.T, c=data.source.labels(rows), s=5, cmap="tab10", vmin=0, vmax=9, linewidths=0
        )
        handles, numbers = points.legend_elements(num=None, fmt="{x:.0f}")
        names = [classes[int(re.sub(r"\D", "", number))] for number in numbers]
        chart.legend(handles, names, loc="outside right upper", fontsize=7, frameon=False)
    else:
        axes.scatter(*plane.T, s=5, linewidths=0)
    axes.set_xlabel("first component")
    axes.set_ylabel("second component")
    return _as_url(chart)


def curves(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The loss of each candidate's first phase against the time and against the rows, a line of panels each."""
    from matplotlib.figure import Figure

    known = {name: found for name, lines in records.items() if (found := _losses(lines))[1]}
    if not known:
        return ""
    chart = Figure(figsize=(8, 1.9 * len(known)), layout="constrained")
    panels = chart.subplots(len(known), 2, squeeze=False, sharey="row")
    for line, (name, (term, values)) in zip(panels, known.items(), strict=True):
        for axes, column, label in zip(line, (0, 1), ("seconds of training", "rows seen"), strict=True):
            marker = "o" if len(values) == 1 else None  # a single point has no line
            axes.plot(
                [value[column] for value in values],
                [value[2] for value in values],
                marker=marker,
                linewidth=1.2,
            )
            axes.set_xlabel(label, fontsize=8)
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(f"{name}\n{term}", fontsize=8)
    return _as_url(chart)


def _losses(lines: Sequence[Mapping[str, Any]]) -> tuple[str, list[tuple[float, float, float]]]:
    """The name of the first loss, and (seconds, rows, value) of each record that has it."""
    term = next((key for line in lines for key in line if key.endswith("/loss")), "")
    values = [(seconds, line["samples_seen"], line[term]) for seconds, line in timed(lines) if term in line]
    return term, values


def _real(run: Run, part: Literal["training", "held_out"], count: int) -> np.ndarray:
    data = run.open_data()
    rows = data.training if part == "training" else data.held_out
    return _rows(run, batch_of(data, evenly(rows, count), run.device).x)


def _rows(run: Run, x: Tensor) -> np.ndarray:
    return shown_rows(x, run.spec, run.view)


def _chart(width: float, height: float) -> tuple[Chart, Any]:
    from matplotlib.figure import Figure

    chart = Figure(figsize=(width, height), layout="constrained")
    axes: Any = chart.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return chart, axes


def _as_url(chart: Chart) -> str:
    target = io.BytesIO()
    chart.savefig(target, format="png", dpi=110)
    target.seek(0)
    return data_url(target)
