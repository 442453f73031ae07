"""The curves of a run's losses and of its held-out results."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganvae_core.store.files import whole_path
from ganvae_core.types import HELD_OUT, Figure
from ganvae_core.views.figures import BESIDE_LINES, new_figure, save_figure

PANELS = {
    "accuracy": "accuracy (share)",
    "norm": "gradient norm",
    "samples/spread": "distance of samples\n(share of the data's)",
    "samples/nearest": "distance of samples\n(share of the data's)",
    "prior/log_likelihood": "log-likelihood of codes\n(nats)",
}
"""Axes of quantities that are no losses, by the ending of their names."""
WIDTH, PANEL, AXIS = 8.0, 1.95, 0.5
"""Of the picture, and the height of a panel and of the numbers below the last one, in inches."""
SMALL = 0.1
"""Terms that stay below this share of the largest have axes of their own: beside it they would lie on zero."""

Curve = list[tuple[int, float]]


def draw_losses(
    records: Sequence[Mapping[str, Any]], path: Path, unit: str = "", figures: Sequence[Figure] = ()
) -> None:
    """Curves of everything that was logged over the steps, a panel for each kind of quantity.

    Args:
        records: of ``metrics.jsonl``.
        path: of the PNG file.
        unit: of the losses.
        figures: of the metrics, for the names and units of held-out results; the first one's best value is marked.
    """
    names = dict.fromkeys(name for record in records for name in record if "/" in name)
    curves = {name: [(each["step"], each[name]) for each in records if name in each] for name in names}
    panels = _panels(curves, f"\n({unit})" if unit else "", {HELD_OUT + each.name: each for each in figures})
    if not panels:
        return
    picture = new_figure(WIDTH, len(panels) * PANEL + AXIS)
    grid = picture.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, shown) in zip(grid, panels.items(), strict=True):
        for name in shown:
            marker = "o" if len(curves[name]) == 1 else None  # a line through one point cannot be seen
            text = "held out" if name.startswith(HELD_OUT) else name.replace("_", " ")
            axes.plot(*zip(*curves[name], strict=True), label=text, linewidth=1.4, marker=marker)
        if figures and HELD_OUT + figures[0].name in shown:
            _mark_best(axes, curves[HELD_OUT + figures[0].name], figures[0])
        axes.set_ylabel(label)
        axes.legend(**BESIDE_LINES)
        axes.grid(alpha=0.25)
        axes.locator_params(axis="y", nbins=5, min_n_ticks=3)
        axes.spines[["top", "right"]].set_visible(False)
        _mark_stages(axes, records, label=axes is grid[0])
    grid[-1].set_xlabel("steps")
    grid[-1].xaxis.get_major_locator().set_params(integer=True, nbins=7)
    picture.align_ylabels(grid)
    with whole_path(path) as draft:
        save_figure(picture, draft)


def _panels(curves: Mapping[str, Curve], unit: str, figures: Mapping[str, Figure]) -> dict[str, list[str]]:
    """The names of the curves by the label of their axes: losses, held-out results, and the rest."""
    losses, small, panels = list[str](), list[str](), dict[str, list[str]]()
    rest: dict[str, list[str]] = {label: [] for label in PANELS.values()}
    for name, curve in curves.items():
        phase, _, term = name.rpartition("/")
        ending = next((ending for ending in PANELS if name.endswith(ending)), None)
        if name.startswith(HELD_OUT):
            figure = figures.get(name) or Figure(name, name.removeprefix(HELD_OUT))
            unit_text = f" ({figure.unit})" if figure.unit else ""
            panels.setdefault(f"held out:\n{figure.label}{unit_text}", []).append(name)
        elif ending is not None:
            if len(curve) > 1:
                rest[PANELS[ending]].append(name)
        elif term == "loss" or curve != curves.get(f"{phase}/loss"):  # a loss's only term is the loss itself
            losses.append(name)
    largest = max((_largest(curves[name]) for name in losses), default=0.0)
    small = [name for name in losses if _largest(curves[name]) < SMALL * largest]
    losses = [name for name in losses if name not in small]
    found = {f"loss and its terms{unit}": losses, **panels, f"small terms{unit}": small, **rest}
    return {label: names for label, names in found.items() if names}


def _largest(curve: Curve) -> float:
    return max((abs(value) for _, value in curve), default=0.0)


def _mark_best(axes: Any, curve: Curve, figure: Figure) -> None:
    choose = max if figure.better == "higher" else min
    finite = [point for point in curve if point[1] == point[1]]
    if finite:
        step, value = choose(finite, key=lambda point: point[1])
        axes.plot([step], [value], "o", color="C0", markersize=5, label=f"best: step {step:,}")


def _mark_stages(axes: Any, records: Sequence[Mapping[str, Any]], *, label: bool) -> None:
    """A line where each further stage begins, with its number above the first panel."""
    for before, after in itertools.pairwise(records):
        if after.get("stage", 0) != before.get("stage", 0):
            axes.axvline(before["step"], color="0.4", linewidth=1, linestyle="--")
            if label:
                text = f" stage {after.get('stage', 0) + 1:.0f}"
                axes.annotate(
                    text, (before["step"], 1), xycoords=("data", "axes fraction"), va="bottom", color="0.4"
                )
