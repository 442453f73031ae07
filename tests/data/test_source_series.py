"""Series: which windows there are, which are held out, gaps, times, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from command_line import Say
from ganvae_sequence.clock import times_of
from ganvae_sequence.series import Series
from ganvae_sequence.series_networks import SeriesGenerator
from ganvae_sequence.series_view import SeriesView

import ganvae_core as gv
from ganvae_core.builtin.sources.parts import parts
from ganvae_core.config.configuration import Draft
from ganvae_core.data.packed import pack
from ganvae_core.plugins import installed_plugins
from ganvae_core.views.showing import with_gaps


@pytest.fixture
def hours(tmp_path: Path) -> str:
    """Ten hours of two columns, out of order; the sixth hour is absent, and one value of the third."""
    lines = [f"2024-03-01 {at:02}:00:00,{at},{'' if at == 2 else 10 * at}" for at in range(10) if at != 5]
    path = tmp_path / "hours.csv"
    path.write_text("\n".join(["when,a,b", *reversed(lines)]), encoding="utf-8")
    return str(path)


def test_windows_are_in_the_order_of_time_and_gaps_are_masked(hours: str) -> None:
    source = Series(path=hours, window=4, stride=4)
    rows = source.rows(slice(None))
    assert rows.mask is not None
    assert rows.x[0, :, 0].tolist() == [0, 1, 2, 3]
    assert rows.mask[0].tolist() == [[True, True], [True, True], [True, False], [True, True]]
    assert rows.mask[1, :, 0].tolist() == [True, False, True, True]
    assert rows.x[1, 1].tolist() == pytest.approx(source.spec.units.offset)


def test_a_picture_has_a_gap_where_a_value_is_missing(hours: str) -> None:
    rows = Series(path=hours, window=4, stride=4).rows(slice(None))
    assert rows.mask is not None
    shown = with_gaps(rows.x, rows.mask, SeriesView())
    assert np.array_equal(~np.isnan(shown), rows.mask)


def test_no_held_out_window_overlaps_one_of_training(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(8_000.0)[:, None])
    source = Series(path=str(tmp_path / "x.npy"), stride=5)
    found = gv.split(source)
    values = [set(source.rows(part).x[..., 0].ravel().tolist()) for part in (found.training, found.held_out)]
    assert not values[0] & values[1]
    assert len(found.held_out) / len(source) == pytest.approx(0.1, abs=0.03)


def test_windows_of_an_array_are_its_rows(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 12, 3))
    np.save(tmp_path / "x.npy", x)
    source = Series(path=str(tmp_path / "x.npy"), stride=12)
    assert source.groups is None
    assert np.array_equal(source.rows(slice(None)).x, x.astype(np.float32))


def test_other_data_has_the_columns_the_window_and_the_scale_of_training(hours: str) -> None:
    trained = Series(path=hours, window=3, columns=("b",)).spec
    assert Series(trained, path=hours).spec == trained


def test_values_that_stand_for_missing_ones_are_masked(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        "when,a\n" + "".join(f"2024-03-{day:02},{-200 if day % 5 == 0 else day}\n" for day in range(1, 31))
    )
    rows = Series(path=str(path), window=5, stride=5, missing_values=("-200",)).rows(slice(None))
    assert rows.mask is not None
    assert rows.mask[:, :, 0].tolist() == [[True] * 4 + [False]] * 6


def test_samples_are_written_with_times(hours: str, tmp_path: Path) -> None:
    source, path = Series(path=hours, window=4), tmp_path / "new.csv"
    SeriesView().write(source.rows(np.array([0, 0])).x, source.spec, path, {})
    table = pyarrow.csv.read_csv(path).to_pydict()
    assert list(table) == ["window", "when", "a", "b"]
    assert [str(time) for time in table["when"][4:6]] == ["2024-03-01 00:00:00", "2024-03-01 01:00:00"]
    assert (table["window"], table["a"][:4]) == ([0] * 4 + [1] * 4, [0, 1, 2, 3])


def written(times: Sequence[str], tmp_path: Path) -> Series:
    path = tmp_path / "times.csv"
    path.write_text("when,a\n" + "".join(f"{time},{at}\n" for at, time in enumerate(times)), encoding="utf-8")
    return Series(path=str(path), window=3)


def gaps(source: Series) -> int:
    mask = source.rows(slice(None)).mask
    return 0 if mask is None else int((~mask).sum())


def months(count: int, every: int = 1) -> list[np.datetime64]:
    return list(np.datetime64("1998-01") + every * np.arange(count))


@pytest.mark.parametrize(
    ("times", "second"),
    [
        ([f"{month}-01" for month in months(120)], "1998-02-01T00:00:00"),
        ([f"{month}-15 06:00:00" for month in months(40, 3)], "1998-04-15T06:00:00"),
        ([str((month + 1).astype("datetime64[D]") - 1) for month in months(120)], "1998-02-28T00:00:00"),
        ([f"{month}-01" for month in months(30, 12)], "1999-01-01T00:00:00"),
        (
            [f"2024-01-01 00:00:0{at // 4}.{25 * (at % 4):02}" for at in range(40)],
            "2024-01-01T00:00:00.250000",
        ),
        (
            [f"2024-01-01 00:00:{at // 3:02}.{round(1000 * (at % 3) / 3):03}" for at in range(180)],
            "2024-01-01T00:00:00.333333",
        ),
    ],
    ids=["months", "quarters", "ends of months", "years", "quarters of seconds", "thirds of seconds"],
)
def test_times_far_from_the_first_keep_their_places(times: list[str], second: str, tmp_path: Path) -> None:
    whole = written(times, tmp_path)
    assert gaps(whole) == 0
    assert len(np.unique(whole.rows(slice(None)).x)) == len(times)
    assert str(times_of(whole.spec.details, 3)[1]) == second
    assert gaps(written([*times[:-9], *times[-8:]], tmp_path))


@pytest.mark.parametrize("written_as", ["%d.%m.%Y", "%Y-%m", "%m/%Y", "%Y/%m/%d 00:00"])
def test_times_are_found_however_a_table_writes_dates(written_as: str, tmp_path: Path) -> None:
    firsts = [month.astype("datetime64[D]").item() for month in months(40)]
    source = written([day.strftime(written_as) for day in firsts], tmp_path)
    assert source.notes == ()
    assert [str(time)[:10] for time in times_of(source.spec.details, 3)] == [
        "1998-01-01",
        "1998-02-01",
        "1998-03-01",
    ]


def test_a_series_whose_steps_are_others_than_those_of_training_is_refused(
    hours: str, tmp_path: Path
) -> None:
    daily = written([f"2024-01-{day:02}" for day in range(1, 20)], tmp_path)
    trained = replace(daily.spec, details={**daily.spec.details, "columns": ["a"]})
    with pytest.raises(gv.DataError, match=r"are hours \(3600\), and those of training days \(86400\)"):
        Series(trained, path=hours)


def test_a_short_series_holds_out_a_part_or_says_that_it_does_not(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(240.0)[:, None])
    source = Series(path=str(tmp_path / "x.npy"))
    found = gv.split(source)
    values = [set(source.rows(part).x.ravel().tolist()) for part in (found.training, found.held_out)]
    assert values[1]
    assert not values[0] & values[1]
    assert source.notes == ()
    np.save(tmp_path / "x.npy", np.arange(100.0)[:, None])
    assert "none is held out" in Series(path=str(tmp_path / "x.npy")).notes[-1]


def test_a_prepared_folder_keeps_the_parts_that_are_held_out_together(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(2_000.0)[:, None])
    source = Series(path=str(tmp_path / "x.npy"), window=10, stride=3)
    pack(source, "x", tmp_path / "packed", lambda done: None)
    before, after = (gv.split(each) for each in (source, parts(path=str(tmp_path / "packed"))))
    assert len(before.held_out)
    assert np.array_equal(before.held_out[:], after.held_out[:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,a\n2024-01-01,1\n2024-01-01,2\n", "a time twice"),
        ("when,a\n2024-01-01,1\n2024-01-02,2\n", "fewer than data.window=24"),
        ("when,a\n1,1\n2,2\n2.2,3\n3,4\n4,4\n", "not evenly spaced"),
    ],
)
def test_times_that_make_no_series_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "times.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(gv.DataError, match=message):
        Series(path=str(path), time="when")


def test_what_is_left_out_of_a_table_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("day,a,place\n" + "".join(f"{at}. May,{at},here\n" for at in range(9)), encoding="utf-8")
    notes = " · ".join(Series(path=str(path), window=3).notes)
    assert "left out: day, place" in notes
    assert "rows are taken in their order" in notes
    with pytest.raises(gv.DataError, match=r"column 'place' of .* has values that are not numbers"):
        Series(path=str(path), window=3, columns=("place",))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_column_without_finite_values_is_refused(tmp_path: Path, value: float) -> None:
    np.save(tmp_path / "x.npy", np.stack([np.arange(50.0), np.full(50, value)], 1))
    with pytest.raises(gv.DataError, match=r"of the series has no values|infinite values"):
        Series(path=str(tmp_path / "x.npy"))


@pytest.mark.parametrize(
    ("recipes", "source"), [("series-vae/tides", "series-vae/series"), (None, "builtin/table")]
)
def test_a_table_is_a_series_where_the_recipe_is_for_series(
    hours: str, recipes: str | None, source: str
) -> None:
    draft = Draft(installed_plugins())
    for layer in ({"data": recipes} if recipes else {}, {"data": hours}):
        draft.apply(layer)
    assert draft.finish("", "", needed=("data",)).components["data"].id == source


def test_the_recipe_that_is_named_for_series_is_that_of_series() -> None:
    assert SeriesView.plugin in installed_plugins().with_recipes()
    assert SeriesView.plugin == "series-vae"


def test_dates_of_birth_are_not_taken_for_a_series(tmp_path: Path, say: Say) -> None:
    some, path = np.random.default_rng(0).permutation(20_000)[:400], tmp_path / "people.csv"
    for days, is_series in ((some, False), (np.arange(400), True)):
        lines = [f"{day},{150 + at % 50},{at % 7}" for at, day in enumerate(days.astype("datetime64[D]"))]
        path.write_text("\n".join(["born,height,kind", *lines]), encoding="utf-8")
        assert ("--plugin series-vae" in say("data", path).err) == is_series


def test_fine_features_of_the_code_reach_the_times_that_they_are_of() -> None:
    torch.manual_seed(0)
    generator, z = SeriesGenerator([4], (10, 2), filters=2, stages=2, fine=3).eval(), torch.randn(1, 4)
    with torch.no_grad():
        before = generator(z)
        generator.fine.bias.unflatten(0, (3, 10))[:, 9] += 1.0  # pyright: ignore
        changed = (generator(z) != before).any(-1)[0]
    assert before.shape == (1, 10, 2)
    assert torch.equal(changed, torch.arange(10) >= 7)  # the last convolution sees two times on each side
    with pytest.raises(gv.ConfigurationError, match="for convolutions"):
        SeriesGenerator([4], (10, 2), network="recurrent", fine=3)


def test_times_that_are_texts_in_a_parquet_file_are_read(hours: str, tmp_path: Path) -> None:
    table = pyarrow.csv.read_csv(hours)
    when = table["when"].cast(pyarrow.string())
    for name, column in (("text", when), ("coded", when.dictionary_encode())):
        path = tmp_path / f"{name}.parquet"
        pyarrow.parquet.write_table(table.set_column(0, "when", column), path)
        read = Series(path=str(path), time="when", window=4, stride=4)
        assert np.array_equal(
            read.rows(slice(None)).x, Series(path=hours, window=4, stride=4).rows(slice(None)).x
        )
    pyarrow.parquet.write_table(
        table.set_column(0, "when", pyarrow.array(["soon"] * len(table))), tmp_path / "no.parquet"
    )
    with pytest.raises(gv.DataError, match=r"has no times: .*soon"):
        Series(path=str(tmp_path / "no.parquet"), time="when", window=4)
