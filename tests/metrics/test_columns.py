"""The metrics of tables: gaps, frequent values, and classes that samples do not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from ganvae_metrics.tables import ClassifierTwoSample, TableSimilarity, Utility, columns, pairs_of

import ganvae_core as gv
from ganvae_core.data.codec import batch_of

CPU = torch.device("cpu")


@dataclass
class Given:
    """A subject whose rows and samples are given."""

    spec: gv.DataSpec
    rows: gv.Batch
    made: gv.Batch
    sample_count: int = field(default=1000)

    def held_out(self, most: int | None = None) -> Iterator[gv.Batch]:
        yield self.rows

    training = held_out

    def samples(self, count: int) -> Iterator[gv.Batch]:
        yield self.made

    def once(self, name: Any, make: Callable[[], Any]) -> Any:
        return make()


def everything(frame: pa.Table, **options: Any) -> tuple[gv.DataSpec, gv.Batch]:
    from ganvae_core.builtin.sources.table import Table

    data = gv.split(Table(frame=frame, **options), held_out=0)
    return data.spec, batch_of(data, np.arange(len(data.source)), CPU)


def measured(metric: gv.Metric, spec: gv.DataSpec, rows: gv.Batch, made: gv.Batch) -> dict[str, float]:
    return dict(metric.measure(cast(gv.Subject, Given(spec, rows, made))))


@pytest.fixture(scope="module")
def frame() -> pa.Table:
    """A number that is mostly 0, and one that is far from 0 and lies where the kind says."""
    r = np.random.default_rng(0)
    kind = r.integers(0, 3, 600)
    size = np.where(r.random(600) < 0.7, 0.0, r.normal(50, 5, 600)).round(2)
    place = (100 * kind + r.normal(1000, 10, 600)).round(2)
    return pa.table({"size": size, "place": place, "kind": np.array(["a", "b", "c"])[kind]})


def test_frequent_values_are_values_and_not_the_number_beside_them(frame: pa.Table) -> None:
    """Samples that never have the frequent value are as far from the data as it is frequent."""
    spec, rows = everything(frame)
    assert spec.fields is not None
    size = spec.fields[0]
    assert size.spikes == (0.0,)
    never = rows.x.clone()
    never[:, size.numbers : size.width] = 0
    never[:, size.numbers] = 1  # an ordinary value; that of the spikes is the middle of the others
    found = measured(TableSimilarity(), spec, rows, replace(rows, x=never))
    share = 1 - float((rows.x[:, size.numbers + 1] == 1).double().mean())
    assert found["marginals"] == pytest.approx(100 * (2 + share) / 3, abs=0.01)
    assert measured(TableSimilarity(), spec, rows, rows) == pytest.approx({"marginals": 100, "pairs": 100})


def test_cells_that_were_not_observed_count_nowhere(frame: pa.Table) -> None:
    spec, rows = everything(frame)
    assert spec.fields is not None
    place, kind = spec.fields[1], spec.fields[2]
    mask = torch.ones_like(rows.x, dtype=torch.bool)
    for gap in (place, kind):
        gone = torch.rand(len(mask), generator=torch.Generator().manual_seed(gap.start)) < 0.5
        mask[gone, gap.start : gap.start + gap.width] = False
    gaps = replace(rows, x=rows.x.where(mask, 0.0), mask=mask)
    found = measured(TableSimilarity(), spec, gaps, rows)
    assert found["marginals"] > 96  # zeros in their place: 83
    assert found["pairs"] > 93
    assert np.isnan(columns(cast(gv.Subject, Given(spec, gaps, rows)), [gaps])[1].values).mean() > 0.4
    assert measured(ClassifierTwoSample(), spec, gaps, rows)["classifier_auc"] < 60
    found = measured(Utility(), spec, gaps, rows)
    assert found["utility"] > 85
    assert found["utility_real"] > 85


def test_missing_cells_that_are_learned_are_a_value(frame: pa.Table) -> None:
    place = frame.column("place").to_pylist()
    gaps = frame.set_column(
        1, "place", pa.array([None if row % 2 else value for row, value in enumerate(place)])
    )
    spec, rows = everything(gaps)
    assert spec.fields is not None
    assert spec.fields[1].missing
    never = rows.x.clone()
    never[:, spec.fields[1].start + 1] = 1
    never[:, spec.fields[1].start + 2] = 0
    found = measured(TableSimilarity(), spec, rows, replace(rows, x=never))
    assert found["marginals"] == pytest.approx(100 * 2.5 / 3, abs=0.1)


def test_the_figures_name_the_column_that_is_predicted(frame: pa.Table) -> None:
    spec, _ = everything(frame)
    assert spec.fields is not None
    last = [field.name for field in spec.fields if field.categories][-1]
    assert [one.label for one in Utility(spec).figures] == [
        f"train on samples, AUC of {last}", f"train on data, AUC of {last}"
    ]  # fmt: skip
    labelled = replace(spec, classes=("a", "b"), condition=(2,), details={"label": "wage"})
    assert Utility(labelled).figures[0].label == "train on samples, AUC of wage"


def test_a_class_that_samples_lack_is_worth_chance(frame: pa.Table) -> None:
    spec, rows = everything(frame)
    assert spec.fields is not None
    collapsed = rows.x[rows.x[:, spec.fields[2].start + 2] == 0]
    found = measured(Utility(), spec, rows, replace(rows, x=collapsed))
    assert found["utility_real"] > 95
    assert found["utility"] < 88  # two classes of three, and one half for the third


def test_of_many_pairs_those_of_the_last_columns_are_compared_too() -> None:
    drawn = np.random.default_rng(0)
    x = drawn.normal(size=(200, 60))
    x[:, 40:] = x[:, 40:41] + 0.1 * drawn.normal(size=(200, 20))
    spec, rows = everything(pa.table({f"c{at}": x[:, at] for at in range(60)}))
    shuffled = rows.x.clone()
    for at in range(40, 60):
        shuffled[:, at] = rows.x[torch.randperm(200, generator=torch.Generator().manual_seed(at)), at]
    figures = measured(TableSimilarity(), spec, rows, replace(rows, x=shuffled))
    assert figures["marginals"] == pytest.approx(100)
    assert figures["pairs"] < 97  # half of the correlation of a ninth of the pairs is lost


def test_pairs_are_drawn_from_all_pairs_without_a_list_of_them() -> None:
    assert pairs_of(3) == [(0, 1), (0, 2), (1, 2)]
    for count in (33, 1_000_000):
        found = pairs_of(count)
        assert len(set(found)) == 500
        assert all(0 <= first < second < count for first, second in found)
    assert {place for pair in pairs_of(33) for place in pair} == set(range(33))
