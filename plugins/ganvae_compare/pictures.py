"""The pictures of a report: candidates side by side, from the same draws, as data URLs."""

from __future__ import annotations

import base64
import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

import ganvae_core as gv
from ganvae_compare.evaluating import timed
from ganvae_core import latent
from ganvae_core.data.codec import batch_of
from ganvae_core.evaluation.sampling import can_sample, evenly, sample_codes
from ganvae_core.runs.loading import Run, read_run
from ganvae_core.types import Drawing
from ganvae_core.views.showing import show, shown_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Chart

    from ganvae_compare.report import Entry

POINTS, LINES, CODES = 1_000, 4, 2_000
SEED = 0
MOST_COLOURS = 10
KNOWN_ROWS = 20_000
WIDEST = 900
"""Pixels of a picture at most; larger ones are scaled down."""


@dataclass
class Pictures:
    """Data URLs by section and candidate; ``curves`` has one for all."""

    samples: dict[str, str] = field(default_factory=dict[str, str])
    nearest: dict[str, str] = field(default_factory=dict[str, str])
    reconstructions: dict[str, str] = field(default_factory=dict[str, str])
    interpolations: dict[str, str] = field(default_factory=dict[str, str])
    codes: dict[str, str] = field(default_factory=dict[str, str])
    curves: str = ""

    @property
    def sections(self) -> list[tuple[str, str, Mapping[str, str]]]:
        """Title, explanation and pictures of each section that has any."""
        found = [
            ("Samples", "The same seed for every candidate, beside rows of the data.", self.samples),
            ("Nearest training rows", "Samples above the training rows that are nearest to them in x.", self.nearest),
            ("Reconstructions", "The same held-out rows for every candidate that encodes.", self.reconstructions),
            ("Interpolations", "From one draw of the prior to another, along the path that suits it.",
             self.interpolations),
            ("Codes", "Held-out rows, by the two first principal components of their codes.", self.codes),
        ]  # fmt: skip
        return [(title, text, pictures) for title, text, pictures in found if pictures]


def drawn(entries: Sequence[Entry]) -> Pictures:
    """The pictures of the first run of each candidate."""
    pictures = Pictures()
    runs = {entry.name: read_run(entry.runs[0]) for entry in entries if entry.runs}
    for name, run in runs.items():
        if run.model.encoder is not None:
            pictures.codes[name] = codes(run)
        if ".png" not in run.view.endings:
            continue
        as_grid = run.view.as_grid
        if can_sample(run.model):
            made = run.samples(4 * across(run) if as_grid else POINTS, seed=SEED).x
            real = None if as_grid else _real(run, "training", POINTS)
            if as_grid and not pictures.samples:
                pictures.samples["data"] = picture(
                    run, Drawing(_real(run, "held_out", 4 * across(run)), columns=across(run))
                )
            pictures.samples[name] = picture(run, Drawing(_rows(run, made), real=real, columns=across(run)))
            if as_grid:
                pictures.nearest[name] = nearest(run, made[: across(run)])
                pictures.interpolations[name] = interpolation(run)
        if run.model.encoder is not None and as_grid:
            pictures.reconstructions[name] = reconstruction(run)
    pictures.curves = curves({name: run.metrics for name, run in runs.items()})
    return pictures


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


def nearest(run: Run, made: Tensor) -> str:
    """Samples above the training rows that are nearest to them."""
    data = run.open_data()
    best = torch.full((len(made),), torch.inf)
    closest = made.clone()
    for batch in gv.batches(data, evenly(data.training, KNOWN_ROWS), rows_at_once=1_024):
        distances, places = latent.nearest(made, batch.x.float().cpu(), 1)
        better = distances[:, 0] < best
        best[better] = distances[better, 0]
        closest[better] = batch.x.cpu()[places[better, 0]]
    return picture(run, Drawing(_rows(run, torch.cat([made, closest])), columns=across(run)))


def reconstruction(run: Run) -> str:
    """Held-out rows above their reconstructions."""
    data = run.open_data()
    batch = batch_of(data, evenly(data.held_out, 2 * across(run)), run.device)
    with torch.no_grad():
        made = run.model.reconstruct(batch.x, batch.condition)
    return picture(
        run, Drawing(_rows(run, made), "reconstructions", originals=_rows(run, batch.x), columns=across(run))
    )


def interpolation(run: Run) -> str:
    """Lines from a draw of the prior to another one, decoded."""
    z, condition = sample_codes(run.model, 2 * LINES, SEED, run.device)
    if condition is not None:
        condition = condition[:LINES]
        z, _ = sample_codes(run.model, 2 * LINES, SEED, run.device, torch.cat([condition, condition]))
    with torch.no_grad():
        steps = latent.interpolate(run.model, z[:LINES], z[LINES:], across(run), condition=condition)
        rows = torch.stack([run.model(step, condition) for step in steps], 1).flatten(0, 1)
    return picture(run, Drawing(_rows(run, rows), columns=across(run)))


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
