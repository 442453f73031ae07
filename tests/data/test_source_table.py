"""Tables: how files are read, which kind each column is, and what may not be in them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from ganvae_core.builtin.sources import storage
from ganvae_core.builtin.sources.table import Table
from ganvae_core.errors import DataError, setting
from ganvae_core.types import Field
from ganvae_core.views.table import write_table

CSV = "age,height,kind\n30,1.5,cat\n40,1.75,dog\n50,2.0,cat\n"


def text(folder: Path, content: str, name: str = "t.csv") -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def parquet(folder: Path, columns: dict[str, object], rows_at_once: int = 2) -> str:
    pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=rows_at_once)
    return str(folder / "t.parquet")


def fields(source: Table) -> dict[str, Field]:
    return {field.name: field for field in source.spec.fields or ()}


def kinds(source: Table) -> dict[str, str]:
    return {name: field.kind for name, field in fields(source).items()}


def test_columns_keep_their_names_and_the_label_is_learned_too(tmp_path: Path) -> None:
    source = Table(path=text(tmp_path, CSV), label="kind")
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert x.tolist() == [[30, 1.5, 0], [40, 1.75, 1], [50, 2.0, 0]]
    assert np.shares_memory(x, source.rows(slice(1, 2)).x)
    spec = source.spec
    assert spec.columns == ("age", "height", "kind")
    assert (spec.shape, spec.range, spec.units.dtype, spec.count) == ((4,), None, "float64", 3)
    assert spec.classes == ("cat", "dog")
    assert labels is not None
    assert labels.tolist() == [0, 1, 0]


def test_a_label_that_is_the_condition_is_not_learned(tmp_path: Path) -> None:
    for condition, label in ((True, "kind"), (["kind"], None)):
        source = Table(None, condition, path=text(tmp_path, CSV), label=label)
        assert source.spec.columns == ("age", "height")
        assert source.spec.classes == ("cat", "dog")
        assert source.spec.details["columns"] == ["age", "height", "kind"]


def test_two_columns_of_numbers_are_points_and_others_a_table(tmp_path: Path) -> None:
    path = text(tmp_path, "a,b,c\n1,2,3\n2,3,5\n")
    assert Table(path=path).spec.modality == "table"
    assert Table(path=path, columns=["c", "a"]).spec.modality == "points"
    assert Table(path=path, columns=["b"]).spec.modality == "table"


def test_chosen_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    for path in (text(tmp_path, CSV), parquet(tmp_path, {"age": [30, 40, 50], "height": [1.5, 1.75, 2.0]})):
        source = Table(path=path, columns=["height", "age"])
        assert source.spec.columns == ("height", "age")
        assert source.rows(slice(1)).x.tolist() == [[1.5, 30.0]]
    assert Table(path=text(tmp_path, CSV), drop=["age", "kind"]).spec.columns == ("height",)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (CSV.replace(",", "\t"), "t.tsv"),
        (CSV.replace(",", "\t"), "t.csv"),
        (CSV.replace(",", ";"), "t.csv"),
        (CSV.replace(",", "|"), "t.csv"),
        (CSV.replace(",", "   "), "t.csv"),
        (CSV.replace(",", ";").replace(".", ","), "t.csv"),
        (CSV.replace(",", ", "), "t.csv"),
        ('"age", "height", "kind"\n30, 1.5, "cat"\n40, 1.75, "dog"\n50, 2.0, "cat"\n', "t.csv"),
        ("# made by hand\n" + CSV, "t.csv"),
        ("\ufeff" + CSV, "t.csv"),
    ],
    ids=["tsv", "tabs", "semicolons", "bars", "blanks", "decimal commas", "blanks after commas", "quotes after blanks",
         "comments", "byte order mark"],
)  # fmt: skip
def test_however_a_text_file_is_written_it_is_the_same_table(tmp_path: Path, content: str, name: str) -> None:
    source = Table(path=text(tmp_path, content, name))
    assert source.spec.columns == ("age", "height", "kind")
    assert source.rows(slice(None)).x.tolist() == [[30, 1.5, 0], [40, 1.75, 1], [50, 2.0, 0]]
    assert fields(source)["kind"].categories == ("cat", "dog")


def test_headings_may_have_commas_in_them(tmp_path: Path) -> None:
    content = "Size, mm;Weight, g\n" + "".join(f"{n}.5;{n * n}.25\n" for n in range(1, 20))
    assert Table(path=text(tmp_path, content)).spec.columns == ("Size, mm", "Weight, g")


def test_a_list_that_splits_a_heading_is_answered_with_the_quotes_that_it_needs(tmp_path: Path) -> None:
    content = "Size, mm;kg;id\n" + "".join(f"{n}.5;{n * n}.25;{n}\n" for n in range(1, 20))
    with pytest.raises(DataError) as caught:
        Table(path=text(tmp_path, content), drop=["Size", "mm", "id"])
    hint = "quote names that have a comma:  'data.drop=[\"Size, mm\", id]'"
    assert hint in caught.value.hints


def test_other_encodings_are_read(tmp_path: Path) -> None:
    for encoding in ("utf-16", "latin-1"):
        (tmp_path / "t.csv").write_text(CSV.replace("height", "größe"), encoding)
        assert Table(path=str(tmp_path / "t.csv")).spec.columns == ("age", "größe", "kind")


def test_zipped_files_and_feather_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write(CSV)
    pyarrow.feather.write_feather(pa.table({"a": [1.5, 2.5, 4.0]}), tmp_path / "t.feather")
    assert len(Table(path=str(tmp_path / "t.csv.gz"))) == 3
    assert len(Table(path=str(tmp_path / "t.feather"))) == 3


@pytest.mark.parametrize(
    ("content", "columns", "count"),
    [
        ("1.5,2.5\n3,4\n5,6\n", ("column_1", "column_2"), 3),
        ("5.1,a\n4.9,b\n4.7,a\n4.6,b\n", ("column_1", "column_2"), 4),
        ("country,2019,2020\nA,1,2\nB,2,3\n", ("country", "2019", "2020"), 2),
        ("name,age\nAnn,3\nBob,4\n", ("name", "age"), 2),
    ],
)
def test_a_first_line_of_data_is_no_line_of_names(
    tmp_path: Path, content: str, columns: tuple[str, ...], count: int
) -> None:
    source = Table(path=text(tmp_path, content))
    assert (source.spec.columns, len(source)) == (columns, count)
    assert any("names no columns" in note for note in source.notes) == (columns[0] == "column_1")
    assert len(Table(path=str(tmp_path / "t.csv"), header=True)) == content.count("\n") - 1


def test_a_value_of_the_first_row_is_no_name_of_a_column(tmp_path: Path) -> None:
    path = text(tmp_path, "1.5,white\n2.5,red\n3.5,white\n")
    with pytest.raises(DataError, match="no column 'white'") as caught:
        Table(path=path, label="white")
    assert "names no columns" in str(caught.value)


def test_a_table_without_the_condition_of_a_run_says_how_to_give_it(tmp_path: Path) -> None:
    trained = Table(None, ["kind"], path=text(tmp_path, CSV)).spec
    with pytest.raises(DataError, match="no column 'kind'") as caught:
        Table(trained, ["kind"], path=text(tmp_path, "age,height\n30,1.5\n40,1.75\n", "other.csv"))
    assert "--condition COLUMN=VALUE" in str(caught.value)


def test_kinds_are_found(tmp_path: Path) -> None:
    n = 100
    columns: dict[str, object] = {
        "id": [f"p{number}" for number in range(n)],
        "Unnamed: 0": list(range(n)),
        "number": np.random.default_rng(0).normal(size=n),
        "whole": [number * number for number in range(n)],
        "grade": [number % 5 for number in range(n)],
        "flag": [number % 2 == 0 for number in range(n)],
        "day": pa.array(np.arange("2024-01-01", n, dtype="datetime64[D]")),
        "fixed": [7.5] * n,
        "remark": [
            f"a long remark of its own, number {number}, on the life of this person" for number in range(n)
        ],
        "empty": pa.nulls(n, pa.float64()),
    }
    source = Table(path=parquet(tmp_path, columns))
    assert kinds(source) == {
        "number": "number", "whole": "whole", "grade": "category", "flag": "flag", "day": "date", "fixed": "constant",
    }  # fmt: skip
    left_out = {name: kind for name, kind, _ in source.spec.details["left_out"]}
    assert left_out == {"id": "identifier", "Unnamed: 0": "identifier", "remark": "text", "empty": "empty"}
    assert any("column 'id' is left out" in note for note in source.notes)


@pytest.mark.parametrize(
    ("name", "values", "learned"),
    [
        ("Kunden-Nr", [100_000 + 7 * n for n in range(60)], False),  # names of identifiers
        ("customerID", [(n * n * 37) % 9_973 for n in range(1, 61)], False),
        ("Unnamed: 0", [(n * 17) % 101 for n in range(1, 61)], False),  # the index of shuffled rows
        ("rank", [(n * 17) % 61 for n in range(1, 61)], False),  # each number of 1 to 60, once
        ("income", [(n * n * 37) % 9_973 for n in range(1, 61)], True),
        ("paid", [(n * n * 37) % 9_973 for n in range(1, 61)], True),
    ],
)
def test_whole_numbers_that_count_rows_are_left_out(
    name: str, values: list[int], learned: bool, tmp_path: Path
) -> None:
    source = Table(path=parquet(tmp_path, {name: values, "x": np.linspace(0, 1, 60) ** 2}))
    assert (name in kinds(source)) == learned
    assert learned or setting(f"data.kinds.{name}", "whole") in source.notes[0]
    assert kinds(Table(path=parquet(tmp_path, {name: values}), kinds={name: "whole"})) == {name: "whole"}


def test_numbers_with_something_around_them_are_said_to_be_that(tmp_path: Path) -> None:
    columns = {"x": [n + 0.5 for n in range(60)], "share": [f"{n % 45} %" for n in range(60)]}
    source = Table(path=parquet(tmp_path, columns))
    assert list(kinds(source)) == ["x"]
    assert any(
        "'share' is left out: it is text around numbers (row 1 is '0 %')" in note for note in source.notes
    )


def test_commas_in_numbers_are_decimal_points_where_it_is_said(tmp_path: Path) -> None:
    path = text(tmp_path, "price,n\n" + "".join(f'"{n},5",{n % 3}\n' for n in range(60)))
    assert any("data.decimal=, takes a comma" in note for note in Table(path=path).notes)
    assert Table(path=path, decimal=",").rows(slice(3, 4)).x[0, 0] == 3.5
    people = parquet(tmp_path, {"people": [f"{n:,}" for n in range(1000, 1060)], "x": list(range(0, 120, 2))})
    assert "text around numbers (row 1 is '1,000')" in Table(path=people).notes[0]
    of_numbers = Table(path=text(tmp_path, "a\n" + "1.5\n2.5\n" * 30 + "7.25\n"), kinds={"a": "category"})
    assert not of_numbers.notes


def test_kinds_can_be_overruled(tmp_path: Path) -> None:
    content = "a,b\n" + "".join(f"{n},{n % 3}\n" for n in range(60))
    assert kinds(Table(path=text(tmp_path, content))) == {"b": "category"}
    chosen = {"a": "whole", "b": "number"}
    assert kinds(Table(path=text(tmp_path, content), kinds=chosen)) == chosen
    with pytest.raises(DataError, match=r"no kind 'categry'\. Did you mean 'category'"):
        Table(path=text(tmp_path, content), kinds={"a": "categry"})
    with pytest.raises(DataError, match="has no column 'c'"):
        Table(path=text(tmp_path, content), kinds={"c": "category"})


def test_dates_in_other_formats_are_dates(tmp_path: Path) -> None:
    source = Table(path=text(tmp_path, "a,d\n1.5,31.01.2024\n2.5,01.02.2024\n4.5,15.03.2024\n"))
    assert (fields(source)["d"].kind, fields(source)["d"].format) == ("date", "%d.%m.%Y")
    assert source.rows(slice(1)).x[0, 1] == np.datetime64("2024-01-31", "s").astype(int)
    source = Table(path=text(tmp_path, "a,d\n1.5,2024-01\n2.5,2024-02\n4.5,2024-03\n"))
    assert (fields(source)["d"].kind, fields(source)["d"].format) == ("date", "%Y-%m")


def test_spelling_is_kept(tmp_path: Path) -> None:
    content = "zip,t,a\n" + "".join(f"0050{n % 3},{str(n % 2 == 0).lower()},{n}.5\n" for n in range(30))
    found = fields(Table(path=text(tmp_path, content)))
    assert found["zip"].categories == ("00500", "00501", "00502")
    assert found["t"].categories == ("false", "true")
    assert Table(path=text(tmp_path, content), label="zip").spec.classes == ("00500", "00501", "00502")


def test_text_files_have_the_decimals_of_each_column(tmp_path: Path) -> None:
    lines = [f"{3 * n}.0,{n % 5}.5,{n % 2}.0,{n}.25\n" for n in range(40, 80)]
    lines[3] = "129.0,3.0,1.0,43.00\n"
    content = "".join(["whole,half,few,quarter\n", *lines])
    source = Table(path=text(tmp_path, content))
    write_table(source.rows(slice(None)).x, source.spec, tmp_path / "again.csv", {})
    assert (tmp_path / "again.csv").read_text() == content
    further = source.rows(slice(None)).x.copy()
    further[:, 3] += 0.001  # more decimals than the column has are kept
    write_table(further, source.spec, tmp_path / "more.csv", {})
    assert (tmp_path / "more.csv").read_text().splitlines()[4] == "129.0,3.0,1.0,43.001"


def test_a_label_of_integers_is_ordered_by_value(tmp_path: Path) -> None:
    content = "a,k\n" + "".join(f"{n}.5,{n}\n" for n in (9, 10, 2))
    assert Table(path=text(tmp_path, content), label="k").spec.classes == ("2", "9", "10")


def test_missing_cells_are_learned_filled_or_refused(tmp_path: Path) -> None:
    path = text(tmp_path, "a,b\n1.5,x\n2.5,\nNA,y\n9.5,x\n-1,x\n")
    source = Table(path=path)
    assert np.isnan(source.rows(slice(None)).x).tolist() == [
        [False, False], [False, True], [True, False], [False, False], [False, False]
    ]  # fmt: skip
    assert source.rows(slice(None)).mask is None
    assert [field.missing for field in source.spec.fields or ()] == [True, True]
    filled = Table(path=path, missing="fill").rows(slice(None)).x
    assert filled[2, 0] == 2.5
    assert filled[1, 1] == 0
    with pytest.raises(DataError, match="column 'a', row 3 has no value"):
        Table(path=path, missing="refuse")
    assert fields(Table(path=path, missing_values=["-1"]))["a"].bounds == (1.5, 9.5)


def test_values_that_stand_for_missing_cells_do_in_every_file(tmp_path: Path) -> None:
    given = text(tmp_path, "a;k\n1,5;x\n-200;y\n-200,0;n.v.\n2,5;x\n")
    typed = parquet(tmp_path, {"a": [1.5, -200.0, -200.0, 2.5], "k": ["x", "y", "n.v.", "x"]})
    for path in (given, typed):
        rows = Table(path=path, missing_values=["-200", "n.v."]).rows(slice(None)).x
        assert np.isnan(rows).tolist() == [[False, False], [True, False], [True, True], [False, False]]
    framed = Table(frame=pq.read_table(typed), missing_values=["-200"]).rows(slice(1, 2)).x
    assert np.isnan(framed[0, 0])


def test_frequent_values_are_choices_of_their_own(tmp_path: Path) -> None:
    values = [0.0] * 50 + list(np.random.default_rng(0).normal(5, 1, 50))
    field = fields(Table(path=parquet(tmp_path, {"a": values})))["a"]
    assert field.spikes == (0.0,)
    assert (field.width, field.choices, field.ordinary) == (3, 2, 1)


def test_rare_categories_share_a_position(tmp_path: Path) -> None:
    values = [f"c{number % 20}" for number in range(200)] + ["c0"] * 10
    field = fields(Table(path=parquet(tmp_path, {"a": values}), max_categories=5))["a"]
    assert (field.width, len(field.categories), field.categories[0]) == (5, 20, "c0")


def test_a_parquet_file_of_many_types_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mapped: Callable[[np.ndarray], bool]
) -> None:
    monkeypatch.setattr(storage, "available_memory", lambda: 10)
    columns: dict[str, object] = {
        "whole": pa.array([1, 2, 3, 4, 6], pa.int16()),
        "half": pa.array(np.arange(5, dtype=np.float16)),
        "exact": pa.array([Decimal("1.25")] * 4 + [Decimal("2.50")]),
        "flag": [True, False, True, True, False],
        "species": pa.array(["x", "y", "x", "x", "z"]).dictionary_encode(),
    }
    source = Table(path=parquet(tmp_path, columns), label="species")
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert is_mapped(x)
    assert x[:, 0].tolist() == [1, 2, 3, 4, 6]
    assert x[:, 2].tolist() == [1.25, 1.25, 1.25, 1.25, 2.5]
    assert x[:, 3].tolist() == [1, 0, 1, 1, 0]
    assert labels is not None
    assert labels.tolist() == [0, 1, 0, 0, 2]


def test_a_constant_column_is_mentioned(tmp_path: Path) -> None:
    source = Table(path=text(tmp_path, "a,b\n1,3.5\n2,3.5\n4,3.5\n"))
    assert source.notes == ("column 'b' is constant (3.5): restored exactly",)


def test_one_bad_cell_among_numbers_is_found(tmp_path: Path) -> None:
    content = "a,b\n" + "".join(f"{n}.5,2\n" for n in range(200)) + "x1,2\n"
    with pytest.raises(DataError, match=r"column 'a' holds numbers, but row 201 is 'x1'"):
        Table(path=text(tmp_path, content))
    with pytest.raises(DataError, match="row 2 is 'y'"):
        Table(path=text(tmp_path, "a,b\n1,2\ny,3\n"), kinds={"a": "number"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,4\n5,inf\n", "column 'b', row 3 is inf"),
        ("a,a\n1,2\n", "several columns called 'a'"),
        ("a,b\n", "has no rows"),
        ("a,b\n1,2,3\n", "cannot be read: CSV parse error"),
        ("", "is empty"),
        ("\n\n", "has no rows"),
    ],
)
def test_what_a_table_may_not_hold_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Table(path=text(tmp_path, content))


def test_lists_in_cells_are_left_out(tmp_path: Path) -> None:
    assert Table(path=parquet(tmp_path, {"a": [[1.0], [2.0]], "b": [1.0, 2.5]})).spec.columns == ("b",)


def test_a_gap_in_the_label_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'kind', row 2 has no value"):
        Table(path=parquet(tmp_path, {"a": [1, 2, 3], "kind": ["x", None, "y"]}), label="kind")


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'height' of .* has 1.5"):
        Table(path=text(tmp_path, CSV), columns=["age"], label="height")


def test_an_unknown_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.columns: .* no column 'heigth'\. Did you mean 'height'\?"):
        Table(path=text(tmp_path, CSV), columns=["age", "heigth"])
    with pytest.raises(DataError, match=r"data\.label: .* no column 'kin'\. Did you mean 'kind'\?"):
        Table(path=text(tmp_path, CSV), label="kin")


def test_a_label_alone_leaves_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column to learn"):
        Table(None, True, path=text(tmp_path, CSV), columns=["age"], label="age")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_parquet_file_that_is_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = Path(parquet(tmp_path, {"a": list(range(1000)), "b": list(range(1000))}))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"t\.parquet' cannot be read"):
        Table(path=str(path))


def test_a_parquet_file_with_damaged_pages_is_refused(tmp_path: Path) -> None:
    path = Path(parquet(tmp_path, {"a": np.random.default_rng(0).normal(size=1000)}, 1000))
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"t\.parquet' cannot be read"):
        Table(path=str(path))


def test_a_name_that_promises_parquet_is_held_to_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Table(path=text(tmp_path, CSV, "t.parquet"))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00a,b\n1,2\n\x80,3\n")
    with pytest.raises(DataError, match=r"t\.csv'"):
        Table(path=str(tmp_path / "t.csv"))


def test_a_missing_table_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    text(tmp_path, CSV, "people.csv")
    with pytest.raises(DataError, match=r"Did you mean 'people.csv'\?"):
        Table(path=str(tmp_path / "peple.csv"))


def test_percentages_that_occur_again_are_categories_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "shares.csv"
    path.write_text("a,share\n" + "".join(f"{at},{at % 40}%\n" for at in range(400)), encoding="utf-8")
    notes = " · ".join(Table(path=str(path)).notes)
    assert "column 'share' is text around numbers ('0%'), each of which is a category" in notes
