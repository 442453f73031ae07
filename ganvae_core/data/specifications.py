"""A ``DataSpec`` from JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from ganvae_core.errors import RunError
from ganvae_core.store.directory import DATA, RunDirectory
from ganvae_core.types import DataSpec

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float16", "float32", "float64")  # fmt: skip


CLASS_TYPES = ("text", "int", "bool")


def read_spec(values: Mapping[str, Any]) -> DataSpec:
    """The specification that ``DataSpec.as_dict`` wrote.

    Raises:
        KeyError, TypeError, ValueError: the values are not a specification.
    """
    spec: DataSpec = _read(DataSpec, values)
    units, width = spec.units, sizes(spec.shape, "shape")[-1]
    starts = [0, *(field.start + field.width for field in spec.fields or ())]
    agree = {
        "range": spec.range is None or spec.range[0] < spec.range[1],
        "condition": spec.condition is None or bool(sizes(spec.condition, "condition")),
        "classes": None in (spec.classes, spec.condition) or spec.condition == (len(spec.classes or ()),),
        "count": spec.count >= 0,
        "fields": spec.fields is None or starts == [*(field.start for field in spec.fields), width],
        "axis": -len(spec.shape) <= units.axis < 0,
        "units": 0.0 not in units.scale
        and {len(units.offset), len(units.scale)} <= {1, spec.shape[max(units.axis, -len(spec.shape))]},
        "class_type": spec.class_type in CLASS_TYPES,
        "dtype": units.dtype in DTYPES,
        "constant": all(0 <= at < len(units.scale) for at in units.constant),
        "whole": all(0 <= at < width for at in units.whole),
    }
    for name, agrees in agree.items():
        if not agrees:
            raise ValueError(f"key '{name}' contradicts the others")
    return spec


def stored_specs(directory: RunDirectory) -> tuple[DataSpec, DataSpec]:
    """The specifications of a run's data: as the model is given it, and as the source has it.

    Raises:
        RunError: the run's record of its data cannot be read, or is of another format.
    """
    record = directory.data_record()
    try:
        return read_spec(record["spec"]), read_spec(record["source_spec"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{directory.path / DATA} is damaged: {reason}.") from error


def sizes(value: Any, name: str) -> tuple[int, ...]:
    """A shape: one or more whole numbers of at least 1.

    Raises:
        TypeError, ValueError: it is not a shape.
    """
    shape: tuple[int, ...] = _read(tuple[int, ...], value)
    if not shape or min(shape) < 1:
        raise ValueError(f"key '{name}' is {value!r}")
    return shape


def _read(kind: Any, value: Any) -> Any:
    """A JSON value as a type: a dataclass, a tuple, a mapping, a number or text; None where the type allows it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints, make = get_type_hints(kind), cast(Any, kind)
        return make(**{name: _read(hints[name], value[name]) for name in hints if name in value})
    if origin is UnionType:
        return None if value is None else _read(arguments[0], value)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_read(each, item) for each, item in zip(kinds, value, strict=True))
    if origin is Mapping:
        return dict(value)
    number = float(value) if kind is float and type(value) is int else value
    if type(number) is not kind or (kind is float and not math.isfinite(number)):
        raise ValueError(f"{value!r} is not of type {kind}")
    return number
