"""Fields: rows of a table to x and back, and the observation of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

import ganvae_core as gv
from ganvae_core.builtin.fields import Fields, FieldsData, layout_of
from ganvae_core.builtin.sources.table import Table
from ganvae_core.data.codec import Codec, in_own_units
from ganvae_core.data.specifications import read_spec
from ganvae_core.evaluation.copies import absent_categories
from ganvae_core.runs.conditions import number_of
from ganvae_core.types import DataSpec, Field
from ganvae_core.views.cells import table_of

N = 200


@pytest.fixture(scope="module")
def frame() -> pa.Table:
    r = np.random.default_rng(0)
    gain = np.where(r.random(N) < 0.7, 0, r.integers(1, 5000, N))
    kind = r.choice(["red", "green", "blue"], N)
    return pa.table({
        "height": np.round(r.normal(170, 10, N), 1),
        "gain": pa.array(gain, mask=r.random(N) < 0.1),
        "wealth": np.exp(r.normal(8, 2, N)),
        "kind": pa.array([None if r.random() < 0.2 else one for one in kind]),
        "rare": [f"c{int(one)}" for one in r.exponential(3, N)],
        "when": pa.array(np.datetime64("2020-01-01T00:00", "s") + r.integers(0, 10**6, N) * 60, mask=r.random(N) < 0.1),
        "day": pa.array(np.datetime64("2021-03-01", "D") + r.integers(0, 300, N)),
        "flag": r.random(N) < 0.5,
        "fixed": [2.5] * N,
    })  # fmt: skip


def encoded(source: Table) -> tuple[np.ndarray, torch.Tensor]:
    rows = source.rows(slice(None))
    batch = Codec(source.spec, torch.device("cpu")).encode(rows, np.arange(len(source)), labels=False)
    assert batch.mask is None
    return rows.x, batch.x


@pytest.mark.parametrize("numbers", ["auto", "standardised", "quantile", "mixture"])
def test_rows_come_back_from_x_in_types_and_order(frame: pa.Table, numbers: str) -> None:
    source = Table(frame=frame, numbers=numbers)  # pyright: ignore[reportArgumentType]
    rows, x = encoded(source)
    assert x.shape[1:] == source.spec.shape
    back = in_own_units(x.numpy(), source.spec)
    np.testing.assert_allclose(back, rows, rtol=1e-4)
    made = table_of(back, source.spec, {})
    assert made.schema.equals(frame.schema)
    for name in ("height", "gain", "kind", "rare", "when", "day", "flag", "fixed"):
        assert made.column(name).to_pylist() == frame.column(name).to_pylist()


def test_a_specification_goes_through_json(frame: pa.Table) -> None:
    spec = Table(frame=frame).spec
    assert read_spec(spec.as_dict()) == spec


def test_any_output_of_a_model_is_a_row_of_the_table(frame: pa.Table) -> None:
    source = Table(frame=frame, max_categories=4)
    x = 10 * np.random.default_rng(1).normal(size=(500, *source.spec.shape)).astype(np.float32)
    made = table_of(in_own_units(x, source.spec), source.spec, {})
    for name in frame.column_names:
        values = [value for value in frame.column(name).to_pylist() if value is not None]
        found = {value for value in made.column(name).to_pylist() if value is not None}
        if name in ("kind", "rare", "flag", "fixed"):
            assert found <= set(values)
        else:
            assert min(values) <= min(found)
            assert max(found) <= max(values)
    assert len(set(made.column("rare").to_pylist())) > 4  # those that share a position occur


def test_a_mean_has_the_number_that_an_ordinary_cell_has(frame: pa.Table) -> None:
    spec = Table(frame=frame, columns=["height", "gain"]).spec
    observation = Fields(spec)
    raw = torch.zeros(2, *observation.raw_shape(spec))
    raw[:, 1] = 0.7  # of gain, which is an ordinary value here with a probability of one half, and surely
    raw[0, 2:], raw[1, 2] = torch.tensor([0.5, 0.3, 0.2]).log(), 50.0
    likely, certain = in_own_units(observation(raw).mean.detach().numpy(), spec)
    assert certain[1] > 0
    np.testing.assert_allclose(likely, certain)


def test_times_come_back_at_their_place_in_the_week_and_the_day(frame: pa.Table) -> None:
    source = Table(frame=frame)
    rows, x = encoded(source)
    field = next(field for field in source.spec.fields or () if field.name == "when")
    x[:, field.start] += 1e-3  # hours, in a number of days
    back = in_own_units(x.numpy(), source.spec)[:, 5]
    same = np.isnan(rows[:, 5]) | (back % 86_400 == rows[:, 5] % 86_400)
    assert same.mean() > 0.98


def test_the_likelihood_of_fields_is_a_density(frame: pa.Table) -> None:
    """Drawn with known probabilities, the mean log-likelihood is the negative entropy that they have."""
    torch.manual_seed(0)
    spec = Table(frame=frame, columns=["height", "gain", "kind"]).spec
    for components in (1, 3):
        observation = Fields(spec, components=components)
        raw = torch.randn(1, *observation.raw_shape(spec)).expand(20_000, -1)
        observed = observation(raw)
        assert isinstance(observed, FieldsData)
        x = observed.sample()
        other = observation(raw + 0.3)
        # Gibbs: no other distribution has a higher likelihood for draws from this one.
        assert observed.log_prob(x).mean() > other.log_prob(x).mean()
        # E[exp(log q - log p)] is 1 for normalised p and q.
        ratio = (other.log_prob(x) - observed.log_prob(x)).exp().mean()
        assert abs(ratio - 1) < 0.1
        torch.testing.assert_close(x.mean(0), observed.mean[0], atol=0.1, rtol=0.1)


def test_hidden_cells_add_nothing_to_the_likelihood(frame: pa.Table) -> None:
    source = Table(frame=frame)
    _, x = encoded(source)
    observation = Fields(source.spec)
    observed = observation(torch.randn(len(x), *observation.raw_shape(source.spec)))
    whole = observed.log_prob(x)
    total = torch.zeros(len(x))
    for field in source.spec.fields or ():
        mask = torch.zeros_like(x, dtype=torch.bool)
        mask[:, field.start : field.start + field.width] = True
        total += observed.log_prob(x, mask)
    torch.testing.assert_close(total, whole, atol=1e-3, rtol=1e-4)
    changed = x.clone()
    changed[:, 0] = 99.0
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 0] = False
    assert torch.equal(observed.log_prob(changed, mask), observed.log_prob(x, mask))


def test_a_point_of_a_mixed_table_looks_like_a_row_and_is_differentiable(frame: pa.Table) -> None:
    spec = Table(frame=frame).spec
    raw = torch.randn(50, *spec.shape, requires_grad=True)
    x = gv.Point(spec)(raw).mean
    layout = layout_of(spec)
    chosen = x[:, layout.choices]
    assert set(chosen.detach().round(decimals=5).unique().tolist()) <= {0.0, 1.0}
    assert (x[:, layout.numbers][layout.are_there(x) < 0.5] == 0).all()
    x.square().sum().backward()
    assert raw.grad is not None
    assert (raw.grad[:, layout.choices] != 0).any()


def test_plain_observations_refuse_categories(frame: pa.Table) -> None:
    spec = Table(frame=frame).spec
    with pytest.raises(gv.ConfigurationError, match="column 'gain' is not a plain number"):
        gv.Gaussian(spec)
    with pytest.raises(gv.ConfigurationError, match="for tables"):
        Fields(DataSpec((3,)))


def test_a_condition_is_typed_as_the_table_has_it() -> None:
    when = gv.Field("when", "date", format="%d.%m.%Y")
    assert number_of("01.05.2020", when) == number_of("2020-05-01", when) == 1_588_291_200
    assert number_of("1,8", gv.Field("size")) == number_of("1.8", gv.Field("size")) == 1.8
    assert number_of("0,125", gv.Field("size")) == 0.125
    with pytest.raises(gv.ConfigurationError, match="size=1,800: it takes a number"):
        number_of("1,800", gv.Field("size"))
    with pytest.raises(gv.ConfigurationError, match="it takes a date like 2024-01-31"):
        number_of("1st of May", when)


def test_categories_that_are_never_made_are_found() -> None:
    kinds = ["red"] * 60 + ["green"] * 35 + ["blue"] * 5
    source = Table(frame=pa.table({"kind": kinds, "height": np.random.default_rng(0).normal(size=100)}))
    rows, fields = source.rows(slice(None)).x, source.spec.fields or ()
    assert absent_categories(rows, fields) == []
    assert absent_categories(rows[60:], fields) == ["kind=red"]
    assert absent_categories(rows[:60], fields) == ["kind=green"]  # three blue ones are few enough for chance
    assert absent_categories(rows[:60], [Field("kind", "category", categories=("red", "green"))]) == []


def test_other_rows_are_read_by_the_fields_of_the_first(frame: pa.Table, tmp_path: Path) -> None:
    spec = Table(frame=frame, label="flag").spec
    other = frame.slice(0, 5).drop_columns(["flag"]).set_column(1, "gain", pa.array([0, 10**6, 0, 1, None]))
    source = Table(spec, frame=other)
    assert source.spec.fields == spec.fields
    assert any("no column 'flag'" in note for note in source.notes)
    batch = Codec(source.spec, torch.device("cpu")).encode(
        source.rows(slice(None)), np.arange(5), labels=False
    )
    assert batch.x.isfinite().all()
    assert np.isnan(source.rows(slice(None)).x[:, 7]).all()
    with pytest.raises(gv.DataError, match="no column 'height'"):
        Table(spec, frame=frame.drop_columns(["height", "flag"]))


def test_a_conditional_model_of_a_table_learns_and_is_asked_by_column(
    frame: pa.Table, tmp_path: Path
) -> None:
    run = gv.train(
        "vae", data=frame, steps=3, out=tmp_path / "r",
        overrides={"data.condition": ["kind", "flag"], "generator.hidden": [8], "encoder.hidden": [8]},
    )  # fmt: skip
    assert run.spec.columns is not None
    assert "kind" not in run.spec.columns
    conditions = run.condition(["kind=red"], 50)
    fields = run.spec.condition_fields
    assert fields is not None
    rows = in_own_units(conditions.numpy(), DataSpec((9,), None, "table", None, 0, fields))
    assert (rows[:, 0] == fields[0].categories.index("red")).all()
    assert len(np.unique(rows[:, 1])) == 2  # the other column as in the data
    made = table_of(run.sample(50, condition=conditions), run.spec, {"kind": rows[:, 0], "flag": rows[:, 1]})
    assert made.schema.equals(frame.schema)
    with pytest.raises(gv.ConfigurationError, match=r"no value 'rde'\. Did you mean 'red'"):
        run.condition(["kind=rde"], 1)
    codes = run.encode(run.open_data(frame), np.arange(10))
    assert np.isfinite(codes).all()
    assert isinstance(run.model, nn.Module)


def test_a_number_that_is_asked_for_once_is_not_asked_for_ever_after(frame: pa.Table, tmp_path: Path) -> None:
    run = gv.train(
        "vae", data=frame, steps=1, out=tmp_path / "r",
        overrides={"data.condition": ["kind", "height"], "generator.hidden": [8], "encoder.hidden": [8]},
    )  # fmt: skip
    before = run.condition(["kind=red"], 20)
    asked = run.condition(["height=165"], 20)
    assert len(asked[:, 0].unique()) == 1
    torch.testing.assert_close(run.condition(["kind=red"], 20), before, rtol=0, atol=0)
