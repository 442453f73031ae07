"""Metrics of tables: columns, pairs of columns, and what a classifier learns from samples.

Columns are compared as a person is given them, field by field; classifiers learn from rows in the model's space, where
numbers are standardised and categories are one-hot. Cells that were not observed count nowhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, final

import numpy as np
import torch

import ganvae_core as gv

BINS = 10
"""Quantiles that a number is put in to compare it with a category."""
MOST_PAIRS = 500
"""Pairs of columns that are compared; of more these are drawn, the same each time."""
LONGEST = 24
"""Letters of a column's name in a label."""
FEWEST_ROWS = 100
"""That gradient boosting learns anything from."""


class Column(NamedTuple):
    """One column of a sample: numbers (N,), or category numbers (N,).

    A missing cell is infinity where the model learns which cells are missing, and NaN where it was not observed.
    """

    values: np.ndarray
    is_category: bool


@final
class TableSimilarity(gv.Metric):
    """How alike the columns of samples and held-out rows are, by themselves and in pairs.

    ``marginals``: the mean over columns of one minus the Kolmogorov-Smirnov distance (numbers) or the total variation
    distance (categories). ``pairs``: the mean over pairs of columns of one minus half the difference of correlations
    (numbers), or one minus the total variation distance of the joint frequencies (categories, numbers in ten
    quantiles), over 500 pairs that are drawn where there are more. Definitions as SDMetrics has them, over the cells
    that were observed; where a model learns which cells are missing, that is a value like any other. Independent
    columns reach high marginals, and good pairs too where columns hardly depend on each other: look at that floor.
    """

    needs = frozenset(("prior",))
    cheap = False
    figures = (
        gv.Figure("marginals", "columns alike", "%", "higher"),
        gv.Figure("pairs", "pairs alike", "%", "higher"),
    )

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """Both figures in percent."""
        real = columns(subject, subject.held_out(subject.sample_count))
        made = columns(subject, subject.samples(subject.sample_count))
        alone = [marginal(first, second) for first, second in zip(real, made, strict=True)]
        together = [pair((real[a], real[b]), (made[a], made[b])) for a, b in pairs_of(len(real))]
        means = {"marginals": alone, "pairs": together}
        return {
            name: 100 * float(np.nanmean(values))
            for name, values in means.items()
            if not np.isnan(values).all()
        }


@final
class Utility(gv.Metric):
    """What a classifier that learned from samples is worth on data: train on synthetic, test on real.

    Gradient boosting (scikit-learn) learns the label from the samples of a conditional model, or one column of a table
    from the others, and is tested on held-out rows. ``utility_real`` learned from as many training rows: the ceiling.

    Args:
        data: what the subject's data is, for the figures' labels.
        column: of the table that is to be predicted; by default the last category. A conditional model's label comes
            before it.
    """

    needs = frozenset(("prior",))
    cheap = False
    figures = (
        gv.Figure("utility", "train on samples, AUC", "%", "higher"),
        gv.Figure("utility_real", "train on data, AUC", "%", "higher"),
    )

    def __init__(self, data: gv.DataSpec | None = None, *, column: str | None = None) -> None:
        self.column = column
        predicted = _predicted(data, column)
        if predicted:
            shown = predicted[:LONGEST] + ("…" if len(predicted) > LONGEST else "")
            self.figures = tuple(replace(one, label=f"{one.label} of {shown}") for one in type(self).figures)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """Areas under the curve in percent, the mean of each class against the rest where there are more than two."""
        made = self._features(subject, subject.samples(subject.sample_count))
        test = self._features(subject, subject.held_out())
        known = subject.once(("utility", self.column), lambda: _area(
            self._features(subject, subject.training(subject.sample_count)), test))  # fmt: skip
        return {"utility": 100 * _area(made, test), "utility_real": 100 * known}

    def _features(self, subject: gv.Subject, batches: Iterable[gv.Batch]) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, F), NaN where one was not observed, and classes (N,)."""
        kept = list(batches)
        x = np.concatenate([_observed(batch) for batch in kept])
        if self.column is None and subject.spec.condition is not None and subject.spec.classes:
            labels = [subject.labels(batch) for batch in kept]
            if any(part is None for part in labels):
                raise gv.NotApplicable("these samples have no labels")
            return x, torch.cat([part.cpu() for part in labels if part is not None]).numpy()
        named = _categories(subject.spec, self.column)
        if not named:
            raise gv.NotApplicable("there is no category to predict" if self.column is None
                                   else f"there is no category '{self.column}'")  # fmt: skip
        its_own = slice(named[-1].start, named[-1].start + named[-1].width)
        x = x[~np.isnan(x[:, its_own.start])]
        return np.delete(x, its_own, axis=1), x[:, its_own].argmax(1)


def _categories(spec: gv.DataSpec, column: str | None) -> list[gv.Field]:
    """The categories that may be predicted, of which the last is: all, or the one that is named."""
    return [field for field in spec.fields or () if field.categories and column in (None, field.name)]


def _predicted(data: gv.DataSpec | None, column: str | None) -> str:
    """The name of the column that is predicted; empty where there is none."""
    if data is None:
        return ""
    if column is None and data.condition is not None and data.classes:
        return str(data.details.get("label") or "")
    named = _categories(data, column)
    return named[-1].name if named else ""


@final
class ClassifierTwoSample(gv.Metric):
    """How well gradient boosting tells samples from held-out rows: the area under its curve on rows it did not see.

    50 % where it cannot, 100 % where samples are apart from the data. Stricter than any comparison of columns. Of
    unequal numbers the first of the larger one are taken.
    """

    needs = frozenset(("prior",))
    cheap = False
    figures = (gv.Figure("classifier_auc", "classifier AUC (50 ideal)", "%", "lower"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``classifier_auc`` in percent; half of the rows are learned from."""
        rows = np.concatenate([_observed(batch) for batch in subject.held_out(subject.sample_count)])
        others = np.concatenate([_observed(batch) for batch in subject.samples(subject.sample_count)])
        count = min(len(rows), len(others))
        if count < FEWEST_ROWS:
            raise gv.NotApplicable(f"a classifier needs {FEWEST_ROWS} held-out rows, and there are {count}")
        rows, others = rows[:count], others[:count]
        others = np.where(np.isnan(rows), np.nan, others)  # gaps of the data do not tell samples apart
        x = np.concatenate([rows, others])
        side = np.arange(2 * count) < count
        order = np.random.default_rng(0).permutation(2 * count)
        learn, test = order[:count], order[count:]
        return {"classifier_auc": 100 * _area((x[learn], side[learn]), (x[test], side[test]))}


def columns(subject: gv.Subject, batches: Iterable[gv.Batch]) -> list[Column]:
    """The fields of all rows; every entry of x is a number where the data has no fields.

    Raises:
        NotApplicable: rows are images or longer than a table's.
    """
    if len(subject.spec.shape) != 1:
        raise gv.NotApplicable("it compares the columns of tables")
    kept = list(batches)
    x = np.concatenate([_observed(batch) for batch in kept])
    if len(x) < 2:
        raise gv.NotApplicable("fewer than two rows are held out")
    if not subject.spec.fields:
        return [Column(column, False) for column in x.T]
    rows = gv.in_own_units(np.nan_to_num(x), subject.spec)
    return [
        Column(
            np.where(np.isnan(x[:, field.start]), np.nan, np.nan_to_num(row, nan=np.inf, posinf=np.inf)),
            bool(field.categories),
        )
        for field, row in zip(subject.spec.fields, rows.T, strict=True)
    ]


def marginal(real: Column, made: Column) -> float:
    """One minus the Kolmogorov-Smirnov or the total variation distance; NaN where a side has no observed cell."""
    first, second = (column.values[~np.isnan(column.values)] for column in (real, made))
    if not len(first) or not len(second):
        return math.nan
    if real.is_category:
        return 1 - _total_variation(first, second)
    from scipy.stats import ks_2samp

    return 1 - float(ks_2samp(first, second, method="asymp")[0])  # pyright: ignore


def pairs_of(count: int) -> list[tuple[int, int]]:
    """All pairs of so many columns, or ``MOST_PAIRS`` of them."""
    every = count * (count - 1) // 2
    if every <= MOST_PAIRS:
        return list(itertools.combinations(range(count), 2))
    # Pair n is (n - b (b - 1) / 2, b) for the largest b that fits: a list of all could be larger than the data.
    numbers = np.random.default_rng(0).choice(every, MOST_PAIRS, replace=False)
    later = (1 + np.sqrt(1 + 8.0 * numbers)).astype(np.int64) // 2
    return list(zip((numbers - later * (later - 1) // 2).tolist(), later.tolist(), strict=True))


def pair(real: tuple[Column, Column], made: tuple[Column, Column]) -> float:
    """The similarity of how two columns depend on each other; NaN where a side has no row with both observed."""
    sides = [np.stack([column.values for column in both]) for both in (real, made)]
    sides = [both[:, ~np.isnan(both).any(0)] for both in sides]
    if not all(both.shape[1] for both in sides):
        return math.nan
    if not any(column.is_category for column in real):
        first, second = (_correlation(*both[:, np.isfinite(both).all(0)]) for both in sides)
        return 1 - abs(first - second) / 2
    for at, column in enumerate(real):
        if not column.is_category:
            edges = np.quantile(sides[0][at], np.linspace(0, 1, BINS + 1)[1:-1], method="lower")
            for both in sides:
                both[at] = np.where(np.isinf(both[at]), BINS + 1, np.digitize(both[at], edges))
    return 1 - _total_variation(
        *(100_000 * np.minimum(both[0], 99_999) + np.minimum(both[1], 99_999) for both in sides)
    )


def _total_variation(first: np.ndarray, second: np.ndarray) -> float:
    values, inverse = np.unique(np.concatenate([first, second]), return_inverse=True)
    shares = [np.bincount(part, minlength=len(values)) / len(part)
              for part in (inverse[: len(first)], inverse[len(first) :])]  # fmt: skip
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _observed(batch: gv.Batch) -> np.ndarray:
    """The rows (B, D) of a batch, NaN where a value was not observed."""
    x = batch.x.flatten(1).double().cpu()
    if batch.mask is not None:
        x = x.masked_fill(~batch.mask.flatten(1).cpu(), math.nan)
    return x.numpy()


def _area(learned: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """The area under the curve on test rows, the mean over their classes; one half for a class that was not learned."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    (x, labels), (rows, wanted) = learned, test
    classes, asked = np.unique(labels), np.unique(wanted)
    if len(classes) < 2 or len(asked) < 2:
        return 0.5
    chances = HistGradientBoostingClassifier(random_state=0).fit(x, labels).predict_proba(rows)
    areas = [roc_auc_score(wanted == name, chances[:, np.searchsorted(classes, name)]) if name in classes else 0.5
             for name in asked]  # fmt: skip
    return float(np.mean(areas))
