"""Checks of sources of data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch

from ganvae_core.data.codec import Codec, as_tensor, in_own_units
from ganvae_core.data.specifications import read_spec
from ganvae_core.interfaces import Source
from ganvae_core.types import DataSpec, Rows
from ganvae_core.views.finding import view_of
from ganvae_kit.checks import CheckFailure, check
from ganvae_kit.situations import Situation, situations

CHECKED_ROWS = 64


@check("source", needs=["makes"], each=situations)
def specification(situation: Situation) -> None:
    """Its specification is whole: shape, range, columns, classes and units agree, and JSON gives it back."""
    source = situation.opened
    spec = source.spec
    if not isinstance(cast(object, spec), DataSpec):
        raise CheckFailure(f"spec is {type(spec).__name__}, not a DataSpec")
    if spec.count != len(source) or not spec.count:
        raise CheckFailure(f"its specification counts {spec.count} rows, and len gives {len(source)}")
    try:
        view_of(spec, situation.component.owner.catalogue)
        back = read_spec(json.loads(json.dumps(spec.as_dict())))
    except (TypeError, ValueError) as error:
        raise CheckFailure(f"its specification is incomplete, or not JSON: {error}") from None
    for name in spec.as_dict():
        value, read = getattr(spec, name), getattr(back, name)
        if value != read:
            hint = "use tuples for sequences, and Python's own numbers"
            raise CheckFailure(f"{name} is {value!r}, and JSON gives back {read!r}", hint)


@check("source", needs=["specification"], each=situations)
def rows_of_data(situation: Situation) -> None:
    """Its rows have the shape and type of its specification, are finite and in range, and are the same each time."""
    source, count = situation.opened, min(CHECKED_ROWS, len(situation.opened))
    rows = _rows(source, slice(0, count))
    wrong = next(_wrong_rows(source.spec, rows, count), "") or next(_wrong_values(source.spec, rows.x), "")
    if wrong:
        raise CheckFailure(wrong)
    order = np.random.default_rng(0).permutation(count)
    order = np.concatenate([order, order[:2]])  # in any order, some of them twice
    for indices, what in ((order, "by number"), (slice(0, count), "the second time")):
        others = _rows(source, indices)
        if not np.array_equal(others.x, rows.x[indices]) or not _same(others.labels, rows.labels, indices):
            raise CheckFailure(f"rows differ when they are read {what}")
    for found in (source.labels(slice(0, count)), source.labels()):
        if not _same(None if found is None else found[:count], rows.labels):
            raise CheckFailure("labels() and rows() give different labels")


def _same(found: np.ndarray | None, labels: np.ndarray | None, indices: Any = slice(None)) -> bool:
    """Whether labels are those of the rows with these numbers."""
    return found is labels if found is None or labels is None else np.array_equal(found, labels[indices])


def _rows(source: Source, indices: Any) -> Rows:
    found: Any = source.rows(indices)
    if not isinstance(found, Rows) or not isinstance(cast(object, found.x), np.ndarray):
        raise CheckFailure(f"rows returned {type(found).__name__}, not Rows of arrays")
    return found


def _wrong_rows(spec: DataSpec, rows: Rows, count: int) -> Iterator[str]:
    """What is wrong with the arrays of some rows: shapes and types."""
    x, labels, mask = rows.x, cast(Any, rows.labels), cast(Any, rows.mask)
    shape = (count, len(spec.fields)) if spec.fields and spec.encoded else (count, *spec.shape)
    if x.shape != shape:
        yield f"{count} rows have the shape {x.shape}, not {shape}"
    if x.dtype != np.dtype(spec.units.dtype):
        hint = f'DataSpec(…, units=gv.Units(offset, scale, "{x.dtype}"))'
        yield f"its rows are {x.dtype}, and its units say {spec.units.dtype}: {hint}"
    if mask is not None and (getattr(mask, "dtype", None) != np.bool_ or mask.shape != x.shape):
        yield f"its mask is {getattr(mask, 'dtype', type(mask).__name__)}, not bool of the shape of x"
    if (labels is None) != (spec.condition is None):
        yield f"its condition is {spec.condition}, and rows gives {'none' if labels is None else 'one'}"
    if labels is None or spec.condition is None:
        return
    if not isinstance(labels, np.ndarray):
        yield f"its conditions are {type(labels).__name__}, not an array"
    elif spec.classes is None:
        if labels.shape != (count, *spec.condition):
            yield f"its conditions have the shape {labels.shape}, not {(count, *spec.condition)}"
    elif labels.shape != (count,) or labels.dtype.kind not in "iu":
        yield f"its labels are {labels.dtype} of shape {labels.shape}, not whole numbers (rows,)"
    elif labels.min() < 0 or labels.max() >= len(spec.classes):
        yield f"its labels go from {labels.min()} to {labels.max()}, for {len(spec.classes)} classes"


def _wrong_values(spec: DataSpec, x: np.ndarray) -> Iterator[str]:
    """What is wrong with values, in the units of a model and back in the source's own."""
    seen = Codec(spec, torch.device("cpu")).x(as_tensor(x))
    if not seen.isfinite().all():
        yield "some of its values are not finite"
    least, most = float(seen.min()), float(seen.max())
    low, high = spec.range or (-math.inf, math.inf)
    if least < low - 1e-6 or most > high + 1e-6:
        yield (
            f"in the units of a model its values reach from {least:.4g} to {most:.4g}, and its range is {spec.range}:"
            " x = (raw - offset) / scale"
        )
    back, size = in_own_units(seen.numpy(), spec), float(np.abs(x.astype(np.float64)).max())
    if not np.allclose(back, x, rtol=1e-4, atol=1e-5 * max(1.0, size)):
        yield "its units do not restore the values of its rows"
