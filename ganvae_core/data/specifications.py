"""A ``DataSpec`` from JSON of any origin, whose values are validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ganvae_core.types import DataSpec, Field, Units

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float16", "float32", "float64")  # fmt: skip


FIELD_KINDS = ("number", "whole", "category")


def read_spec(values: Mapping[str, Any]) -> DataSpec:
    """The specification that ``DataSpec.as_dict`` wrote.

    Raises:
        KeyError, TypeError, ValueError: the values are not a specification; the message names the first that is not.
    """
    shape = sizes(values["shape"], "shape")
    modality = values["modality"]
    if not isinstance(modality, str):
        raise ValueError(f"modality {modality!r}")
    condition = None if values["condition"] is None else sizes(values["condition"], "condition")
    fields, classes = _fields(values, shape), _names(values["classes"], "classes")
    if condition is not None and classes is not None and condition != (len(classes),):
        raise ValueError(f"a condition of shape {list(condition)} with {len(classes)} classes")
    count = values["count"]
    if type(count) is not int or count < 0:
        raise ValueError(f"count {count!r}")
    limits = None if values["range"] is None else _range(values["range"])
    return DataSpec(
        shape,
        limits,
        modality,
        condition,
        count,
        fields,
        classes,
        _units(values["units"], shape),
        dict(values.get("details", {})),
    )


def sizes(value: Any, name: str) -> tuple[int, ...]:
    """A shape: one or more whole numbers of at least 1.

    Raises:
        ValueError: it is none.
    """
    if (
        not isinstance(value, list | tuple)
        or not value
        or any(type(size) is not int or size < 1 for size in value)
    ):
        raise ValueError(f"{name} {value!r}")
    return tuple(value)


def _fields(values: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Field, ...] | None:
    fields = None if values["fields"] is None else tuple(_field(each) for each in values["fields"])
    ends = [0, *(field.start + field.width for field in fields or ())]
    if fields is not None and (
        len(shape) != 1 or ends[-1] != shape[0] or ends[:-1] != [field.start for field in fields]
    ):
        raise ValueError(f"fields {list(ends)} of shape {list(shape)}")
    return fields


def _field(value: Mapping[str, Any]) -> Field:
    categories = _names(value["categories"], "categories") or ()
    field = Field(value["name"], value["kind"], value["start"], value["width"], categories)
    if type(value["name"]) is not str or field.kind not in FIELD_KINDS:
        raise ValueError(f"field {value!r}")
    if type(field.start) is not int or type(field.width) is not int or field.width < 1:
        raise ValueError(f"field {value!r}")
    return field


def _range(value: Any) -> tuple[float, float]:
    low, high = _finite(value, "range")
    if not low < high:
        raise ValueError(f"range {value!r}")
    return low, high


def _units(value: Mapping[str, Any], shape: tuple[int, ...]) -> Units:
    offset, scale = _finite(value["offset"], "offset"), _finite(value["scale"], "scale")
    widths = (1, shape[-1])
    if len(offset) not in widths or len(scale) not in widths or 0.0 in scale:
        raise ValueError("units that do not fit the shape")
    dtype = value["dtype"]
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r}")
    constant = _positions(value["constant"], len(scale), "constant")
    whole = _positions(value["whole"], shape[-1], "whole")
    return Units(offset, scale, dtype, constant, whole)


def _positions(value: Any, count: int, name: str) -> tuple[int, ...]:
    """Numbers of columns, from 0."""
    if not isinstance(value, list | tuple) or any(
        type(one) is not int or not 0 <= one < count for one in value
    ):
        raise ValueError(f"{name} {value!r}")
    return tuple(value)


def _finite(value: Any, name: str) -> tuple[float, ...]:
    numbers = tuple(value) if isinstance(value, list | tuple) else ()
    if not numbers or not all(
        isinstance(number, int | float) and math.isfinite(number) for number in numbers
    ):
        raise ValueError(f"{name} {value!r}")
    return tuple(float(number) for number in numbers)


def _names(value: Any, name: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} {value!r}")
    return tuple(value)
