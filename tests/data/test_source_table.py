"""Tables: columns, labels, and what a table may not hold."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ganvae_core.builtin.sources import storage
from ganvae_core.builtin.sources.table import Table
from ganvae_core.errors import DataError

CSV = "age,height,kind\n30,1.5,cat\n40,1.75,dog\n50,2.0,cat\n"


def text(folder: Path, content: str, name: str = "t.csv") -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def parquet(folder: Path, columns: dict[str, object], rows_at_once: int = 2) -> str:
    pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=rows_at_once)
    return str(folder / "t.parquet")


def test_columns_of_numbers_are_standardised_and_keep_their_names(tmp_path: Path) -> None:
    source = Table(path=text(tmp_path, CSV), label="kind")
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert x.dtype == np.float64
    assert x.tolist() == [[30, 1.5], [40, 1.75], [50, 2.0]]
    assert np.shares_memory(x, source.rows(slice(1, 2)).x)
    spec = source.spec
    assert spec.columns == ("age", "height")
    assert spec.units.offset == (40.0, 1.75)
    np.testing.assert_allclose(spec.units.scale, x.std(0))
    assert (spec.range, spec.units.dtype, spec.count) == (None, "float64", 3)
    assert spec.classes == ("cat", "dog")
    assert labels is not None
    assert labels.tolist() == [0, 1, 0]


def test_two_columns_are_points_and_others_a_table(tmp_path: Path) -> None:
    path = text(tmp_path, "a,b,c\n1,2,3\n2,3,5\n")
    assert Table(path=path).spec.modality == "table"
    assert Table(path=path, columns=["c", "a"]).spec.modality == "points"
    assert Table(path=path, columns=["b"]).spec.modality == "table"


def test_chosen_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    for path in (text(tmp_path, CSV), parquet(tmp_path, {"age": [30, 40, 50], "height": [1.5, 1.75, 2.0]})):
        source = Table(path=path, columns=["height", "age"])
        assert source.spec.columns == ("height", "age")
        assert source.rows(slice(1)).x.tolist() == [[1.5, 30.0]]


@pytest.mark.parametrize(("delimiter", "name"), [("\t", "t.tsv"), ("\t", "t.csv"), (";", "t.csv")])
def test_other_delimiters_are_understood(tmp_path: Path, delimiter: str, name: str) -> None:
    source = Table(path=text(tmp_path, CSV.replace(",", delimiter), name), label="kind")
    assert source.spec.columns == ("age", "height")


def test_a_parquet_file_of_many_types_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mapped: Callable[[np.ndarray], bool]
) -> None:
    monkeypatch.setattr(storage, "available_memory", lambda: 10)
    columns = {
        "whole": pa.array([1, 2, 3, 4, 5], pa.int16()),
        "half": pa.array(np.arange(5, dtype=np.float16)),
        "exact": pa.array([Decimal("1.25")] * 4 + [Decimal("2.50")]),
        "flag": [True, False, True, True, False],
        "species": pa.array(["x", "y", "x", "x", "z"]).dictionary_encode(),
    }
    source = Table(path=parquet(tmp_path, columns), label="species")
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert is_mapped(x)
    assert x[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert x[:, 2].tolist() == [1.25, 1.25, 1.25, 1.25, 2.5]
    assert x[:, 3].tolist() == [1, 0, 1, 1, 0]
    assert labels is not None
    assert labels.tolist() == [0, 1, 0, 0, 2]


def test_a_label_of_integers_gives_classes(tmp_path: Path) -> None:
    assert Table(path=text(tmp_path, CSV), columns=["height"], label="age").spec.classes == ("30", "40", "50")


def test_a_constant_column_keeps_scale_1_and_says_so(tmp_path: Path) -> None:
    source = Table(path=text(tmp_path, "a,b\n1,3.5\n2,3.5\n4,3.5\n"))
    assert source.notes == ("column 'b' is constant (3.5): kept with scale 1 and restored exactly",)
    assert source.spec.units.scale[1] == 1.0
    assert source.spec.units.offset[1] == 3.5


def test_a_first_line_of_numbers_is_mentioned(tmp_path: Path) -> None:
    assert "is all numbers" in Table(path=text(tmp_path, "1.5,2.5\n3,4\n5,6\n")).notes[0]


def test_a_column_that_is_not_numeric_is_named_with_ways_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'kind' is not numeric: row 1 is 'cat'") as caught:
        Table(path=text(tmp_path, CSV))
    assert caught.value.hints == (
        "leave it out:  'data.columns=[age,height]'",
        "or use it as the label:  data.label=kind",
    )


def test_one_bad_cell_is_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'b' is not numeric: row 3 is '\?'"):
        Table(path=text(tmp_path, "a,b\n1,2\n1,3\n1,?\n1,5\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,\n", "column 'b', row 2 has no value"),
        ("a,b\n1,2\nNaN,4\n", "column 'a', row 2 has no value"),
        ("a,b\n1,2\n3,4\n5,inf\n", "column 'b', row 3 is inf"),
        ("a,a\n1,2\n", "several columns called 'a'"),
        ("a,b\n", "has no rows"),
        ("a,b\n1,2,3\n", "cannot be read: CSV parse error"),
        ("", "is empty"),
        ("\n\n", "cannot be read"),
    ],
)
def test_what_a_table_may_not_hold_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Table(path=text(tmp_path, content))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0, 3.0, None, 5.0], "column 'a', row 4 has no value"),
        ([1.0, 2.0, float("nan"), 4.0], "column 'a', row 3 is nan"),
        ([[1.0], [2.0]], "column 'a' is not numeric"),
    ],
)
def test_gaps_in_parquet_are_named(tmp_path: Path, values: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Table(path=parquet(tmp_path, {"a": values}))


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
        Table(path=text(tmp_path, CSV), columns=["age"], label="age")


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


def test_columns_of_whole_numbers_are_known_as_such(tmp_path: Path) -> None:
    columns: dict[str, object] = {
        "a": [1.5, 2.5, 4.0],
        "b": [1, 2, 9],
        "c": [True, False, True],
        "d": [1.0, 2.0, 3.0],
    }
    assert Table(path=parquet(tmp_path, columns)).spec.units.whole == (1, 2)
    assert Table(path=text(tmp_path, "x,y,kind\n1,2.5,0\n2,3,1\n9,4,0\n"), label="kind").spec.units.whole == (
        0,
    )
