"""How good filled-in entries are, beside simpler ways to fill them in.

Rows are counted by their entries: the cells of a table whose columns are known, in their own units, and the entries of
x otherwise. S is completions, N rows, D entries of a row; a missing cell is NaN, and counts nowhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.runs.loading import Run
    from ganvae_core.types import DataSpec

COVERING = (0.05, 0.95)
NEIGHBOURS = 5
DAY, HOUR = 86_400.0, 3_600.0
MOST_DECIMALS = 9
"""Of the step of a column and more: what multiplying by it adds beyond is rounding."""


class Entries(NamedTuple):
    """What the entries of a row are.

    Args:
        categories: (D,) how many categories an entry has, 0 of a number.
        scales: (D,) by which errors of numbers are divided: the standard deviations of a table's columns, else 1.
    """

    categories: np.ndarray
    scales: np.ndarray

    @property
    def are_numbers(self) -> np.ndarray:
        """(D,) bool."""
        return self.categories == 0


def entries_of(run: Run, x: Tensor) -> np.ndarray:
    """(N, *X) -> (N, D) float64."""
    from ganvae_core.views.showing import shown_rows

    if not run.spec.fields:
        return x.flatten(1).double().cpu().numpy()
    return np.asarray(shown_rows(x, run.spec, run.view), np.float64)


def of_entries(mask: Tensor, spec: DataSpec) -> np.ndarray:
    """(N, *X) bool -> (N, D): what is so for the first position of each entry."""
    flat: np.ndarray = mask.flatten(1).cpu().numpy()
    return flat[:, [field.start for field in spec.fields]] if spec.fields else flat


def kinds_of(training: np.ndarray, spec: DataSpec) -> Entries:
    """What entries are, by training rows (N, D)."""
    if not spec.fields:
        size = training.shape[1]
        return Entries(np.zeros(size, int), np.ones(size))
    scales = np.nanstd(training, axis=0)
    categories = np.array([len(field.categories) for field in spec.fields])
    return Entries(categories, np.where(scales > 0, scales, 1.0))


def centre_of(rows: np.ndarray, entries: Entries) -> np.ndarray:
    """(S, …, D) -> (…, D) the mean of numbers, and the most frequent category."""
    found = np.ma.masked_invalid(rows).mean(0).filled(np.nan)
    for place in np.flatnonzero(~entries.are_numbers):
        counts = counts_of(rows[..., place], entries.categories[place])
        found[..., place] = np.where(counts.any(0), counts.argmax(0), np.nan)
    return found


def middle_of(rows: np.ndarray, spec: DataSpec) -> np.ndarray:
    """(S, N, …) completions in the data's own units -> (N, …) the mean of numbers, and the most frequent category.

    Numbers of a table are rounded to the steps of their column, and drawn gaps are left out.
    """
    if not spec.fields:
        return rows.mean(0)
    categories = np.array([len(field.categories) for field in spec.fields])
    found = np.where(
        (rows == rows[0]).all(0), rows[0], centre_of(rows, Entries(categories, np.ones(len(categories))))
    )
    for place, field in enumerate(spec.fields):
        if field.step and not field.categories:
            found[:, place] = np.round(np.round(found[:, place] / field.step) * field.step, MOST_DECIMALS)
    return found


def columns_of_spread(spread: np.ndarray, spec: DataSpec) -> dict[str, np.ndarray]:
    """Spreads (N, D) as columns: one decimal more than the data has, and days or hours of dates."""
    from ganvae_core.types import Field
    from ganvae_core.views.table import column_names

    if spread.ndim != 2:
        return {"spread": spread}
    found: dict[str, np.ndarray] = {}
    for field, values in zip(spec.fields or map(Field, column_names(spec)), spread.T, strict=True):
        name, unit = f"spread_{field.name}", 1.0
        if field.kind == "date":
            words, unit = ("days", DAY) if field.step % DAY == 0 else ("hours", HOUR)
            name = f"spread_in_{words}_{field.name}"
        step = field.step / unit or 0.01 * max(values.max() / unit, 1e-300)
        decimals = math.ceil(-math.log10(0.001 if field.categories else step)) + 1
        found[name] = np.round(values / unit, max(decimals, 0))
    return found


def counts_of(rows: np.ndarray, categories: int) -> np.ndarray:
    """(S, …) category numbers -> (categories, …) how often each is there."""
    return np.stack([(rows == number).sum(0) for number in range(categories)])


def spread_of(rows: np.ndarray, spec: DataSpec) -> np.ndarray:
    """(S, N, D) completions -> (N, D) the deviation of numbers, and the share beside the most frequent category."""
    apart = np.ma.masked_invalid(rows - np.nan_to_num(rows[0]))  # exactly 0 where all completions agree
    spread = apart.std(0, ddof=min(1, len(rows) - 1)).filled(0.0)
    for column, field in enumerate(spec.fields or ()):
        if field.categories:
            counts = counts_of(rows[:, :, column], len(field.categories))
            total = np.maximum(counts.sum(0), 1)
            spread[:, column] = np.where(counts.any(0), (total - counts.max(0)) / total, 0.0)
    return spread


def errors(made: np.ndarray, truth: np.ndarray, hidden: np.ndarray, entries: Entries) -> list[float]:
    """The root mean squared error of hidden numbers by their scales, and the share of wrong categories.

    Numbers in whose place all completions are gaps are left out. NaN stands for a kind that is not hidden anywhere.

    Args:
        made: (N, D).
        truth: (N, D).
        hidden: (N, D) bool.
        entries: what they are.
    """
    numbers = hidden & entries.are_numbers & np.isfinite(truth) & np.isfinite(made)
    apart = ((made - truth) / entries.scales)[numbers]
    chosen = hidden & ~entries.are_numbers & np.isfinite(truth)
    wrong = made[chosen] != truth[chosen]
    return [
        float(np.sqrt(np.square(apart).mean())) if len(apart) else np.nan,
        float(wrong.mean()) if len(wrong) else np.nan,
    ]


def covered(rows: np.ndarray, truth: np.ndarray, hidden: np.ndarray, entries: Entries) -> list[float]:
    """Shares of hidden numbers and of hidden categories that completions (S, N, D) cover; NaN without any.

    A number is covered by the 5th to the 95th percentile of its completions, a category by the fewest categories that
    have nine of ten completions.
    """
    numbers = hidden & entries.are_numbers & np.isfinite(truth)
    drawn, right = rows[:, numbers], truth[numbers]
    quantile = np.nanquantile if np.isnan(drawn).any() else np.quantile  # which is many times as fast
    low, high = (quantile(drawn, share, axis=0) for share in COVERING)
    inside = (right >= low) & (right <= high)
    among: list[np.ndarray] = []
    for place in np.flatnonzero(~entries.are_numbers):
        judged = hidden[:, place] & np.isfinite(truth[:, place])
        counts = counts_of(rows[:, judged, place], entries.categories[place])  # (categories, N)
        ranked = -np.sort(-counts, axis=0)
        suffices = (COVERING[1] - COVERING[0]) * counts.sum(0)
        last = (ranked.cumsum(0) < suffices).sum(0)  # of the categories that are taken
        least = np.take_along_axis(ranked, last[None], 0)[0]
        count = np.take_along_axis(counts, truth[judged, place].astype(int)[None], 0)[0]
        among.append((count >= least) & (count > 0))
    found = np.concatenate(among) if among else np.zeros(0)
    return [float(part.mean()) if len(part) else np.nan for part in (inside, found)]


def expected_cover(draws: int) -> float:
    """The share of numbers within those percentiles of as many draws of their own distribution."""
    return (COVERING[1] - COVERING[0]) * (draws - 1) / (draws + 1)


def nearest_rows(training: np.ndarray, holes: np.ndarray, entries: Entries) -> np.ndarray:
    """Holes (N, D) filled in from the five nearest training rows, by scikit-learn's KNNImputer.

    Numbers are divided by their scales, and categories are one-hot.
    """
    from sklearn.impute import KNNImputer

    numbers = np.flatnonzero(entries.are_numbers)
    chosen = np.flatnonzero(~entries.are_numbers)

    def spread_out(rows: np.ndarray) -> np.ndarray:
        parts = [rows[:, numbers] / entries.scales[numbers]]
        for place in chosen:
            column = rows[:, [place]]
            one_hot = column == np.arange(entries.categories[place])
            parts.append(np.where(np.isnan(column), np.nan, one_hot))
        return np.concatenate(parts, 1)

    imputer = KNNImputer(n_neighbors=NEIGHBOURS, keep_empty_features=True).fit(spread_out(training))
    filled = np.asarray(imputer.transform(spread_out(holes)))
    made = holes.copy()
    made[:, numbers] = filled[:, : len(numbers)] * entries.scales[numbers]
    start = len(numbers)
    for place in chosen:
        stop = start + entries.categories[place]
        made[:, place] = filled[:, start:stop].argmax(1)
        start = stop
    return made
