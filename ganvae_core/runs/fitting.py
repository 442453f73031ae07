"""Rows of a run's data, or of other data, as its model takes them: units and classes mean what they did in training."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from ganvae_core.data.codec import Codec
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Source
from ganvae_core.types import Batch, DataSpec, Units

SLACK = 1e-3
"""Values may lie beyond the range by this share of it, as rounding makes them."""
MOST_BEYOND = 1.0
"""Values that lie farther beyond the range, as a share of it, are in other units."""
FIXED_SCALES = (1.0, 255.0, *(float(2**bits - 1) for bits in (10, 12, 14, 16)))
"""Scales that follow from a type, and not from the values: a unit range, and pixels of 8 bits and more."""


def batch_for(
    source: Source,
    indices: np.ndarray,
    trained: DataSpec,
    classes: Sequence[str] | None,
    device: torch.device,
) -> Batch:
    """Chosen rows as a model takes them.

    Args:
        source: of the rows.
        indices: (B,) their numbers.
        trained: the specification of the data that the model was trained on, as it was given it.
        classes: of the training data's labels, which the model was given or not.
        device: of the model.

    Raises:
        DataError: a value is beyond the range that the model was trained on, or a class is unknown to it.
    """
    spec, rows = source.spec, source.rows(indices)
    if spec.classes and rows.labels is not None and trained.condition is not None:
        rows = dataclasses.replace(rows, labels=_class_numbers(spec.classes, classes or ())[rows.labels])
    classes = None if classes is None else tuple(classes)
    spec = dataclasses.replace(spec, units=fitting_units(spec, trained), classes=classes)
    batch = Codec(spec, device).encode(rows, indices, labels=trained.condition is not None)
    if trained.range is not None:
        _check_range(batch, trained.range)
    return batch


def fitting_units(spec: DataSpec, trained: DataSpec) -> Units:
    """The units by which other data means to a model what its training data did.

    Args:
        spec: of the other data.
        trained: of the training data.

    Raises:
        DataError: it lies in another range than the training data, which the numbers do not show.
    """
    if trained.range is None or spec.range is None or not (_is_fixed(spec) and _is_fixed(trained)):
        return trained.units
    if spec.range != trained.range:
        (low, high), (least, most) = spec.range, trained.range
        raise DataError(
            f"this data lies in {low:g} to {high:g}, and the model was trained on data in {least:g} to {most:g}.",
            "scale it as the training data was, and store it anew",
        )
    return spec.units


def _check_range(batch: Batch, bounds: tuple[float, float]) -> None:
    """Warn of observed values beyond the training data's bounds, and refuse those far beyond."""
    seen = batch.x if batch.mask is None else batch.x[batch.mask]
    if not seen.numel():
        return
    low, high = bounds
    least, most = seen.min().item(), seen.max().item()
    beyond = max(low - least, most - high) / (high - low)
    if beyond > MOST_BEYOND:
        raise DataError(
            "this data lies far beyond the range of the training data: as the model's input it is"
            f" {least:.3g} to {most:.3g}, and the training data {low:g} to {high:g}.",
            "is it in other units? Scale it as the training data was, and store it anew",
        )
    if beyond > SLACK:
        warnings.warn(
            "some values lie beyond the range of the training data; the model is given them as they are",
            stacklevel=4,
        )


def _class_numbers(names: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """The training data's number of each of other data's classes, which are matched by name."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"the model was not trained on the class '{unknown[0]}'.", f"classes: {', '.join(known[:20])}"
        )
    return np.array([known.index(name) for name in names])


def _is_fixed(spec: DataSpec) -> bool:
    """Whether the scaling follows from the type, or from lying in a unit range, and not from the extreme values."""
    units = spec.units
    return units in [Units(scale=(scale,), dtype=units.dtype) for scale in FIXED_SCALES]
