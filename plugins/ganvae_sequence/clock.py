"""Evenly spaced times: the step of a series, the place of each of its times, and the times of a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

SPARSEST = 100
"""Places that a series has at most for each of its times."""
EXACT = 1e-6
"""Steps that differ by less than this share are equal, but for rounding."""
DAY = np.timedelta64(1, "D")


def places_of(times: np.ndarray) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The places of times in an even series, and what ``times_of`` makes times of again.

    Times once a month, at the same distance from its beginning or on its last day, are a whole number of months apart.

    Args:
        times: (N,) in their order, each once: datetime64 in microseconds, or numbers.

    Returns:
        (N,) places from 0, and details of the series; None where times are not evenly spaced.
    """
    dated = times.dtype.kind == "M"
    if dated:
        for unit, moved in (("months", times), ("month ends", times + DAY)):
            months = moved.astype("datetime64[M]")
            within = moved - months
            apart = np.diff(months).astype(np.int64)
            if (within == within[0]).all() and apart.all() and (unit == "months" or within[0] < DAY):
                step = int(np.gcd.reduce(apart))
                places = (months - months[0]).astype(np.int64) // step
                return places, {"begins": as_text(times[0]), "step": step, "unit": unit}
    since = (times - times[0]).astype(np.float64) / (1e6 if dated else 1)
    apart = np.diff(since)
    step = float(np.median(apart))
    counts = np.rint(apart / step)
    if not counts.all():
        return None
    places = np.append(0, counts.cumsum()).astype(np.int64)
    if np.abs(apart - counts * step).max() > EXACT * step:  # rounded, or with a step that is near the others
        step, start = np.polyfit(places, since, 1)
        if np.abs(since - start - step * places).max() > step / 2:
            return None
    if places[-1] > SPARSEST * len(places):
        return None
    begins = as_text(times[0]) if dated else float(times[0])
    return places, {"begins": begins, "step": float(step), **({"unit": "seconds"} if dated else {})}


def times_of(details: Mapping[str, Any], length: int) -> np.ndarray:
    """(T,) times of a window that begins where the series begins, or the numbers of its places."""
    places, begins = np.arange(length), details.get("begins")
    if begins is None:
        return places
    steps = places * details["step"]
    if not isinstance(begins, str):
        return begins + steps
    start = np.datetime64(begins, "us")
    if unit_of(details) == "seconds":
        times = start + np.rint(1e6 * steps).astype("timedelta64[us]")
    else:
        moved = start + DAY * (unit_of(details) == "month ends")
        month = moved.astype("datetime64[M]")
        times = (month + steps.astype("timedelta64[M]")).astype("datetime64[us]") + (start - month)
    seconds = times.astype("datetime64[s]")
    return seconds if (seconds == times).all() else times


def step_text(details: Mapping[str, Any]) -> str:
    """``hours`` or ``steps of 15 minutes``."""
    step = details.get("step")
    if step is None or not isinstance(details.get("begins"), str):
        return "steps in time"
    sizes = ((12, "years"), (1, "months"))
    if unit_of(details) == "seconds":
        sizes = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))
    size, unit = next((one for one in sizes if step % one[0] == 0), sizes[-1])
    return unit if step == size else f"steps of {step / size:g} {unit}"


def unit_of(details: Mapping[str, Any]) -> str:
    """What a step between dates counts: ``seconds``, ``months`` or ``month ends``."""
    return details.get("unit", "seconds")


def usual_step(times: np.ndarray) -> str:
    """``3600 seconds`` of dates, ``1`` of numbers."""
    step = float(np.median(np.diff(times).astype(np.float64)))
    return f"{step / 1e6:g} seconds" if times.dtype.kind == "M" else f"{step:g}"


def as_text(time: Any) -> str:
    """A number, or a date as ISO text, without parts of a second where it has none."""
    if not isinstance(time, np.datetime64):
        return f"{time:g}"
    whole = time.astype("datetime64[s]")
    return str(whole if whole == time else time)
