"""Rows as pictures and files, which the view of the data draws and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from ganvae_core.data.codec import in_own_units
from ganvae_core.data.units import from_units
from ganvae_core.errors import DataError
from ganvae_core.plugins import installed_plugins
from ganvae_core.store.files import whole_path
from ganvae_core.types import DataSpec, Drawing, Units, View
from ganvae_core.views.files import ending_of
from ganvae_core.views.finding import view_of


def shown_rows(x: Tensor, spec: DataSpec, view: View, mask: Tensor | None = None) -> np.ndarray:
    """x (N, *X) of a model -> rows in the source's units, as the view takes them (see ``View``), with gaps by mask."""
    exact = replace(spec.units, dtype="float64", whole=())
    shown = spec if view.shown == "draw" else replace(spec, units=exact)
    rows = in_own_units(x.detach().float().cpu().numpy(), shown)
    return rows if mask is None else with_gaps(rows, mask.cpu().numpy(), view)


def with_gaps(rows: np.ndarray, mask: np.ndarray | None, view: View) -> np.ndarray:
    """Rows (N, *X) with NaN where a value is missing, if the view has gaps there."""
    if mask is None or not view.gaps or rows.dtype.kind != "f":
        return rows
    return np.where(mask, rows, np.asarray(np.nan, rows.dtype))


def show(
    view: View,
    drawing: Drawing,
    spec: DataSpec,
    path: Path,
    further: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Draw or write rows as the path's ending says. The file, or the folder, appears whole or not at all.

    Args:
        view: of the data.
        drawing: the rows, and what a picture shows beside them.
        spec: what the data is.
        path: with one of the view's endings, or of a .npz or .npy file.
        further: arrays (N, …) that belong to the rows, by name in the singular; a picture has no place for them.

    Raises:
        TrainingError: it could not be written.
    """
    ending = ending_of(path)
    own = Units(dtype=spec.units.dtype, whole=spec.units.whole)
    with whole_path(path) as draft:
        if ending == ".npy":
            with draft.open("wb") as file:  # numpy would add an ending to X.NPY
                np.save(file, from_units(drawing.rows, own), allow_pickle=False)
        elif ending == ".npz":
            rows = {"originals": drawing.originals, drawing.name: drawing.rows}
            arrays = {name: from_units(x, own) for name, x in rows.items() if x is not None}
            _savez(draft, arrays | {f"{name}s": values for name, values in (further or {}).items()})
        elif ending == ".png":
            view.draw(drawing, spec, draft)
        else:
            view.write(drawing.rows, spec, draft, further or {})


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Named arrays as a .npz file, whole or not at all.

    Raises:
        TrainingError: it could not be written.
    """
    with whole_path(path) as draft:
        _savez(draft, arrays)


def _savez(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    save: Callable[..., None] = np.savez
    with path.open("wb") as file:
        save(file, **arrays)


def save_picture(
    x: Tensor,
    spec: DataSpec,
    path: Path,
    *,
    columns: int = 0,
    headings: Sequence[str] = (),
    rows_together: int = 0,
) -> None:
    """Write a PNG of rows as fits the data: a grid of images, a scatter plot, marginals.

    Args:
        x: (N, *X) within the data's range.
        spec: what the data is.
        path: of the file; it appears whole or not at all.
        columns: of a grid; by default one for each heading, or as square as possible.
        headings: above the columns of a grid; fewer than there are columns span several each.
        rows_together: lines of a grid that belong together, with a wider gap before the next ones; 0 for all.

    Raises:
        ConfigurationError: no plugin brings a view of such data.
        DataError: the data has no pictures, or does not have the shape that its modality says.
        TrainingError: it could not be written.
    """
    view = view_of(spec, installed_plugins())
    if ".png" not in view.endings:
        raise DataError(f"there is no picture for rows of shape {spec.shape}.")
    rows = shown_rows(x, spec, view)
    with whole_path(path) as draft:
        drawing = Drawing(rows, columns=columns, headings=headings, rows_together=rows_together)
        view.draw(drawing, spec, draft)
