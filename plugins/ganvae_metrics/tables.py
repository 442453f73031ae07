"""Metrics of tables: columns, pairs of columns, and what a classifier learns from samples.

They compare rows in the model's space, where numbers are standardised and categories are one-hot, field by field.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple, final

import numpy as np
import torch

import ganvae_core as gv

BINS = 10
"""Quantiles that a number is put in to compare it with a category."""
MOST_PAIRS = 500
FEWEST_ROWS = 100
"""That gradient boosting learns anything from."""


class Column(NamedTuple):
    """One field of a sample: numbers (N,), or category numbers (N,)."""

    values: np.ndarray
    is_category: bool


@final
class TableSimilarity(gv.Metric):
    """How alike the columns of samples and held-out rows are, by themselves and in pairs.

    ``marginals``: the mean over columns of one minus the Kolmogorov-Smirnov distance (numbers) or the total variation
    distance (categories). ``pairs``: the mean over pairs of columns of one minus half the difference of correlations
    (numbers), or one minus the total variation distance of the joint frequencies (categories, numbers in ten
    quantiles). Definitions as SDMetrics has them. Independent columns reach high marginals, and good pairs too where
    columns hardly depend on each other: look at that floor.
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
        both = list(itertools.combinations(range(len(real)), 2))[:MOST_PAIRS]
        together = [pair((real[a], real[b]), (made[a], made[b])) for a, b in both]
        values = {"marginals": 100 * float(np.mean(alone))}
        return values | ({"pairs": 100 * float(np.mean(together))} if together else {})


@final
class Utility(gv.Metric):
    """What a classifier that learned from samples is worth on data: train on synthetic, test on real.

    Gradient boosting (scikit-learn) learns the label from the samples of a conditional model, or one column of a table
    from the others, and is tested on held-out rows. ``utility_real`` learned from as many training rows: the ceiling.

    Args:
        column: of the table that is to be predicted; by default the last category. A conditional model's label comes
            before it.
    """

    needs = frozenset(("prior",))
    cheap = False
    figures = (
        gv.Figure("utility", "train on samples, AUC", "%", "higher"),
        gv.Figure("utility_real", "train on data, AUC", "%", "higher"),
    )

    def __init__(self, *, column: str | None = None) -> None:
        self.column = column

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """Areas under the curve in percent, the mean of each class against the rest where there are more than two."""
        made = self._features(subject, subject.samples(subject.sample_count))
        real = self._features(subject, subject.training(subject.sample_count))
        test = self._features(subject, subject.held_out())
        return {"utility": 100 * _area(made, test), "utility_real": 100 * _area(real, test)}

    def _features(self, subject: gv.Subject, batches: Iterable[gv.Batch]) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, F) and classes (N,)."""
        kept = list(batches)
        x = torch.cat([batch.x.flatten(1).double().cpu() for batch in kept]).numpy()
        if self.column is None and subject.spec.condition is not None and subject.spec.classes:
            labels = [subject.labels(batch) for batch in kept]
            if any(part is None for part in labels):
                raise gv.NotApplicable("these samples have no labels")
            return x, torch.cat([part.cpu() for part in labels if part is not None]).numpy()
        fields = subject.spec.fields or ()
        named = [field for field in fields if field.categories and self.column in (None, field.name)]
        if not named:
            raise gv.NotApplicable("there is no category to predict" if self.column is None
                                   else f"there is no category '{self.column}'")  # fmt: skip
        field = named[-1]
        wanted = x[:, field.start : field.start + field.width].argmax(1)
        return np.delete(x, np.s_[field.start : field.start + field.width], axis=1), wanted


@final
class ClassifierTwoSample(gv.Metric):
    """How well gradient boosting tells samples from held-out rows: the area under its curve on rows it did not see.

    50 % where it cannot, 100 % where samples are apart from the data. Stricter than any comparison of columns.
    """

    needs = frozenset(("prior",))
    cheap = False
    figures = (gv.Figure("classifier_auc", "classifier AUC (50 ideal)", "%", "lower"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``classifier_auc`` in percent; half of the rows are learned from."""
        real = [batch.x.flatten(1).double().cpu() for batch in subject.held_out(subject.sample_count)]
        made = [batch.x.flatten(1).double().cpu() for batch in subject.samples(subject.sample_count)]
        rows, others = torch.cat(real).numpy(), torch.cat(made).numpy()
        count = min(len(rows), len(others))
        if count < FEWEST_ROWS:
            raise gv.NotApplicable(f"a classifier needs {FEWEST_ROWS} held-out rows, and there are {count}")
        x = np.concatenate([rows[:count], others[:count]])
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
    x = torch.cat([batch.x.double().cpu() for batch in batches]).numpy()
    if len(x) < 2:
        raise gv.NotApplicable("fewer than two rows are held out")
    if subject.spec.fields is None:
        return [Column(column, False) for column in x.T]
    return [
        Column(x[:, field.start : field.start + field.width].argmax(1), True)
        if field.width > 1 and field.categories
        else Column(x[:, field.start], False)
        for field in subject.spec.fields
    ]


def marginal(real: Column, made: Column) -> float:
    """One minus the Kolmogorov-Smirnov or the total variation distance."""
    if real.is_category:
        return 1 - _total_variation(real.values, made.values)
    from scipy.stats import ks_2samp

    return 1 - float(ks_2samp(real.values, made.values, method="asymp")[0])  # pyright: ignore


def pair(real: tuple[Column, Column], made: tuple[Column, Column]) -> float:
    """The similarity of how two columns depend on each other."""
    if not any(column.is_category for column in real):
        first, second = (_correlation(*(column.values for column in both)) for both in (real, made))
        return 1 - abs(first - second) / 2
    joint: list[np.ndarray] = []
    edges = [None if column.is_category else np.quantile(column.values, np.linspace(0, 1, BINS + 1)[1:-1])
             for column in real]  # fmt: skip
    for both in (real, made):
        binned = [column.values if edge is None else np.digitize(column.values, edge)
                  for column, edge in zip(both, edges, strict=True)]  # fmt: skip
        joint.append(binned[0].astype(np.int64) * 100_000 + binned[1])
    return 1 - _total_variation(*joint)


def _total_variation(first: np.ndarray, second: np.ndarray) -> float:
    values, inverse = np.unique(np.concatenate([first, second]), return_inverse=True)
    shares = [np.bincount(part, minlength=len(values)) / len(part)
              for part in (inverse[: len(first)], inverse[len(first) :])]  # fmt: skip
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _area(learned: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """The area under the curve on test rows; one half where a class is missing on either side."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    (x, labels), (rows, wanted) = learned, test
    classes = np.unique(labels)
    if len(classes) < 2 or len(np.unique(wanted)) < 2:
        return 0.5
    model = HistGradientBoostingClassifier(random_state=0).fit(x, labels)
    keep = np.isin(wanted, classes)
    chances = model.predict_proba(rows[keep])
    areas = [roc_auc_score(wanted[keep] == name, chances[:, number])
             for number, name in enumerate(classes) if 0 < (wanted[keep] == name).sum() < keep.sum()]  # fmt: skip
    return float(np.mean(areas)) if areas else 0.5
