"""Checks of sources of data."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import numpy as np
import torch

from ganvae_core.data.codec import Codec, as_tensor, in_own_units
from ganvae_core.data.specifications import read_spec
from ganvae_core.errors import GanvaeError
from ganvae_core.interfaces import Source
from ganvae_core.types import DataSpec, Rows
from ganvae_core.views.finding import view_of
from ganvae_kit.checks import CheckFailure, check
from ganvae_kit.places import Place, place_of
from ganvae_kit.situations import Situation
from ganvae_kit.subjects import Component

CHECKED_ROWS = 64


@check("source", needs=["makes"])
def specification(component: Component) -> None:
    """Its specification is whole: shape, range, columns, classes and units agree, and JSON gives it back."""
    for situation, source in opened(component):
        place, found = place_of_property(source, "spec"), cast(object, source.spec)
        if not isinstance(found, DataSpec):
            raise CheckFailure(f"{situation.where}spec is {type(found).__name__}, not a DataSpec", place)
        spec = source.spec
        wrong = _wrong_in(spec, len(source)) or _wrong_view(component, spec)
        if wrong:
            raise CheckFailure(f"{situation.where}{wrong}", place)
        try:
            back = read_spec(json.loads(json.dumps(spec.as_dict())))
        except (TypeError, ValueError) as error:
            raise CheckFailure(
                f"{situation.where}its specification does not go through JSON: {error}", place
            ) from None
        if back != spec:
            field = next(name for name, value in spec.as_dict().items() if back.as_dict()[name] != value or
                         getattr(back, name) != getattr(spec, name))  # fmt: skip
            raise CheckFailure(
                f"{situation.where}{field} is {getattr(spec, field)!r}, and JSON gives back {getattr(back, field)!r}",
                place, "sequences are tuples, and numbers Python's own",
            )  # fmt: skip


def _wrong_in(spec: DataSpec, count: int) -> str:
    width = spec.shape[-1] if spec.shape else 0
    if not spec.shape or any(type(size) is not int or size < 1 for size in spec.shape):
        return f"its shape is {spec.shape}, not a tuple of sizes"
    if count < 1:
        return "it has no rows"
    if spec.count != count:
        return f"its specification counts {spec.count} rows, and len gives {count}"
    if spec.range is not None and not spec.range[0] < spec.range[1]:
        return f"its range is {spec.range}"
    if spec.columns is not None and not spec.encoded and len(spec.columns) != width:
        return f"it names {len(spec.columns)} columns for {width} values"
    if spec.classes is not None and spec.condition != (len(spec.classes),):
        return f"it has {len(spec.classes)} classes, and its condition is {spec.condition}, not ({len(spec.classes)},)"
    places = spec.shape[spec.units.axis] if -len(spec.shape) <= spec.units.axis < 0 else 0
    if any(size not in (1, places) for size in (len(spec.units.offset), len(spec.units.scale))):
        return f"its units have {len(spec.units.offset)} offsets and {len(spec.units.scale)} scales for {places} places"
    if any(scale == 0 or not math.isfinite(scale) for scale in spec.units.scale):
        return "one of its scales is 0 or not finite"
    return ""


def _wrong_view(component: Component, spec: DataSpec) -> str:
    try:
        view_of(spec, component.owner.catalogue)
    except GanvaeError as error:
        return error.message
    return ""


@check("source", needs=["specification"])
def rows_of_data(component: Component) -> None:
    """Its rows have the shape and type of its specification, are finite and in range, and are the same each time."""
    for situation, source in opened(component):
        place, count = place_of(type(source).rows), min(CHECKED_ROWS, len(source))
        spec = source.spec
        rows = _rows(situation, source, slice(0, count), place)
        x, condition = rows.x, rows.labels
        wrong = _wrong_rows(spec, x, condition, count) or _wrong_mask(rows)
        if wrong:
            raise CheckFailure(f"{situation.where}{wrong}", place)
        order = np.random.default_rng(0).permutation(count)
        order = np.concatenate([order, order[:2]])  # in any order, some of them twice
        for indices, what in ((order, "by number"), (slice(0, count), "the second time")):
            others = _rows(situation, source, indices, place)
            again, labels = others.x, others.labels
            if not np.array_equal(again, x[indices]) or (condition is None) != (labels is None):
                raise CheckFailure(f"{situation.where}rows are others when asked for {what}", place)
            if (
                condition is not None
                and labels is not None
                and not np.array_equal(labels, condition[indices])
            ):
                raise CheckFailure(f"{situation.where}conditions are others when asked for {what}", place)
        alone = (source.labels(slice(0, count)), source.labels())
        if condition is None and any(found is not None for found in alone):
            raise CheckFailure(
                f"{situation.where}labels gives some, and rows none", place_of(type(source).labels)
            )
        if condition is not None and not all(
            found is not None and np.array_equal(found[:count], condition) for found in alone
        ):
            raise CheckFailure(
                f"{situation.where}labels and rows give other labels", place_of(type(source).labels)
            )
        seen = Codec(spec, torch.device("cpu")).x(as_tensor(x))
        if not seen.isfinite().all():
            raise CheckFailure(f"{situation.where}some of its values are not finite", place)
        low, high = spec.range or (-math.inf, math.inf)
        if seen.min() < low - 1e-6 or seen.max() > high + 1e-6:
            raise CheckFailure(
                f"{situation.where}in the units of a model its values reach from {float(seen.min()):.4g} to"
                f" {float(seen.max()):.4g}, and its range is {spec.range}",
                place, "x = (raw - offset) / scale lies within spec.range",
            )  # fmt: skip
        back = in_own_units(seen.numpy(), spec)
        if not np.allclose(
            back, x, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(x.astype(np.float64)).max()))
        ):
            raise CheckFailure(
                f"{situation.where}its units do not give back the values that it began with", place
            )


def _rows(situation: Situation, source: Source, indices: Any, place: Place | None) -> Rows:
    found: Any = source.rows(indices)
    if not isinstance(found, Rows) or not isinstance(cast(object, found.x), np.ndarray):
        raise CheckFailure(
            f"{situation.where}rows returned {type(found).__name__}, not Rows of arrays", place
        )
    return found


def _wrong_rows(spec: DataSpec, x: np.ndarray, condition: Any, count: int) -> str:
    shape = (count, len(spec.fields)) if spec.fields and spec.encoded else (count, *spec.shape)
    if x.shape != shape:
        return f"{count} rows have the shape {x.shape}, not {shape}"
    if x.dtype != np.dtype(spec.units.dtype):
        return (
            f"its rows are {x.dtype}, and its units say {spec.units.dtype}:"
            f' DataSpec(…, units=gv.Units(offset, scale, "{x.dtype}"))'
        )
    if (condition is None) != (spec.condition is None):
        return f"its condition is {spec.condition}, and rows gives {'none' if condition is None else 'one'}"
    if condition is None:
        return ""
    if not isinstance(condition, np.ndarray):
        return f"its conditions are {type(condition).__name__}, not an array"
    if spec.classes is not None:
        if condition.shape != (count,) or condition.dtype.kind not in "iu":
            return f"its labels are {condition.dtype} of shape {condition.shape}, not whole numbers (rows,)"
        if condition.min() < 0 or condition.max() >= len(spec.classes):
            return (
                f"its labels go from {condition.min()} to {condition.max()}, for {len(spec.classes)} classes"
            )
    elif condition.shape != (count, *(spec.condition or ())):
        return f"its conditions have the shape {condition.shape}, not {(count, *(spec.condition or ()))}"
    return ""


def _wrong_mask(rows: Rows) -> str:
    mask: Any = rows.mask
    if mask is None or (
        isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == rows.x.shape
    ):
        return ""
    return f"its mask is {getattr(mask, 'dtype', type(mask).__name__)}, not bool of the shape of x"


def opened(component: Component) -> list[tuple[Situation, Source]]:
    """The source with each of its settings."""
    return [(situation, situation.opened) for situation in component.situations]


def place_of_property(thing: Any, name: str) -> Place | None:
    """Where a property of a class is written."""
    owner = next((owner for owner in type(thing).__mro__ if name in vars(owner)), type(thing))
    value = vars(owner).get(name, owner)
    return place_of(getattr(value, "fget", value)) or place_of(type(thing))
