"""Tables of numbers: .csv, .tsv and .parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ganvae_core.builtin.sources.describe import describe_table
from ganvae_core.builtin.sources.paths import existing_file, readable
from ganvae_core.builtin.sources.storage import allocate
from ganvae_core.builtin.sources.stored import Labels, StoredSource, encode_labels
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
        file = _File(existing_file(path))
        names = _chosen(file, columns, label)
        x = allocate((file.count, len(names)), np.float64)
        for position, name in enumerate(names):
            x[:, position] = file.values(name)
        whole = tuple(position for position, name in enumerate(names) if _is_whole(file.types[name]))
        labels = None if label is None else _labels(file, label)
        super().__init__(describe_table(x, tuple(names), file.where, whole), labels, file.notes)


class _File:
    """The columns of a table, in either format. Columns of a Parquet file are read one at a time.

    Raises:
        DataError: the file is damaged, has no rows, or two columns of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = f"'{path}'"
        self.notes: tuple[str, ...] = ()
        self._parquet: Any = None
        with readable(path, *_TABLE_ERRORS):
            with path.open("rb") as file:
                first = file.readline(2**20)
            if first.startswith(PARQUET_MAGIC) or path.suffix == ".parquet":
                self._parquet = pyarrow.parquet.ParquetFile(path)
                schema, self.count = self._parquet.schema_arrow, self._parquet.metadata.num_rows
            else:
                self._table = _read_text(path, first.decode("utf-8", "replace"))
                schema, self.count = self._table.schema, self._table.num_rows
                if all(_is_number(name) for name in schema.names):
                    self.notes = (
                        f"the first line of {self.where} is all numbers, and was taken as the column names",
                    )
        twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{self.where} has several columns called '{twice}'.")
        if self.count == 0:
            raise DataError(f"{self.where} has no rows.")
        self.types: dict[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))

    def column(self, name: str) -> Any:
        """A column as an array of Arrow."""
        with readable(self.path, *_TABLE_ERRORS):
            return self._table.column(name) if self._parquet is None else self._parquet.read([name]).column(0)

    def values(self, name: str) -> np.ndarray:
        """The values (N,) of a column.

        Raises:
            DataError: a row has none.
        """
        column = self.column(name)
        if column.null_count:
            row = pc.index(column.is_null(), True).as_py() + 1
            raise DataError(
                f"{self.where}: column '{name}', row {row} has no value.",
                "fill such gaps, or leave those rows out, before training",
            )
        return (column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column).to_numpy()


def _read_text(path: Path, first_line: str) -> Any:
    delimiter = "\t" if path.suffix == ".tsv" else next((one for one in DELIMITERS if one in first_line), ",")
    return pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter))


def _chosen(file: _File, columns: list[str] | None, label: str | None) -> list[str]:
    """The columns to learn, which exist and hold numbers."""
    asked = [("columns", name) for name in columns or []] + ([("label", label)] if label else [])
    for option, name in asked:
        if name not in file.types:
            raise DataError(
                f"data.{option}: {file.where} has no column '{name}'.{did_you_mean(name, file.types)}",
                f"columns: {', '.join(file.types)}",
            )
    chosen = [name for name in dict.fromkeys(columns or file.types) if name != label]
    if not chosen:
        raise DataError(f"{file.where} has no column to learn beside the label '{label}'.")
    numeric = [name for name in chosen if _is_numeric(file.types[name])]
    for name in chosen:
        if name not in numeric:
            raise DataError(
                f"{file.where}: column '{name}' is not numeric{_first_text(file, name)}.",
                f"leave it out:  'data.columns=[{','.join(numeric)}]'" if numeric else "",
                f"or use it as the label:  data.label={name}",
            )
    return chosen


def _labels(file: _File, label: str) -> Labels:
    values = file.values(label)
    values = values.astype(str) if values.dtype.kind == "O" else values
    return encode_labels(values, file.count, f"column '{label}' of {file.where}")


def _first_text(file: _File, name: str) -> str:
    """Where the first value that is no number is: one bad cell makes a column text."""
    for row, value in enumerate(file.column(name).to_pylist(), 1):
        if value is not None and not _is_number(str(value)):
            return f": row {row} is {str(value)[:_TEXT_SHOWN]!r}"
    return f" ({file.types[name]})"


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(_is_whole(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
