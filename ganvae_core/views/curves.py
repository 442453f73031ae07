"""The curves of a run's losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganvae_core.store.files import whole_path
from ganvae_core.views.figures import BESIDE_LINES, new_figure, save_figure

PANELS = {
    "accuracy": "accuracy (share)",
    "norm": "gradient norm",
    "samples/spread": "distance of samples\n(share of the data's)",
    "samples/nearest": "distance of samples\n(share of the data's)",
    "/dropped_updates": "dropped updates",
}
"""Axes of quantities that are no losses, by the ending of their names."""


def draw_losses(records: Sequence[Mapping[str, Any]], path: Path, unit: str = "") -> None:
    """Curves of everything that was logged, by the kind of quantity, over the steps; ``unit`` is the losses'."""
    losses = f"loss and its terms\n({unit})" if unit else "loss and its terms"
    panels: dict[str, list[str]] = {label: [] for label in (losses, *PANELS.values())}
    for name in dict.fromkeys(name for record in records for name in record if "/" in name):
        label = next((label for ending, label in PANELS.items() if name.endswith(ending)), losses)
        panels[label].append(name)
    chosen = [(label, names) for label, names in panels.items() if names]
    if not chosen:
        return
    figure = new_figure(8, 2.6 * len(chosen) + 0.4)
    grid = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, names) in zip(grid, chosen, strict=True):
        for name in names:
            points = [(record["step"], record[name]) for record in records if name in record]
            marker = "o" if len(points) == 1 else None  # a line through one point cannot be seen
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), linewidth=1.4, marker=marker)
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(**BESIDE_LINES)
    grid[-1].set_xlabel("steps")
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    with whole_path(path) as draft:
        save_figure(figure, draft)
