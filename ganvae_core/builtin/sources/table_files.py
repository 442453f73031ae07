"""Tables as people have them: .csv, .tsv, .parquet and .feather files, and data frames, as tables of Arrow."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from ganvae_core.builtin.sources.paths import existing_file, readable
from ganvae_core.builtin.sources.stored import Labels, encode_labels
from ganvae_core.builtin.sources.table_fields import dates_of, is_number, is_text, sorted_as, texts_of
from ganvae_core.errors import DataError

PARQUET_MAGIC, FEATHER_MAGIC, GZIP_MAGIC = b"PAR1", (b"FEA1", b"ARROW1"), b"\x1f\x8b"
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "?")
DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES, HEAD_LINES = 2**18, 200
YEARS = range(1500, 2200)
TABLE_ERRORS = (pa.ArrowException, UnicodeError, EOFError, csv.Error)

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")
_LEADING_ZERO = re.compile(r"0\d+")

pc: Any = pyarrow.compute  # its functions are made when it is imported


@dataclass(frozen=True)
class TextFormat:
    """How a text file is written. What is None is found from its first lines.

    Args:
        delimiter: between cells; a blank stands for any run of blanks.
        decimal: the decimal point of its numbers: ``.`` or ``,``.
        header: whether its first line names the columns.
    """

    delimiter: str | None = None
    decimal: str | None = None
    header: bool | None = None


@dataclass(frozen=True)
class ReadTable:
    """A table of Arrow.

    Args:
        table: the table.
        where: what it is called in an error.
        notes: sentences for users about how it was read.
        untyped: it is a text file, whose cells have no types.
    """

    table: Any
    where: str
    notes: tuple[str, ...] = ()
    untyped: bool = False

    def texts(self, column: str) -> list[str | None]:
        """The cells of a column as text; None where one is missing."""
        return texts_of(self.table.column(column)).to_pylist()

    def times(self, column: str) -> np.ndarray | None:
        """Dates and times of a column, typed or in a usual format, in microseconds; None where it holds others."""
        dates = dates_of(self.table.column(column))
        if dates is None:
            return None
        return dates.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)

    def labels(self, column: str) -> Labels:
        """The classes of a column, in its own spelling.

        Raises:
            DataError: a row has none.
        """
        texts = texts_of(self.table.column(column))
        if texts.null_count:
            row = pc.index(texts.is_null(), True).as_py() + 1
            raise DataError(
                f"{self.where}: column '{column}', row {row} has no value, and it is the label.",
                "leave such rows out, or give them a label of their own",
                "learn it as any other column, with its gaps: leave data.label out",
            )
        values = texts.to_numpy(zero_copy_only=False).astype(str)
        fraction = next((value for value in values if "." in value), None)
        if fraction is not None and all(is_number(value) for value in values):
            raise DataError(
                f"labels must be integers or strings; column '{column}' of {self.where} has {fraction}."
            )
        found = encode_labels(values, len(values), f"column '{column}' of {self.where}")
        order = sorted(range(len(found.classes)), key=lambda at: sorted_as(found.classes[at]))
        classes = tuple(found.classes[at] for at in order)
        return Labels(np.argsort(order)[found.indices], classes, self._class_type(column, classes))

    def _class_type(self, column: str, classes: Sequence[str]) -> str:
        """What classes are. Cells of a text file have no type: they are whole numbers if all are written so."""
        kind = self.table.column(column).type
        if pa.types.is_boolean(kind):
            return "bool"
        if is_text(kind) and not self.untyped:
            return "text"
        return "int" if all(_WHOLE.fullmatch(text) for text in classes) else "text"


def read_table(
    path: str, text: TextFormat | None = None, spelled: Sequence[str] = (), missing: Sequence[str] = ()
) -> ReadTable:
    """A file by its content.

    Args:
        path: of the file.
        text: how it is written, if it is a text file; found by default.
        spelled: columns whose values are kept as they are written.
        missing: values that stand for a missing cell, beside the usual ones like NA and ?.

    Raises:
        DataError: there is no such file, it is damaged, has no rows, or has two columns of one name.
    """
    file = existing_file(path)
    where, notes, untyped = f"'{path}'", list[str](), False
    with readable(file, *TABLE_ERRORS):
        with file.open("rb") as stream:
            magic = stream.read(8)
        if magic.startswith(PARQUET_MAGIC) or file.suffix == ".parquet":
            table = pyarrow.parquet.read_table(file)
        elif magic.startswith(FEATHER_MAGIC):
            table = pyarrow.feather.read_table(file)
        else:
            zipped, text = magic.startswith(GZIP_MAGIC), text or TextFormat()
            table = _read_text(file, zipped, text, (*MISSING, *missing), spelled, where, notes)
            untyped = True
    return ReadTable(emptied(checked(table, where), missing), where, tuple(notes), untyped)


def emptied(table: Any, missing: Sequence[str]) -> Any:
    """A table without the values that stand for a missing cell: texts as they are, and numbers by value."""
    numbers = pa.array([float(value) for value in missing if is_number(value)], pa.float64())
    for at, (name, column) in enumerate(
        zip(table.column_names, table.columns, strict=True) if missing else ()
    ):
        if is_text(column.type):
            column = texts_of(column)
            found = pc.is_in(column, value_set=pa.array(list(missing), pa.string()))
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            found = pc.is_in(column.cast(pa.float64(), safe=False), value_set=numbers)
        else:
            continue
        table = table.set_column(at, name, pc.if_else(found, pa.scalar(None, column.type), column))
    return table


def frame_table(frame: Any) -> Any:
    """A pandas or polars data frame, or a table of Arrow, as a table of Arrow."""
    if type(frame).__module__.startswith("pandas"):
        return checked(pa.Table.from_pandas(frame, preserve_index=False), "the data frame")
    return checked(pa.table(frame), "the data frame")


def checked(table: Any, where: str) -> Any:
    """The table, whose columns have different names and which has rows.

    Raises:
        DataError: it has no rows, no columns, or two columns of one name.
    """
    twice = next((name for name, count in Counter(table.column_names).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{where} has several columns called '{twice}'.")
    if not table.num_rows or not table.num_columns:
        raise DataError(f"{where} has no rows.")
    return table


def _read_text(
    file: Path, zipped: bool, text: TextFormat, missing: tuple[str, ...], spelled: Sequence[str], where: str,
    notes: list[str],
) -> Any:  # fmt: skip
    with gzip.open(file) if zipped else file.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    encoding = _encoding(head)
    lines = head.decode(encoding, "replace").removeprefix("\ufeff").splitlines()[:HEAD_LINES]
    lines = lines[:-1] if len(head) == HEAD_BYTES and len(lines) < HEAD_LINES else lines
    delimiter = text.delimiter or _delimiter([line for line in lines if line.strip()])
    skipped = _comments(lines, delimiter)
    lines = [line for line in lines[skipped:] if line.strip()]
    if not lines:
        raise DataError(f"{where} has no rows.")
    if skipped:
        notes.append(f"the first {skipped} lines of {where} are comments and are left out")
    source: Any = pa.input_stream(file, compression="gzip") if zipped else file
    if delimiter == " " or f'{delimiter} "' in lines[0] + lines[-1]:
        with gzip.open(file) if zipped else file.open("rb") as stream:
            source = _rewritten(stream.read().decode(encoding), delimiter, skipped)
        delimiter, encoding, skipped = ",", "utf-8", 0
        lines = source.getvalue()[:HEAD_BYTES].decode(encoding, "replace").splitlines()[:HEAD_LINES]
        source.seek(0)
    cells = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    decimal = text.decimal or _decimal(cells, delimiter)
    header = text.header
    if header is None and any(_names_a_column(name, cells) for name in spelled):
        header = True
    if header is None and not (header := _has_header(cells, missing)):
        notes.append(
            f"the first line of {where} is data and names no columns (data.header=true takes it as names)"
        )
    names = cells[0] if header else [f"column_{number}" for number in range(1, len(cells[0]) + 1)]
    names = [name or f"column_{number}" for number, name in enumerate(names, 1)]
    below = cells[1:] if header else cells

    def read(quoted_lines: bool, encoding: str) -> Any:
        return pyarrow.csv.read_csv(
            source,
            pyarrow.csv.ReadOptions(column_names=names, skip_rows=skipped + int(header), encoding=encoding),
            pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted_lines),
            pyarrow.csv.ConvertOptions(
                null_values=[*missing, *(f" {one}" for one in missing if one)],
                strings_can_be_null=True,
                true_values=[],
                false_values=[],
                decimal_point=decimal,
                column_types=_kept_as_text(names, below, spelled),
            ),
        )

    try:
        table = read(any(line.count('"') % 2 for line in lines), encoding)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error) or encoding != "utf-8" or not isinstance(source, Path):
            raise
        encoding = "cp1252"  # after a beginning without any letters beyond ASCII
        table = read(True, encoding)
    if encoding == "cp1252":
        notes.append(f"{where} is not UTF-8, and was read as Latin-1 (Windows-1252)")
    return pa.Table.from_arrays([_trimmed(column) for column in table.columns], table.column_names)


def _encoding(head: bytes) -> str:
    """By the byte order mark; without one UTF-8, or else Windows' Latin-1."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _delimiter(lines: list[str]) -> str:
    """What divides all lines into the same number of cells; a blank where nothing else divides any."""
    if not lines:
        return ","
    best, most = ",", 0.0
    for delimiter in DELIMITERS:
        counts = [len(cells) for cells in csv.reader(lines, delimiter=delimiter) if cells]
        usual = Counter(counts).most_common(1)[0][0]
        score = counts.count(usual) / len(counts) + (counts[0] == usual) if usual > 1 else 0.0
        if score > most:
            best, most = delimiter, score
    words = {len(line.split()) for line in lines}
    if not most and words != {1} and len(words) == 1:
        return " "
    return best


def _comments(lines: list[str], delimiter: str) -> int:
    """How many lines at the top are comments: they begin with #, and have not as many cells as the others."""
    usual = Counter(line.count(delimiter) for line in lines).most_common(1)[0][0] if lines else 0
    return next(
        (
            number
            for number, line in enumerate(lines)
            if not line.startswith("#") or line.count(delimiter) == usual
        ),
        len(lines),
    )


def _rewritten(text: str, delimiter: str, skipped: int) -> io.BytesIO:
    """Cells that are divided by runs of blanks, or quoted after a blank, in plain CSV."""
    made = io.StringIO()
    given = (line.strip() for line in text.splitlines()[skipped:] if line.strip())
    if delimiter == " ":
        given = (re.sub(r"\s+", " ", line) for line in given)
    csv.writer(made, lineterminator="\n").writerows(
        csv.reader(given, delimiter=delimiter, skipinitialspace=True)
    )
    return io.BytesIO(made.getvalue().encode())


def _decimal(cells: list[list[str]], delimiter: str) -> str:
    """A comma where numbers with a comma occur, and none with a point."""
    values = [cell for row in cells for cell in row]
    commas = delimiter != "," and any(_DECIMAL_COMMA.fullmatch(value) for value in values)
    points = any("." in value and _NUMBER.fullmatch(value) for value in values)
    return "," if commas and not points else "."


def _names_a_column(name: str, cells: list[list[str]]) -> bool:
    """Whether a column has this name: it stands in the first line, and not below."""
    at = cells[0].index(name) if name in cells[0] else len(cells[0])
    return at < len(cells[0]) and all(row[at : at + 1] != [name] for row in cells[1:])


def _has_header(cells: list[list[str]], missing: tuple[str, ...]) -> bool:
    """Whether the first line differs from those below: no number stands over numbers there, or years and new words.

    A line of text over columns of text is one of names, too, unless all of its words occur again below.
    """
    first, below = cells[0], cells[1:]
    if not below or not any(first):
        return True
    numbers, again, alone = list[str](), 0, 0
    for column, name in enumerate(first):
        values = [row[column] for row in below if column < len(row) and row[column] not in missing]
        if name in missing and name:
            again += 1
        elif _NUMBER.fullmatch(name) and values and all(_NUMBER.fullmatch(value) for value in values):
            numbers.append(name)
        elif name in values:
            again += 1
        else:
            alone += 1
    if not numbers:
        return alone > 0
    years = all(name.isdecimal() and int(name) in YEARS for name in numbers)
    return bool(alone) and years


def _kept_as_text(names: list[str], below: list[list[str]], spelled: Sequence[str]) -> dict[str, Any]:
    """Columns whose values would lose their spelling as numbers: those like 00501, and those asked for."""
    kept: dict[str, Any] = {}
    for column, name in enumerate(names):
        zeros = any(column < len(row) and _LEADING_ZERO.fullmatch(row[column]) for row in below)
        if zeros or name in spelled:
            kept[name] = pa.string()
    return kept


def _trimmed(column: Any) -> Any:
    """Text without the blanks around it."""
    return pc.utf8_trim_whitespace(column) if pa.types.is_string(column.type) else column
