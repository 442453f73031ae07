"""What the page shows of a run, as JSON values: its map, ranked dimensions, directions and samples."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from ganvae_core.errors import ConfigurationError

if TYPE_CHECKING:
    from ganvae_core.data.split import Split
    from ganvae_core.runs.loading import Run

SEEDS = 64
RANKED_ROWS = 512
CHANGED_CODES = 16
SAMPLES = 600
THUMBNAIL = 32
MOST_SHOWN = 10_000
"""Rows that have a thumbnail, or are counted in marginals, however many are on the map."""
FOUND = 4
BINS = 24


def content_of(run: Run, data: str | None, count: int) -> dict[str, Any]:
    """What is on the page, apart from the networks.

    Args:
        run: with a prior that can be drawn from.
        data: in place of the run's own.
        count: of rows on the map.

    Raises:
        ConfigurationError: the prior is not trained yet, or has no ``latent_shape``.
        DataError: the data cannot be read, or does not fit.
    """
    from ganvae_core.evaluation.sampling import can_sample, sample_codes

    shape: tuple[int, ...] | None = getattr(run.model.prior, "latent_shape", None)
    if not can_sample(run.model) or shape is None:
        raise ConfigurationError(
            f"{run.path} cannot be explored yet: its prior is trained or fitted later, and it is at step {run.step:,}.",
            f"go on with it:  ganvae run --resume {shlex.quote(str(run.path))}",
        )
    spec = run.spec
    drawn = [sample_codes(run.model, 1, seed, run.device) for seed in range(SEEDS)]
    found = _map_of_rows(run, data, count) if run.model.encoder is not None else _map_of_samples(run, count)
    axes = _axes(run, found.pop("rows_for_ranking", None))
    codes = np.asarray(found.pop("codes"), np.float32).reshape(-1, math.prod(shape))
    origin, across, down = _plane(codes, axes, encoded=run.model.encoder is not None)
    conditions = [condition for _, condition in drawn if condition is not None]
    scale = np.array(spec.units.scale)
    scale[list(spec.units.constant)] = 0.0
    return {
        "name": run.path.name,
        "path": str(run.path),
        "plugin": run.configuration.plugin,
        "step": run.step,
        "modality": spec.modality,
        "shape": list(spec.shape),
        "latent": list(shape),
        "size": math.prod(shape),
        "range": None if spec.range is None else list(spec.range),
        "offset": list(spec.units.offset),
        "scale": scale.tolist(),
        "sound": spec.details.get("representation"),
        "rate": spec.details.get("sample_rate"),
        "fields": None if spec.fields is None else [dataclasses.asdict(field) for field in spec.fields],
        "marginals": found.pop("marginals"),
        "encoded": spec.encoded,
        "shown": run.model.shown,
        "classes": found.pop("classes"),
        "condition": None if spec.condition is None else list(spec.condition),
        "conditionClasses": list(spec.classes or ()) if spec.condition is not None else [],
        "support": run.model.prior.support,
        "encoder": run.model.encoder is not None,
        "axes": axes,
        "directions": _directions(run),
        "seeds": _floats(np.concatenate([z.cpu().numpy().reshape(1, -1) for z, _ in drawn])),
        "seedConditions": _floats(np.stack([each[0].cpu().numpy().ravel() for each in conditions]))
        if conditions
        else None,
        "map": {
            **found,
            "codes": _floats(codes),
            "origin": _floats(origin),
            "across": _floats(across),
            "down": _floats(down),
        },
    }


def _floats(values: np.ndarray) -> str:
    """Numbers as base64 of little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _map_of_rows(run: Run, data: str | None, count: int) -> dict[str, Any]:
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.views.showing import shown_rows

    split = run.open_data(data)
    indices = evenly(np.arange(len(split.source)), count)
    classes = split.source.spec.classes
    labels = np.asarray(split.source.labels(indices)).tolist() if classes else None
    every = -(-len(indices) // MOST_SHOWN)
    shown = shown_rows(run.batch(split, indices[::every]).x, run.spec, run.view)
    return {"codes": run.encode(split, indices), "of": "rows", "rows": indices.tolist(), "labels": labels,
            "classes": list(classes or ()), "conditions": _conditions(run, split, indices),
            "thumbnails": _thumbnails(run, shown, every), "marginals": _marginals(run, shown),
            "rows_for_ranking": run.batch(split, evenly(indices, RANKED_ROWS))}  # fmt: skip


def _conditions(run: Run, split: Split, indices: np.ndarray) -> str | None:
    """The conditions of rows, where the model takes any."""
    if run.spec.condition is None:
        return None
    parts = [
        run.batch(split, part).condition for part in np.array_split(indices, -(-len(indices) // MOST_SHOWN))
    ]
    return _floats(np.concatenate([part.cpu().numpy() for part in parts if part is not None]))


def _map_of_samples(run: Run, count: int) -> dict[str, Any]:
    """In place of the data's codes, where nothing encodes."""
    from ganvae_core.evaluation.sampling import sample_codes, sample_rows
    from ganvae_core.runs.observers import class_numbers
    from ganvae_core.views.showing import shown_rows

    count = min(count, SAMPLES)
    codes, condition = sample_codes(run.model, count, 0, run.device)
    with run.computing():
        made = sample_rows(run.model, count, 0, run.device)
    labels = class_numbers(condition, run.spec)
    shown = shown_rows(made.x, run.spec, run.view)
    return {"codes": codes.cpu().numpy(), "of": "samples", "rows": list(range(count)),
            "labels": None if labels is None else np.asarray(labels).tolist(), "classes": list(run.spec.classes or ()),
            "conditions": None if condition is None else _floats(condition.cpu().numpy()),
            "thumbnails": _thumbnails(run, shown, 1), "marginals": _marginals(run, shown)}  # fmt: skip


def _thumbnails(run: Run, rows: np.ndarray, every: int) -> dict[str, Any] | None:
    """Small pictures in one PNG, a square of cells, of one in ``every`` rows of the map."""
    if run.spec.modality != "image":
        return None
    from PIL import Image

    from ganvae_core.views.image import as_image, as_pixels, unit_range

    pictures = [as_image(as_pixels(image)) for image in unit_range(rows, run.spec)]
    width, height = pictures[0].size
    shrink = min(1.0, THUMBNAIL / max(width, height))
    cell = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    columns = math.ceil(math.sqrt(len(pictures)))
    lines = math.ceil(len(pictures) / columns)
    sheet = Image.new(pictures[0].mode, (columns * cell[0], lines * cell[1]))
    for number, picture in enumerate(pictures):
        place = (number % columns * cell[0], number // columns * cell[1])
        sheet.paste(picture if shrink == 1.0 else picture.resize(cell, Image.Resampling.BOX), place)
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    return {
        "png": base64.b64encode(stream.getvalue()).decode(),
        "cell": list(cell),
        "columns": columns,
        "every": every,
    }


def _marginals(run: Run, rows: np.ndarray) -> list[dict[str, Any]] | None:
    """Of each column of a table how often its categories, or its numbers in bins, are there, and cells are missing."""
    if not run.spec.fields:
        return None
    made: list[dict[str, Any]] = []
    for values, field in zip(np.asarray(rows, np.float64).T, run.spec.fields, strict=True):
        there = values[np.isfinite(values)]
        if field.categories:
            low, high, bins = -0.5, len(field.categories) - 0.5, len(field.categories)
        else:
            low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 1.0)
            bins = BINS
        counts, _ = np.histogram(there, bins, (low, high if high > low else low + 1))
        missing = int(np.isnan(values).sum())
        made.append({"low": low, "high": high, "counts": counts.tolist(), "missing": missing})
    return made


def _axes(run: Run, rows: Any) -> list[dict[str, Any]]:
    """The ranked dimensions, with the ends of their sliders: wider than the 2nd and the 98th percentile by a half."""
    from ganvae_core import latent
    from ganvae_core.data.randomness import seeded

    with seeded(run.device, 0), run.computing():
        condition = run.model.draw_conditions(CHANGED_CODES)
        codes = run.model.prior.sample(CHANGED_CODES, condition)
        if rows is not None and run.spec.condition is None:
            ranked = latent.axes(run.model, codes, steps=2, x=rows.x)
        else:
            ranked = latent.axes(run.model, codes, steps=2, condition=condition)
    made: list[dict[str, Any]] = []
    for axis in ranked:
        low, high = float(axis.values.min()), float(axis.values.max())
        wider = 0.0 if axis.discrete or run.model.prior.support == "bounded" else 0.25 * (high - low)
        made.append({"name": axis.name, "start": axis.start, "width": axis.values.shape[1],
                     "discrete": axis.discrete, "low": low - wider, "high": high + wider,
                     "score": axis.score, "measure": axis.measure})  # fmt: skip
    return made


def _directions(run: Run) -> list[dict[str, Any]]:
    """The directions that are stored in the run, and the first closed-form ones where there are any."""
    import torch

    from ganvae_core import latent
    from ganvae_core.runs.directions import load_direction, names

    made: list[dict[str, Any]] = []
    for name in names(run):
        direction = load_direction(run, name)
        made.append({"name": name, "spread": direction.spread,
                     "vector": _floats(direction.vector.cpu().numpy().ravel())})  # fmt: skip
    shape: tuple[int, ...] = tuple(getattr(run.model.prior, "latent_shape", ()))
    try:
        vectors, _ = latent.closed_form_directions(run.model, shape, min(FOUND, math.prod(shape)))
    except ConfigurationError:  # the generator begins with no weights on codes
        vectors = torch.zeros(0)
    for number, vector in enumerate(vectors, 1):
        if all(each["name"] != f"sefa-{number}" for each in made):
            made.append({"name": f"sefa-{number}", "spread": 1.0,
                         "vector": _floats(vector.cpu().numpy().ravel())})  # fmt: skip
    return made


def _plane(
    codes: np.ndarray, axes: list[dict[str, Any]], *, encoded: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(D,) origin and the two orthogonal unit vectors of the map: principal components, or the first two dimensions.

    Codes of one dimension lie on a line: the second vector is zero.
    """
    size = codes.shape[1]
    basis = np.eye(size, dtype=np.float64)
    if size == 1:
        return np.zeros(1), basis[0], np.zeros(1)
    if size == 2:
        return np.zeros(2), basis[0], basis[1]
    if not encoded:
        free = [axis["start"] for axis in axes if not axis["discrete"]]
        first, second = (free + [place for place in range(size) if place not in free])[:2]
        return codes.mean(0, dtype=np.float64), basis[first], basis[second]
    from ganvae_core.latent.maps import principal_plane

    centre, (across, down) = principal_plane(codes)
    return centre, across, down
