"""The columns of a table as fields: which kind each of them is, and how its values go into x and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute

from ganvae_core.data.fields import DAY
from ganvae_core.errors import DataError, did_you_mean, setting
from ganvae_core.types import Field

Missing = Literal["model", "fill", "refuse"]
Numbers = Literal["auto", "standardised", "quantile", "mixture"]

KINDS = ("number", "whole", "category", "flag", "date", "constant")
LEFT_OUT = ("identifier", "text", "empty")
FEW, FEW_ROWS = 10, 10
"""So few different numbers are categories, if each has so many rows on average."""
SPIKE = 0.1
"""A value that more than this share of the rows have is a choice of its own."""
LEAST_SPIKE = 9
"""A spike has more rows than this."""
MOST_KNOTS = 257
SKEWED = 0.02
"""Numbers further than this from a normal distribution, by Kolmogorov and Smirnov, are mapped by their quantiles."""
MOST_MODES, LEAST_MODE, FITTED_ROWS = 8, 0.01, 20_000
NEARLY = 0.99
"""Text of which so many values are numbers is a column of numbers with mistakes."""
TEXT_LENGTH, TEXT_SHARE, FEW_TEXTS = 50, 0.5, 20
MOST_DECIMALS = 6
FLAGS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"0", "1"}, {"on", "off"})
FORMATS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M",
           "%m/%d/%Y %H:%M", "%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S",
           "%Y-%m", "%Y/%m", "%m/%Y")  # fmt: skip
INDEX_NAMES = re.compile(r"__index_level_\d+__|Unnamed: 0|index|column_1", re.IGNORECASE)
ID_NAMES = re.compile(
    r"(?i:(.*[_\W])?(id|uuid|guid|key|nr|no|number|nummer))|.*[a-z](Id|ID|Key|Nr|No|Number)"
)
_DECORATED = re.compile(r"[^\W\d]{0,3}\W{0,3}\d{1,3}([., ']?\d+)*\W{0,3}[^\W\d]{0,4}")
"""A number with a unit, a sign of per cent or of a currency, or separated thousands."""

_SHOWN = 40

pc: Any = pyarrow.compute  # its functions are made when it is imported


@dataclass(frozen=True)
class LeftOut:
    """A column that is not learned, why, and the kind by which it would be, if there is one."""

    name: str
    kind: str
    why: str
    other: str = ""


@dataclass(frozen=True)
class Encoding:
    """How fields are made.

    Args:
        missing: what becomes of missing cells.
        numbers: how numbers go into x.
        max_categories: positions of a category in x.
        bounds: whether samples are kept within the data's lowest and highest values.
    """

    missing: Missing = "model"
    numbers: Numbers = "auto"
    max_categories: int = 100
    bounds: bool = True


def field_of(name: str, column: Any, kind: str | None, encoding: Encoding, where: str) -> Field | LeftOut:
    """The field of a column, or why it is left out. ``start`` and ``width`` are still to be set by ``placed``.

    Args:
        name: of the column.
        column: its values, of Arrow.
        kind: that was asked for, or None for the one that suits the values.
        encoding: how it is made.
        where: what the table is called in an error.

    Raises:
        DataError: the values cannot be of the kind that was asked for; a cell is missing that may not be.
    """
    count, gaps = len(column), column.null_count
    if pa.types.is_floating(column.type):
        gaps += pc.sum(pc.is_nan(column)).as_py() or 0
    if gaps == count:
        return LeftOut(name, "empty", "it has no values")
    if gaps and encoding.missing == "refuse":
        row = pc.index(_is_missing(column), True).as_py() + 1
        raise DataError(
            f"{where}: column '{name}', row {row} has no value.",
            "learn which cells are missing:  data.missing=model",
            "fill them, with the median or the most frequent value:  data.missing=fill",
        )
    found = kind or _kind(name, column, count - gaps, where)
    if found in LEFT_OUT:
        other = "category" if is_text(column.type) else "whole"
        return LeftOut(name, found, _why(name, found, column), other)
    made = _made(name, column, found, encoding, where)
    return replace(made, missing=bool(gaps) and encoding.missing == "model", dtype=type_name(column.type))


def type_name(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return str(kind).replace("large_", "").replace("_view", "")


def placed(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields side by side in x."""
    made, start = list[Field](), 0
    for field in fields:
        if field.kind in ("category", "flag"):
            width = field.width + field.missing
        else:
            states = len(field.modes) + len(field.spikes) + field.missing
            width = 1 + 2 * len(field.cycles) + (states if states > 1 else 0)
        made.append(replace(field, start=start, width=width))
        start += width
    return tuple(made)


def values_of(column: Any, field: Field, where: str) -> tuple[np.ndarray, int]:
    """A column (N,) float64 as ``Field`` says, and how many of its values are unknown categories, which are missing.

    Raises:
        DataError: a value is not of the field's kind.
    """
    if field.kind not in ("category", "flag"):
        return _numbers(column, field.kind, field.format, field.name, where), 0
    texts = texts_of(column)
    codes = pc.index_in(texts, pa.array(field.categories, pa.string()))
    if len(field.categories) > field.width - field.missing:  # the last category stands for other rare ones
        unknown = pc.and_(codes.is_null(), texts.is_valid())
        codes = pc.if_else(unknown, len(field.categories) - 1, codes)
    return codes.cast(pa.float64()).to_numpy(zero_copy_only=False), codes.null_count - texts.null_count


def filled(values: np.ndarray, field: Field) -> np.ndarray:
    """Values without missing ones: the most frequent category, or the median of numbers, takes their place."""
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    if field.kind in ("category", "flag"):
        usual = float(np.argmax(field.shares))
    else:
        there = values[~gaps]
        usual = float(np.sort(there)[len(there) // 2])
    return np.where(gaps, usual, values)


def _kind(name: str, column: Any, there: int, where: str) -> str:
    """The kind that suits a column's values."""
    kind = column.type
    if pa.types.is_dictionary(kind) and pa.types.is_integer(kind.value_type):
        return "category"
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_time(kind):
        return "date" if pc.count_distinct(column, mode="only_valid").as_py() > 1 else "constant"
    if is_text(kind) or pa.types.is_boolean(kind):
        return _kind_of_texts(texts_of(column), there, name, where)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return "text"
    values = _numbers(column, "number", "", name, where)
    values = values[~np.isnan(values)]
    if values.min() == values.max():
        return "constant" if there == len(column) else "category"
    different = np.unique(values)
    few = len(different) <= min(FEW, len(values) / FEW_ROWS)
    if not (np.rint(values) == values).all():
        return "category" if few else "number"
    if len(different) == len(values) > 2:
        many, counts = len(values) >= FEW_TEXTS, np.ptp(values) == len(values) - 1
        is_index = bool(INDEX_NAMES.fullmatch(name)) or name == ""
        named = bool(ID_NAMES.fullmatch(name)) or (is_index and name != "column_1")
        if (counts and is_index) or (many and (counts or named)):
            return "identifier"
    if len(different) == 2 and set(different.tolist()) == {0.0, 1.0}:
        return "flag"
    return "category" if few else "whole"


def _kind_of_texts(texts: Any, there: int, name: str, where: str) -> str:
    counts = pc.value_counts(texts.drop_null())
    different = len(counts)
    values = [value.as_py() for value in counts.field("values")[: 10 * MOST_KNOTS]]
    if different == 1:
        return "category"
    if different == 2 and {value.lower() for value in values} in FLAGS:
        return "flag"
    if _date_format(texts, values):
        return "date"
    sample = values[:: max(1, len(values) // 1000)]
    numeric = sum(is_number(value) for value in sample) / len(sample)
    if numeric >= NEARLY and not all(is_number(value) and value.startswith("0") for value in sample):
        mistakes = [(row, value) for row, value in enumerate(texts.to_pylist(), 1)
                    if value is not None and not is_number(value)]  # fmt: skip
        if mistakes and len(mistakes) < (1 - NEARLY) * there:
            row, value = mistakes[0]
            raise DataError(
                f"{where}: column '{name}' holds numbers, but row {row} is {value[:_SHOWN]!r}"
                + (f" ({len(mistakes):,} rows are not numbers)." if len(mistakes) > 1 else "."),
                f"count such values as missing:  {setting('data.missing_values', [value])}",
                f"read it as categories:  {setting(f'data.kinds.{name}', 'category')}     leave it out: "
                f" {setting('data.drop', [name])}",
            )
    length = sum(len(value) for value in values) / len(values)
    if different == there and there >= FEW_TEXTS:
        return "text" if length > TEXT_LENGTH or _has_sentences(values) else "identifier"
    if different > TEXT_SHARE * there and there >= FEW_TEXTS:
        return "text"
    return "category"


def around_numbers(field: Field) -> bool:
    """Whether a column of many categories holds numbers with something around them, such as 12% or 1,234."""
    many = field.kind == "category" and len(field.categories) > FEW
    return many and field.dtype == "string" and all(_DECORATED.fullmatch(text) for text in field.categories)


def _has_sentences(values: Sequence[str]) -> bool:
    return sum(value.count(" ") >= 3 for value in values) > len(values) / 2


def _why(name: str, kind: str, column: Any) -> str:
    first = str(next((value for value in column.slice(0, 100).to_pylist() if value is not None), ""))
    shown = repr(first[:_SHOWN] + ("…" if len(first) > _SHOWN else ""))
    is_code = kind == "identifier" and first[:1].isalpha()
    if is_text(column.type) and _DECORATED.fullmatch(first) and not (is_code or is_number(first)):
        hint = as_decimal(first)
        return f"it is text around numbers (row 1 is {shown}), which is learned once they are plain numbers{hint}"
    if kind == "identifier":
        return f"its values all differ, like those of an index (row 1 is {shown})"
    return f"it is free text (row 1 is {shown})"


def as_decimal(text: str) -> str:
    """A hint on a comma that may be a decimal point."""
    return " (data.decimal=, takes a comma for the decimal point)" if re.fullmatch(r"-?\d+,\d+", text) else ""


def _made(name: str, column: Any, kind: str, encoding: Encoding, where: str) -> Field:
    if kind in ("category", "flag"):
        return _category(name, kind, column, encoding)
    text = texts_of(column) if is_text(column.type) else None
    format_ = (
        _date_format(text, text.drop_null().unique().to_pylist())
        if text is not None and kind == "date"
        else ""
    )
    values = _numbers(column, kind, format_, name, where)
    there = values[~np.isnan(values)]
    if encoding.missing == "fill":
        there = values = np.where(np.isnan(values), np.median(there), values)
    if there.min() == there.max():
        kind = "constant"
        knots = ((float(there[0]), 0.0), (float(there[0]) + 1, 1.0))
        return Field(name, kind, knots=knots, step=_step(there))
    bounds = (float(there.min()), float(there.max())) if encoding.bounds else None
    if kind == "date":
        day = bool((there % DAY == 0).all())
        step = DAY if day else next((one for one in (3600.0, 60.0, 1.0) if (there % one == 0).all()), 0.0)
        return Field(
            name, kind, knots=_knots(there, "auto", name, where), bounds=bounds, step=step,
            cycles=(7 * DAY,) if day else (7 * DAY, DAY), format=format_,
        )  # fmt: skip
    different, counts = np.unique(there, return_counts=True)
    spikes = different[counts > max(SPIKE * len(values), LEAST_SPIKE)]
    ordinary = there[~np.isin(there, spikes)]
    if len(np.unique(ordinary)) < 2:
        spikes, ordinary = spikes[:0], there
    knots = _knots(ordinary, encoding.numbers, name, where)
    modes = (
        _modes(np.interp(ordinary, *np.array(knots).T)) if encoding.numbers == "mixture" else ((0.0, 1.0),)
    )
    return Field(
        name, kind, knots=knots, modes=modes, spikes=tuple(spikes.tolist()), bounds=bounds, step=_step(there)
    )  # fmt: skip


def _category(name: str, kind: str, column: Any, encoding: Encoding) -> Field:
    counts = pc.value_counts(texts_of(column).drop_null())
    pairs = [(entry["values"].as_py(), entry["counts"].as_py()) for entry in counts]
    if len(pairs) > encoding.max_categories:
        pairs.sort(key=lambda pair: (-pair[1], sorted_as(pair[0])))
    else:
        pairs.sort(key=lambda pair: sorted_as(pair[0]))
    total = sum(count for _, count in pairs)
    return Field(
        name, kind, width=min(len(pairs), encoding.max_categories), categories=tuple(text for text, _ in pairs),
        shares=tuple(count / total for _, count in pairs),
    )  # fmt: skip


def sorted_as(text: str) -> tuple[int, float, str]:
    """Numbers by value, and text by letters."""
    return (0, float(text), text) if is_number(text) else (1, 0.0, text)


def _knots(values: np.ndarray, numbers: Numbers, name: str, where: str) -> tuple[tuple[float, float], ...]:
    """Pairs of a value and its number: two for a straight line, many for quantiles of a normal distribution."""
    from scipy.special import ndtr, ndtri

    with np.errstate(over="ignore"):  # refused below
        mean, deviation = float(values.mean()), float(values.std())
    if not math.isfinite(deviation):
        raise DataError(f"{where}: the values of column '{name}' are too large to be standardised.")
    low, high = float(values.min()), float(values.max())
    different, counts = np.unique(values, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(
        values
    )  # the share of rows below each value, and half of those at it
    line = ((low, (low - mean) / deviation), (high, (high - mean) / deviation))
    if numbers in ("standardised", "mixture") or len(different) < 3:
        return line
    levels = ndtri(middle)
    if numbers == "auto" and np.abs(ndtr((different - mean) / deviation) - middle).max() < SKEWED:
        return line
    if len(different) > MOST_KNOTS:
        at = np.unique(np.searchsorted(middle, np.linspace(middle[0], middle[-1], MOST_KNOTS)))
        at = np.unique(np.concatenate([[0], np.clip(at, 0, len(different) - 1), [len(different) - 1]]))
        different, levels = different[at], levels[at]
    return tuple(zip(different.tolist(), levels.tolist(), strict=True))


def _modes(numbers: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Mean and twice the deviation of the modes of a Gaussian mixture (CTGAN, Xu et al. 2019)."""
    import warnings

    from sklearn.mixture import BayesianGaussianMixture

    chosen = numbers[:: max(1, len(numbers) // FITTED_ROWS)][:, None]
    mixture = BayesianGaussianMixture(
        n_components=min(MOST_MODES, len(np.unique(chosen))), weight_concentration_prior=1e-3, max_iter=100,
        random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mixture that has not converged is a good one, too
        mixture.fit(chosen)
    kept = mixture.weights_ > LEAST_MODE
    scales = 2 * np.sqrt(mixture.covariances_[kept, 0, 0])
    return tuple(sorted(zip(mixture.means_[kept, 0].tolist(), scales.tolist(), strict=True)))


def _step(values: np.ndarray) -> float:
    """What all values are multiples of: 1, 0.1 … 0.000001; 0 where they have more decimals."""
    for decimals in range(MOST_DECIMALS + 1):
        if (np.round(values, decimals) == values).all():
            return 10.0**-decimals
    return 0.0


def _numbers(column: Any, kind: str, format_: str, name: str, where: str) -> np.ndarray:
    """The values (N,) of a column of numbers or dates, NaN where one is missing.

    Raises:
        DataError: one of them is infinite, or no number.
    """
    column = _decoded(column)
    if kind == "date":
        if is_text(column.type) and format_:
            column = pc.strptime(texts_of(column), format=format_, unit="s", error_is_null=True)
        if not pa.types.is_temporal(column.type):
            raise DataError(
                f"{where}: column '{name}' does not hold dates.", "dates are written like 2024-01-31"
            )
        values = column.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64(), safe=False)
        return pc.divide(values, 1e6).to_numpy(zero_copy_only=False)
    if is_text(column.type):
        texts = texts_of(column)
        try:
            column = texts.cast(pa.float64())
        except pa.ArrowInvalid:
            row, bad = next((row, value) for row, value in enumerate(texts.to_pylist(), 1)
                            if value is not None and not is_number(value))  # fmt: skip
            raise DataError(
                f"{where}: column '{name}' is not numeric: row {row} is {bad[:_SHOWN]!r}.",
                f"count such values as missing:  {setting('data.missing_values', [bad])}",
                f"leave it out:  {setting('data.drop', [name])}",
            ) from None
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise DataError(
            f"{where}: column '{name}', row {row + 1} is {values[row]}.",
            "leave such rows out, or put numbers in their place, before training",
        )
    return values


def texts_of(column: Any) -> Any:
    """The values as text, as they are written."""
    column = _decoded(column)
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False)
        if (
            np.isnan(values) | (np.rint(values) == values)
        ).all():  # whole numbers that pandas holds as floats
            column = pa.array(np.nan_to_num(values).astype(np.int64), mask=np.isnan(values))
        else:
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(pa.string())


def _decoded(column: Any) -> Any:
    """A column in one piece, without Arrow's dictionary."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _is_missing(column: Any) -> Any:
    return pc.is_null(column, nan_is_null=True)


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def dates_of(column: Any) -> Any:
    """Dates and times of a column, typed or in a usual format; None where it holds others."""
    column = _decoded(column)
    if is_text(column.type):
        texts = texts_of(column)
        format_ = _date_format(texts, texts.drop_null().unique().to_pylist())
        if not format_:
            return None
        column = pc.strptime(texts, format=format_, unit="s", error_is_null=True)
    kind = column.type
    return column if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else None


def _date_format(texts: Any, values: Sequence[str]) -> str:
    """The format by which all texts are dates; empty where there is none."""
    if not values or not re.search(r"\d[./-]\d", values[0]):
        return ""
    sample = pa.array(list(values[:1000]))
    for one in FORMATS:
        if not pc.strptime(sample, format=one, unit="s", error_is_null=True).null_count and not (
            pc.strptime(texts, format=one, unit="s", error_is_null=True).null_count - texts.null_count
        ):
            return one
    return ""


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def check_kinds(kinds: Mapping[str, str]) -> None:
    """Refuse kinds that do not exist.

    Raises:
        DataError: naming one.
    """
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise DataError(
                f"data.kinds.{name}: there is no kind '{kind}'.{did_you_mean(kind, KINDS)}",
                f"kinds: {', '.join(KINDS)}; leave a column out:  {setting('data.drop', [name])}",
            )
