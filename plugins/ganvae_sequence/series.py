"""Sources of series: windows of tables with times and of arrays, and made-up tides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from ganvae_core import DataError, DataSpec, Rows, Source, Units, in_range, read_table
from ganvae_sequence.clock import as_text, places_of, step_text, unit_of, usual_step
from ganvae_sequence.windows import too_short, windows

SPEEDS = {"M2": 28.98410, "S2": 30.0, "N2": 28.43973, "K1": 15.04107, "O1": 13.94304}
"""Tidal constituents, in degrees an hour."""
SAME_STEP = 0.01
"""Share by which the steps of two series of one kind may differ."""


class _Windows(Source):
    """Windows of series in memory. Values that are missing are NaN, and not observed.

    Where windows overlap, a series is divided into parts that share none. Parts are held out, so that no held-out
    window overlaps one of training.

    Args:
        series: (N, T, C) N series of one length.
        names: of the C columns.
        window: values in time of a row.
        stride: from the beginning of a window to that of the next.
        details: of the specification: the name of the time, its first value and its step.
        trained: the data that a model was trained on, whose scale is kept.
        notes: sentences for users about how the series was read.
    """

    def __init__(
        self, series: np.ndarray, names: list[str], window: int, stride: int, details: dict[str, Any],
        trained: DataSpec | None, notes: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        in_range("data.", least=1, window=window, stride=stride)
        count, length, _ = series.shape
        if length < window:
            raise DataError(f"the series has {length:,} times, fewer than data.window={window}.")
        if np.isinf(series).any():
            raise DataError("the series has infinite values.")
        starts, parts = windows(length, window, stride)
        groups = None if parts is None else (np.arange(count)[:, None] * length + parts).reshape(-1)
        self._series, self._window = series, window
        self._starts = np.stack([np.repeat(np.arange(count), len(starts)), np.tile(starts, count)], 1)
        observed = ~np.isnan(series)
        self._gaps = not observed.all()
        if self._gaps:
            empty = [
                name
                for name, there in zip(names, observed.reshape(-1, len(names)).T, strict=True)
                if not there.any()
            ]
            if empty and (trained is None or len(empty) == len(names)):
                raise DataError(f"the column '{empty[0]}' of the series has no values.")
            there = np.array([observed[at, start : start + window].any() for at, start in self._starts])
            self._starts, groups = self._starts[there], None if groups is None else groups[there]
            share = 100 * (1 - observed.mean())
            notes = (*notes, f"{share:.3g} % of the values are missing: they count in no likelihood")
        self.groups, self.notes = groups, (*notes, *too_short(groups))
        flat = series.reshape(-1, series.shape[-1])
        if trained is None:
            spread = np.nanstd(flat, 0)
            units = Units(
                tuple(np.nanmean(flat, 0).tolist()),
                tuple(np.where(spread > 0, spread, 1.0).tolist()),
                "float32",
                tuple(np.flatnonzero(spread == 0).tolist()),
            )
        else:
            units = trained.units
        self._spec = DataSpec(
            (window, len(names)),
            None,
            "series",
            None,
            len(self._starts),
            units=units,
            details={"columns": names, **details},
        )
        self.why = f"windows of {window} times that begin {stride} apart:  data.window=  data.stride="

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._starts)

    def rows(self, indices: Any) -> Rows:
        chosen = self._starts[indices]
        x = self._series[chosen[:, :1], chosen[:, 1:] + np.arange(self._window)].astype(np.float32)
        if not self._gaps:
            return Rows(x)
        mask = ~np.isnan(x)
        return Rows(np.where(mask, x, np.asarray(self._spec.units.offset, np.float32)), mask=mask)

    def labels(self, indices: Any = None) -> None:
        return None


@final
class Series(_Windows):
    """Windows of a series, of columns that are numbers, in the order of time.

    A table with times is one series. Times that are absent between others are gaps. An array (T, C) is one series, and
    an array (N, T, C) has N.

    Args:
        data: the data that a model was trained on, if there is one.
        path: a .csv, .csv.gz, .tsv, .parquet or .feather table, or a .npy array.
        time: the column of times; by default the first one that has dates. Without one, rows follow each other.
        columns: to learn; by default all that are numbers.
        window: times in a row; by default all of an array (N, T, C), else 24.
        stride: times from the beginning of a window to that of the next; by default 1, or a row of an array.
        missing_values: of a table, values that stand for a missing cell, like -99, beside the usual ones like NA and ?

    Raises:
        DataError: the file cannot be read, a column has no numbers, or it is shorter than a window.
        ConfigurationError: an option is out of range.
    """

    def __init__(
        self,
        data: DataSpec | None = None,
        *,
        path: str,
        time: str | None = None,
        columns: tuple[str, ...] | None = None,
        window: int | None = None,
        stride: int = 1,
        missing_values: tuple[str, ...] = (),
    ) -> None:
        if data is not None and data.modality == "series":
            window, columns = data.shape[0], tuple(data.details["columns"])
        details: dict[str, Any] = {}
        notes: tuple[str, ...] = ()
        if Path(path).suffix == ".npy":
            series, names = _array(path)
            window = window or (series.shape[1] if len(series) > 1 else 24)
        else:
            series, names, details, notes = _table(path, time, columns, missing_values)
        if data is not None:
            _check_step(path, details, data.details)
        super().__init__(series, names, window or 24, stride, details, data, notes)


@final
class Tides(_Windows):
    """Heights of the sea at two made-up harbours, each hour of two years: five tidal constituents and weather.

    Args:
        window: hours of a row.
        stride: hours from the beginning of a window to that of the next.
    """

    def __init__(self, *, window: int = 48, stride: int = 1) -> None:
        hours, random = np.arange(2 * 8766), np.random.default_rng(0)
        surge = random.normal(size=(len(hours), 2)) @ np.array([[0.02, 0.015], [0.0, 0.013]])
        for hour in range(1, len(hours)):
            surge[hour] += 0.97 * surge[hour - 1]
        sizes = {"north": (1.8, 0.6, 0.35, 0.15, 0.1), "south": (0.7, 0.2, 0.15, 0.35, 0.25)}
        lags = random.uniform(0, 2 * np.pi, (2, len(SPEEDS)))
        tides = [
            sum(
                size * np.cos(np.deg2rad(speed) * hours + lag)
                for size, speed, lag in zip(each, SPEEDS.values(), late, strict=True)
            )
            for each, late in zip(sizes.values(), lags, strict=True)
        ]
        details = {"time": "time", "begins": "2024-01-01T00:00:00", "step": 3600.0, "unit": "seconds"}
        super().__init__((np.stack(tides, 1) + surge)[None], list(sizes), window, stride, details, None)


def _array(path: str) -> tuple[np.ndarray, list[str]]:
    try:
        found = np.load(Path(path).expanduser(), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as an array: {error}.") from error
    if found.ndim not in (2, 3) or found.dtype.kind not in "iuf":
        raise DataError(
            f"'{path}' has the shape {found.shape} and the type {found.dtype}.",
            "a series is an array of numbers (T, C), and several are (N, T, C)",
        )
    series = found[None] if found.ndim == 2 else found
    return series.astype(np.float64), [f"channel_{number}" for number in range(series.shape[-1])]


def _table(
    path: str, time: str | None, columns: tuple[str, ...] | None, missing: tuple[str, ...]
) -> tuple[np.ndarray, list[str], dict[str, Any], tuple[str, ...]]:
    """(1, T, C) values in the order of time, with NaN where there is none; the columns; details of the time; notes."""
    import pyarrow as pa

    read = read_table(path, missing=missing)
    table, notes = read.table, [*read.notes]
    kinds = {field.name: field.type for field in table.schema}
    for option, asked in (("time", (time,) if time else ()), ("columns", columns or ())):
        for name in asked:
            if name not in kinds:
                raise DataError(
                    f"data.{option}: '{path}' has no column '{name}'.", f"columns: {', '.join(kinds)}"
                )
    time = time or next((name for name in kinds if read.times(name) is not None), None)
    numeric = [
        name for name, kind in kinds.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)
    ]
    names = list(columns or [name for name in numeric if name != time])
    if not names:
        raise DataError(f"'{path}' has no column of numbers besides its times.")
    for name in names:
        if name not in numeric and not pa.types.is_null(kinds[name]):
            raise DataError(
                f"data.columns: column '{name}' of '{path}' has values that are not numbers.",
                f"columns of numbers: {', '.join(numeric)}",
            )
    if columns is None and (others := [name for name in kinds if name not in (*names, time)]):
        notes.append(f"columns that are not numbers are left out: {', '.join(others)}")
    values = np.stack([np.asarray(table.column(name).to_pylist(), np.float64) for name in names], 1)
    if time is None:
        notes.append("no column has dates, so rows are taken in their order:  data.time=COLUMN")
        return values[None], names, {}, tuple(notes)
    times = read.times(time)
    if times is None and time in numeric:
        times = np.asarray(table.column(time).to_pylist(), np.float64)
    if times is None:  # texts of other files than .csv
        try:
            times = (
                table.column(time).cast(pa.timestamp("us"), safe=False).to_numpy().astype("datetime64[us]")
            )
        except (pa.ArrowException, ValueError) as error:
            raise DataError(
                f"data.time: column '{time}' of '{path}' has no times: {error}.",
                "times are written as 2024-01-31 or 2024-01-31 12:00:00, or are numbers",
            ) from None
    lacking = np.isnat(times) if times.dtype.kind == "M" else np.isnan(times)
    if lacking.any():
        notes.append(f"{lacking.sum():,} rows without a time are left out")
    values, times = values[~lacking], times[~lacking]
    order = np.argsort(times, kind="stable")
    values, times = values[order], times[order]
    again = times[1:][times[1:] == times[:-1]][:1]
    if len(times) < 2 or len(again):
        raise DataError(
            f"data.time: column '{time}' of '{path}' has "
            + (f"a time twice ({as_text(again[0])})." if len(again) else f"{len(times)} times."),
            "dates and times in two columns are joined in one first" if len(again) else "",
            "a table of several series becomes an array (N, T, C) in a .npy file first" if len(again) else "",
        )
    found = places_of(times)
    if found is None:
        raise DataError(
            f"data.time: the times of '{path}' are not evenly spaced (mostly {usual_step(times)} apart).",
            "bring them to even steps first",
        )
    places, details = found
    series = np.full((1, places[-1] + 1, len(names)), np.nan)
    series[0, places] = values
    return series, names, {"time": time, **details}, tuple(notes)


def _check_step(path: str, details: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Refuse times that are further apart, or closer, than those of training; some data has none."""
    if "step" not in details or "step" not in trained:
        return
    ratio = details["step"] / trained["step"]
    if unit_of(details) != unit_of(trained) or abs(ratio - 1) > SAME_STEP:
        here, there = (f"{step_text(each)} ({each['step']:g})" for each in (details, trained))
        raise DataError(
            f"this series does not fit the run: times of '{path}' are {here}, and those of training {there}.",
            "bring them to the same steps first",
        )
