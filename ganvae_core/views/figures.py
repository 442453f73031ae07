"""What the plots of several views share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

DPI = 110
MARGIN = 0.1
"""Beyond the values that are drawn, as a share of their span."""
BESIDE_LINES: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False}
"""Where a legend stands that covers nothing."""


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure of inches. It needs no display, and no state of matplotlib's is changed."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DPI, layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file."""
    figure.savefig(path, format="png")


def span(values: np.ndarray) -> tuple[float, float]:
    """Where an axis begins and ends that shows values (N,) without the rarest ones; wide enough for a constant."""
    low, high = np.quantile(values.astype(np.float64), [0.001, 0.999])
    around = MARGIN * (high - low) if high - low > 1e-9 * abs(high) else 0.5 + 1e-3 * abs(high)
    return float(low - around), float(high + around)
