"""The cells of a table in the user's own types and spelling."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ganvae_core.types import DataSpec, Field

MOST_PLACES = 7
"""Numbers with so many decimals are written with as many as they need."""
_TIME = re.compile(r"timestamp\[(\w+)(?:, tz=(.+))?\]")


def column_of(values: np.ndarray, field: Field) -> Any:
    """Values (N,) of a field, as ``Field`` says, as an array of Arrow in the type that its column had."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute
    missing = np.isnan(values)
    if field.categories:
        texts = pa.array(field.categories, pa.string())
        found = texts.take(pa.array(np.nan_to_num(values).astype(np.int64), mask=missing))
        return as_type(found, field.dtype)
    if field.kind == "date":
        micros = pa.array(np.rint(np.nan_to_num(values) * 1e6).astype(np.int64), mask=missing)
        times = micros.cast(pa.timestamp("us"))
        if field.format:
            return pc.strftime(times.cast(pa.timestamp("s"), safe=False), format=field.format)
        zone = _TIME.fullmatch(field.dtype)
        if zone and zone.group(2):
            return times.cast(pa.timestamp(zone.group(1), "UTC"), safe=False).cast(type_of(field.dtype))
        return times.cast(type_of(field.dtype), safe=False)
    return as_type(pa.array(values, mask=missing), field.dtype)


def as_type(column: Any, dtype: str) -> Any:
    """A column as a type by its name; as it is, where the values are not of that type."""
    import pyarrow as pa

    kind = type_of(dtype)
    try:
        return column.cast(kind, safe=not pa.types.is_floating(kind))
    except pa.ArrowInvalid:
        return column


def with_decimals(column: Any, field: Field) -> Any:
    """A column of floating point as decimal numbers that all have the field's decimals, as text files have them.

    It is returned as it is where that would round a value.
    """
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute
    if not pa.types.is_floating(column.type):
        return column
    if field.categories:
        places = max(len(text.partition(".")[2]) for text in field.categories)
    else:
        places = math.ceil(-math.log10(field.step)) if field.step else MOST_PLACES
    places = max(1, places)
    if places >= MOST_PLACES or not pc.all(pc.equal(pc.round(column, places), column)).as_py():
        return column
    try:
        return column.cast(pa.decimal128(38, places))
    except pa.ArrowInvalid:  # it has more digits
        return column


def type_of(dtype: str) -> Any:
    """The type of Arrow of this name; text for one that is not a plain column's."""
    import pyarrow as pa

    time = _TIME.fullmatch(dtype)
    if time:
        return pa.timestamp(time.group(1), time.group(2))
    decimal = re.fullmatch(r"decimal(\d+)\((\d+), (\d+)\)", dtype)
    if decimal:
        return pa.decimal128(int(decimal.group(2)), int(decimal.group(3)))
    try:
        return pa.type_for_alias(dtype)
    except ValueError:
        return pa.string()


def table_of(rows: np.ndarray, spec: DataSpec, further: Mapping[str, np.ndarray]) -> Any:
    """Rows (N, D), or (N, fields), as a table of Arrow.

    Args:
        rows: as a source has them.
        spec: what the data is.
        further: columns that belong to the rows, empty where they are NaN. Those that the user's table has, too, are
            where it has them, in its types; others are on the right.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {}
    if spec.fields:
        columns = {field.name: column_of(rows[:, at], field) for at, field in enumerate(spec.fields)}
    else:
        for number in range(rows.shape[1]):
            values = np.ascontiguousarray(rows[:, number])
            columns[f"column_{number}"] = pa.array(values)
    given = {field.name: field for field in spec.condition_fields or ()}
    details = spec.details
    for name, values in further.items():
        if name in given:
            columns[name] = column_of(values, given[name])
            continue
        if name == details.get("label") and name not in columns:
            columns[name] = as_type(
                pa.array([str(value) for value in values], pa.string()),
                str(details.get("label_dtype", "string")),
            )
            continue
        for number, column in enumerate(values.reshape(len(values), -1).T):
            label = name if values.ndim == 1 else f"{name}_{number}"
            while label in columns:  # one of the data's own has this name
                label += "_"
            columns[label] = pa.array(np.ascontiguousarray(column), from_pandas=True)
    order = [name for name in details.get("columns", ()) if name in columns]
    order += [name for name in columns if name not in order]
    return pa.table({name: columns[name] for name in order})
