"""Pictures: grids of images, scatter plots, marginals and curves. Arrays in, files out; no torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganvae_core.store.files import whole_file
from ganvae_core.types import DataSpec

TILE = 56
"""Images smaller than this are enlarged, by a whole number, so that a person can see them."""
GAP = 2
BACKGROUND = 128
BAND_GAP = 10
"""Between rows that belong together and the next ones."""
HEADING = 16
"""Height of what stands above the columns of a grid, in pixels."""
BINS = 120
DENSE = 10.0
"""The density that is drawn darkest, in multiples of an even one."""
MOST_COLOURS = 10
"""Classes of points that are told apart; more would share colours."""
CONSTANT_MARGIN = 0.5
"""Drawn on both sides of a value that all rows have."""
LIKE_SPANS = 3.0
"""Coordinates whose spans differ by less than this factor are drawn to one scale."""
PANELS = {
    "accuracy": "accuracy (share)",
    "norm": "gradient norm",
    "samples/spread": "distance of samples\n(share of the data's)",
    "samples/nearest": "distance of samples\n(share of the data's)",
    "/dropped_updates": "dropped updates",
}
"""What is no loss has axes of its own, by the ending of its name."""
MOST_COLUMNS = 12
"""Columns of a table that are drawn; more would be too small to read."""


def is_drawable(spec: DataSpec) -> bool:
    """Whether there is a picture for such data."""
    return spec.modality in ("image", "points", "table")


def image_grid(
    images: np.ndarray, columns: int, headings: Sequence[str] = (), rows_together: int = 0
) -> Image.Image:
    """Images (N, C, H, W) in [0, 1] as one picture, enlarged where they are tiny, without a border.

    Args:
        images: C is 1 (grey), 2 (drawn as red and green), 3 (RGB) or 4 (RGBA).
        columns: images in a row.
        headings: what stands above each column, if anything.
        rows_together: rows that belong together, with a wider gap before the next ones; 0 for all.
    """
    height, width = images.shape[2:]
    factor = max(1, math.ceil(TILE / max(height, width)))
    tiles = np.stack([as_pixels(image) for image in images]).repeat(factor, 1).repeat(factor, 2)
    rows = math.ceil(len(tiles) / columns)
    step_y, step_x = height * factor + GAP, width * factor + GAP
    above = HEADING if headings else 0

    def top_of(row: int) -> int:
        return above + row * step_y + (row // rows_together * BAND_GAP if rows_together else 0)

    sheet = np.full(
        (top_of(rows - 1) + step_y - GAP, columns * step_x - GAP, tiles.shape[-1]), BACKGROUND, np.uint8
    )
    sheet[:above] = 255
    for position, tile in enumerate(tiles):
        top, left = top_of(position // columns), position % columns * step_x
        sheet[top : top + height * factor, left : left + width * factor] = tile
    picture = as_image(sheet)
    for column, heading in enumerate(headings):
        _write_above(picture, heading, column * step_x, width * factor)
    return picture


def _write_above(picture: Image.Image, text: str, left: int, width: int) -> None:
    """A heading in the middle of its column, cut off where it is wider."""
    text = " ".join(text.split())
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(HEADING - 4)
    if draw.textlength(text, font) > width:
        while text and draw.textlength(text + "…", font) > width:
            text = text[:-1]
        text += "…"
    black = {"L": 0, "RGB": (0, 0, 0), "RGBA": (0, 0, 0, 255)}[picture.mode]
    draw.text((left + width / 2, HEADING / 2), text, black, font, anchor="mm")


def as_pixels(image: np.ndarray) -> np.ndarray:
    """One image (C, H, W) in [0, 1] -> (H, W, 1, 3 or 4) uint8; values outside are clamped."""
    pixels = np.rint(np.clip(np.nan_to_num(image), 0.0, 1.0) * 255).astype(np.uint8).transpose(1, 2, 0)
    if pixels.shape[-1] == 2:
        return np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1)
    return pixels


def as_image(pixels: np.ndarray) -> Image.Image:
    """(H, W, 1, 3 or 4) uint8 as a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def save_image(image: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all."""
    with whole_file(path) as file:
        image.save(file, format="PNG")


def draw_samples(
    made: np.ndarray,
    real: np.ndarray | None,
    spec: DataSpec,
    path: Path,
    columns: int = 0,
    headings: Sequence[str] = (),
    rows_together: int = 0,
    labels: np.ndarray | None = None,
) -> None:
    """What a model makes, as fits the data: a grid, a scatter plot over the real density, or marginals.

    Args:
        made: (N, *X) in the source's units; images in [0, 1].
        real: (M, *X) real rows likewise, to compare with, where there are any; not drawn for images.
        spec: what the data is.
        path: of the PNG.
        columns: of a grid; by default one for each heading, or as square as possible.
        headings: above the columns of a grid, if there are any.
        rows_together: of a grid, with a wider gap before the next ones; 0 for all.
        labels: (N,) the position in ``spec.classes`` that each sample was made for, which colours points.
    """
    if spec.modality == "image":
        columns = columns or len(headings) or math.ceil(math.sqrt(len(made)))
        save_image(image_grid(made, columns, headings, rows_together), path)
    elif spec.modality == "points":
        _draw_points(made, real, spec, path, labels)
    else:
        _draw_marginals(made, real, spec, path)


def draw_reconstructions(original: np.ndarray, made: np.ndarray, path: Path, columns: int = 8) -> None:
    """Originals (N, C, H, W) in [0, 1], each row of them above the row of their reconstructions."""
    columns = min(columns, len(original))
    pairs: list[np.ndarray] = []
    for start in range(0, len(original), columns):
        rows = original[start : start + columns]
        pad = np.full((columns - len(rows), *rows.shape[1:]), BACKGROUND / 255, rows.dtype)
        pairs += [rows, pad, made[start : start + columns], pad]
    save_image(image_grid(np.concatenate(pairs), columns), path)


def draw_losses(records: Sequence[Mapping[str, Any]], path: Path, unit: str = "") -> None:
    """Curves of everything that was logged, by the kind of quantity, over the steps; ``unit`` is the losses'."""
    losses = f"loss and its terms\n({unit})" if unit else "loss and its terms"
    panels: dict[str, list[str]] = {label: [] for label in (losses, *PANELS.values())}
    for name in dict.fromkeys(name for record in records for name in record if "/" in name):
        panels[next((label for ending, label in PANELS.items() if name.endswith(ending)), losses)].append(
            name
        )
    chosen = [(label, kept) for label, kept in panels.items() if kept]
    if not chosen:
        return
    pyplot = _pyplot()
    figure, grid = pyplot.subplots(
        len(chosen), 1, figsize=(8, 2.6 * len(chosen) + 0.4), sharex=True, squeeze=False, layout="constrained"
    )
    for axes, (label, kept) in zip(grid[:, 0], chosen, strict=True):
        for name in kept:
            points = [(record["step"], record[name]) for record in records if name in record]
            alone = "o" if len(points) == 1 else None  # a line through one point cannot be seen
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), linewidth=1.4, marker=alone)
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    grid[-1, 0].set_xlabel("steps")
    grid[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    _save(figure, path)


def _draw_points(
    made: np.ndarray, real: np.ndarray | None, spec: DataSpec, path: Path, labels: np.ndarray | None
) -> None:
    pyplot = _pyplot()
    classes = spec.classes if labels is not None else None
    coloured = classes is not None and len(classes) <= MOST_COLOURS
    figure, axes = pyplot.subplots(figsize=(7.2 if coloured else 5.6, 5), layout="constrained")
    seen = made if real is None else real
    low, high = np.quantile(seen, 0.001, axis=0), np.quantile(seen, 0.999, axis=0)
    margin = np.where(high > low, 0.15 * (high - low), CONSTANT_MARGIN)
    box = [(low[0] - margin[0], high[0] + margin[0]), (low[1] - margin[1], high[1] + margin[1])]
    if real is not None:
        # No darker than a few rows a bin: narrow modes, which fall into few bins, would hide the wide ones.
        axes.hist2d(real[:, 0], real[:, 1], bins=BINS, range=box, cmap="Greys", alpha=0.5,
                    vmax=DENSE * len(real) / BINS**2)  # fmt: skip
    if coloured:
        for position, name in enumerate(classes or ()):
            own = made[labels == position]
            axes.scatter(own[:, 0], own[:, 1], s=4, alpha=0.5, linewidths=0, color=f"C{position}", label=name)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, markerscale=3)
        colour = "a colour for each class"
    else:
        axes.scatter(made[:, 0], made[:, 1], s=4, alpha=0.5, linewidths=0, color="C0")
        colour = "blue"
    names = spec.columns or ("first coordinate", "second coordinate")
    axes.set(xlabel=names[0], ylabel=names[1], xlim=box[0], ylim=box[1])
    spans = [high - low for low, high in box]
    if max(spans) < LIKE_SPANS * min(spans):
        axes.set_aspect("equal")
    over = "" if real is None else " over the density of real rows (grey)"
    low, high = np.transpose(box)
    outside = int(((made < low) | (made > high)).any(axis=1).sum())
    beyond = f"; {outside:,} lie outside" if outside else ""
    figure.suptitle(f"{len(made):,} samples ({colour}){over}{beyond}", fontsize=10)
    _save(figure, path)


def _draw_marginals(made: np.ndarray, real: np.ndarray | None, spec: DataSpec, path: Path) -> None:
    pyplot = _pyplot()
    drawn = [] if real is None else [("real", real.reshape(len(real), -1))]
    drawn.append(("samples", made.reshape(len(made), -1)))
    shown = min(drawn[0][1].shape[1], MOST_COLUMNS)
    names = spec.columns or tuple(f"column {number}" for number in range(shown))
    across = min(shown, 4)
    down = math.ceil(shown / across)
    figure, grid = pyplot.subplots(
        down, across, figsize=(2.6 * across + 1.2, 2.0 * down + 0.5), squeeze=False, layout="constrained"
    )
    for number, axes in enumerate(grid.flat):
        if number >= shown:
            axes.set_visible(False)
            continue
        low, high = np.quantile(drawn[0][1][:, number], [0.001, 0.999])
        margin = 0.1 * (high - low) if high > low else CONSTANT_MARGIN
        span = (low - margin, high + margin)
        for label, rows in drawn:
            style, colour = ("stepfilled", "0.75") if label == "real" else ("step", "tab:blue")
            weights = np.full(len(rows), 1 / len(rows))
            axes.hist(
                rows[:, number],
                bins=40,
                range=span,
                weights=weights,
                histtype=style,
                color=colour,
                label=label,
            )
        axes.set_xlabel(names[number])
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    figure.supylabel("share of rows", fontsize=10)
    columns = drawn[0][1].shape[1]
    if shown < columns:
        figure.suptitle(f"the first {shown} of {columns} columns", fontsize=10)
    _save(figure, path)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg", force=False)
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    _pyplot().close(figure)
    with whole_file(path) as file:
        file.write(picture.getvalue())
