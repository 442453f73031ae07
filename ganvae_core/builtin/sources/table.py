"""Tables of numbers: .csv, .tsv and .parquet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ganvae_core.builtin.sources.describe import describe_table
from ganvae_core.builtin.sources.labels import Labels, encode_labels
from ganvae_core.builtin.sources.paths import existing_file, readable
from ganvae_core.builtin.sources.storage import allocate
from ganvae_core.builtin.sources.stored import StoredSource
from ganvae_core.errors import DataError, did_you_mean

PARQUET_MAGIC = b"PAR1"
DELIMITERS = (",", "\t", ";")

_TEXT_SHOWN = 40
_TABLE_ERRORS = (pa.ArrowException, UnicodeDecodeError, EOFError)


@final
class Table(StoredSource):
    """The columns of numbers of a table, each standardised to mean 0 and deviation 1.

    Args:
        path: the .csv, .tsv or .parquet file; the first line of text names the columns
        columns: columns to learn; default: all but the label
        label: a column of integers or text that is the label of its row
    """

    def __init__(self, *, path: str, columns: list[str] | None = None, label: str | None = None) -> None:
        with _Reader(existing_file(path)) as reader:
            chosen = _chosen(reader, columns, label)
            x, labels = _read(reader, chosen, label)
            whole = tuple(
                position for position, name in enumerate(chosen) if _is_whole(reader.schema.field(name).type)
            )
        described = describe_table(x, tuple(chosen), f"'{path}'", whole)
        super().__init__(described.x, described.spec, labels, (*reader.notes, *described.notes))


class _Reader:
    """A table's schema, its number of rows, and its rows in batches, of either format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        self._parquet: Any = None
        self._table: Any = None
        with readable(path, *_TABLE_ERRORS):
            with path.open("rb") as file:
                is_parquet = file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
            if is_parquet or path.suffix == ".parquet":
                self._parquet = pyarrow.parquet.ParquetFile(path)
                self.schema: pa.Schema = self._parquet.schema_arrow
                self.count: int = self._parquet.metadata.num_rows
            else:
                self._table = _read_text(path)
                self.schema = self._table.schema
                self.count = self._table.num_rows
                self.notes = _notes_on_names(path, self.schema.names)
        if self.count == 0:
            raise DataError(f"'{path}' has no rows.")

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._parquet is not None:
            self._parquet.close()

    def batches(self, names: list[str]) -> Iterable[Any]:
        """Record batches of some columns; a Parquet file is never in memory as a whole."""
        if self._parquet is not None:
            return self._parquet.iter_batches(columns=names)
        return self._table.select(names).to_batches()


def _read_text(path: Path) -> Any:
    with path.open("rb") as file:
        first = file.readline(2**20).decode("utf-8", "replace")
    delimiter = "\t" if path.suffix == ".tsv" else next((one for one in DELIMITERS if one in first), ",")
    return pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter))


def _notes_on_names(path: Path, names: list[str]) -> tuple[str, ...]:
    if not all(_is_number(name) for name in names):
        return ()
    return (f"the first line of '{path}' is all numbers, and is taken as the names of the columns",)


def _chosen(reader: _Reader, columns: list[str] | None, label: str | None) -> list[str]:
    """The columns to learn, which exist, are there once, and hold numbers."""
    where, names = f"'{reader.path}'", reader.schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where} has several columns called '{twice[0]}'.")
    for option, name in [
        *(("columns", name) for name in columns or []),
        *([("label", label)] if label else []),
    ]:
        if name not in names:
            raise DataError(
                f"data.{option}: {where} has no column '{name}'.{did_you_mean(name, names)}",
                f"columns: {', '.join(names)}",
            )
    chosen = [name for name in dict.fromkeys(columns or names) if name != label]
    if not chosen:
        raise DataError(f"{where} has no column to learn beside the label '{label}'.")
    for name in chosen:
        if not _is_numeric(reader.schema.field(name).type):
            raise _not_numeric(reader, chosen, name)
    return chosen


def _read(reader: _Reader, names: list[str], label: str | None) -> tuple[np.ndarray, Labels | None]:
    x = allocate((reader.count, len(names)), np.float64)
    values: list[np.ndarray] = []
    start = 0
    with readable(reader.path, *_TABLE_ERRORS):
        for batch in reader.batches([*names, label] if label else names):
            rows = slice(start, start + batch.num_rows)
            for position, name in enumerate(names):
                x[rows, position] = _numbers(_complete(batch, name, start, reader.path))
            if label:
                values.append(_label_values(_complete(batch, label, start, reader.path)))
            start += batch.num_rows
    if not label:
        return x, None
    return x, encode_labels(np.concatenate(values), reader.count, f"column '{label}' of '{reader.path}'")


def _complete(batch: Any, name: str, start: int, path: Path) -> Any:
    """A column that has no gap."""
    column = batch.column(name)
    if column.null_count:
        row = start + pc.index(column.is_null(), True).as_py() + 1
        raise DataError(
            f"'{path}': column '{name}', row {row} has no value.",
            "fill such gaps, or leave those rows out, before training",
        )
    return column


def _numbers(column: Any) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return column.to_numpy(zero_copy_only=False)


def _label_values(column: Any) -> np.ndarray:
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values.astype(str) if values.dtype.kind == "O" else values


def _is_numeric(kind: pa.DataType) -> bool:
    return any(
        check(kind)
        for check in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    )


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _not_numeric(reader: _Reader, chosen: list[str], name: str) -> DataError:
    others = [other for other in chosen if _is_numeric(reader.schema.field(other).type)]
    return DataError(
        f"'{reader.path}': column '{name}' is not numeric{_first_text(reader, name)}.",
        f"leave it out:  'data.columns=[{','.join(others)}]'" if others else "",
        f"or use it as the label:  data.label={name}",
    )


def _first_text(reader: _Reader, name: str) -> str:
    """Where the first value that is no number is: one bad cell makes a column text."""
    row = 0
    with readable(reader.path, *_TABLE_ERRORS):
        for batch in reader.batches([name]):
            for value in batch.column(name):
                row += 1
                text = str(value.as_py())
                if value.is_valid and not _is_number(text):
                    return f": row {row} is {text[:_TEXT_SHOWN]!r}"
    return f" ({reader.schema.field(name).type})"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
