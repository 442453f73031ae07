"""Tables with everything that people have in them: numbers, categories, dates, flags, and missing cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from ganvae_core.builtin.sources.describe import MOST_NOTES, first_of
from ganvae_core.builtin.sources.storage import allocate
from ganvae_core.builtin.sources.stored import StoredSource
from ganvae_core.builtin.sources.table_fields import (
    Encoding,
    LeftOut,
    Missing,
    Numbers,
    around_numbers,
    as_decimal,
    check_kinds,
    field_of,
    filled,
    placed,
    type_name,
    values_of,
)
from ganvae_core.builtin.sources.table_files import ReadTable, TextFormat, emptied, frame_table, read_table
from ganvae_core.errors import DataError, did_you_mean, setting
from ganvae_core.types import DataSpec, Field, Units


@final
class Table(StoredSource):
    """The columns of a table: numbers, whole numbers, categories, flags, dates, with missing cells.

    Args:
        data: the specification of the data that a model was trained on, whose fields are taken over
        condition: the columns that the model is given as a condition, or whether it is given the label
        frame: a pandas or polars data frame, or a table of Arrow, in place of a file
        path: the .csv, .tsv, .parquet or .feather file; a text file may be gzipped
        columns: columns to learn; default: all
        drop: columns to leave out
        label: the column that is the label of its row; it is learned unless the model is given it as a condition
        kinds: kinds of columns, in place of those found: number, whole, category, flag, date
        missing: whether it is learned which cells are missing, or they are filled, or refused
        missing_values: values that stand for a missing cell, like -99, beside the usual ones like NA and ?
        numbers: how numbers go into x: standardised, by quantiles of a normal distribution, as a mixture of modes;
            auto is by quantiles where they are not nearly normal
        max_categories: positions for the categories of one column; rare ones beyond share the last
        bounds: keep samples within the lowest and highest value of each column
        delimiter: between the cells of a text file; default: found from its first lines
        decimal: the decimal point of a text file, '.' or ','; default: found likewise
        header: whether the first line of a text file names the columns; default: found likewise
    """

    def __init__(
        self,
        data: DataSpec | None = None,
        condition: bool | Sequence[str] = False,
        frame: Any = None,
        *,
        path: str | None = None,
        columns: list[str] | None = None,
        drop: list[str] | None = None,
        label: str | None = None,
        kinds: dict[str, str] | None = None,
        missing: Missing = "model",
        missing_values: list[str] | None = None,
        numbers: Numbers = "auto",
        max_categories: int = 100,
        bounds: bool = True,
        delimiter: str | None = None,
        decimal: str | None = None,
        header: bool | None = None,
    ) -> None:
        if path is None and frame is None:
            raise DataError(
                "data.path is missing: the .csv or .parquet file to read.", "for example  --data x.csv"
            )
        if path is not None:
            text = TextFormat(delimiter, decimal, header)
            read = read_table(path, text, (label,) if label else (), missing_values or ())
        else:
            read = ReadTable(emptied(frame_table(frame), missing_values or ()), "the data frame")
        data = data if data is not None and data.fields else None  # a run on other data compares the shapes
        where, names = read.where, read.table.column_names
        for option, asked in (("columns", columns), ("drop", drop), ("label", [label] if label else None)):
            _known(option, asked or (), names, read, absent=data is not None)
        given = _conditions(condition, names, read, trained=data is not None)
        if len(given) == 1 and _is_category(read, given[0], kinds or {}):
            label, given = given[0], ()  # one column of categories is a label
            conditional = True
        else:
            conditional = bool(condition) and not given
        apart = {*given, *([label] if conditional and label else ())}
        chosen = [name for name in dict.fromkeys(columns or names) if name not in {*(drop or ()), *apart}]
        if not chosen:
            raise DataError(
                f"{where} has no column to learn besides {' and '.join(sorted(apart)) or 'none'}."
            )
        reader = _Reader(read, Encoding(missing, numbers, max_categories, bounds), kinds or {})
        fields = reader.fields(chosen) if data is None else reader.like(data)
        x = reader.rows(fields, missing == "fill")
        observed = ~(np.isnan(x) & np.array([not field.missing for field in fields]))
        labels = condition_fields = values = None
        if given:
            asked = "data.condition names no column that a model can be given."
            condition_fields = reader.fields(given, asked) if data is None else data.condition_fields or ()
            values = reader.rows(condition_fields, fill=False)
            if np.isnan(values).any() and not any(field.missing for field in condition_fields):
                raise DataError(
                    f"{where}: a column of data.condition has missing cells, and had none in training."
                )
        elif label is not None and label in names:
            labels = read.labels(label)
        width = sum(field.width for field in fields)
        learned = {*(field.name for field in fields), *apart}
        spec = DataSpec(
            (width,),
            None,
            "points" if width == 2 and all(field.numbers == field.width == 1 for field in fields) else "table",
            (sum(field.width for field in condition_fields),) if condition_fields else None,
            read.table.num_rows,
            fields,
            units=Units(dtype="float64"),
            details={
                "columns": [name for name in names if name in learned],
                "given": None if isinstance(condition, bool) else list(condition),
                "label": label,
                "label_dtype": reader.dtype(label) if label in names else "string",
                "left_out": [[each.name, each.kind, each.why] for each in reader.left_out],
            },
            condition_fields=condition_fields,
        )  # fmt: skip
        super().__init__(
            x,
            spec,
            (*read.notes, *reader.notes),
            observed=None if observed.all() else observed,
            labels=labels if values is None else values,
        )


class _Reader:
    """Makes fields of the columns of a table, and their values.

    Args:
        read: the table.
        encoding: how fields are made.
        kinds: of columns, in place of those found.
    """

    def __init__(self, read: ReadTable, encoding: Encoding, kinds: Mapping[str, str]) -> None:
        self.read, self.encoding, self.kinds = read, encoding, kinds
        self.left_out: list[LeftOut] = []
        self.notes: list[str] = []
        _known("kinds", tuple(kinds), read.table.column_names, read, absent=False)
        check_kinds(kinds)

    def fields(self, names: Sequence[str], none: str = "") -> tuple[Field, ...]:
        """The fields of columns, without those that are left out; ``none`` is what an error says if all are.

        Raises:
            DataError: none is left.
        """
        found = [
            field_of(name, self.read.table.column(name), self.kinds.get(name), self.encoding, self.read.where)
            for name in names
        ]
        left_out = [each for each in found if isinstance(each, LeftOut)]
        fields = placed([each for each in found if isinstance(each, Field)])
        self.left_out += left_out
        absent = [
            f"column '{each.name}' is left out: {each.why}"
            + (f";  {setting(f'data.kinds.{each.name}', each.other)} learns it" if each.other else "")
            for each in left_out
        ]
        constant = [
            f"column '{field.name}' is constant ({_constant(field)}): restored exactly"
            for field in fields
            if not field.varies
        ]
        self.notes += first_of(absent, "columns are left out likewise")
        self.notes += first_of(constant, "columns are constant and treated likewise")
        self.notes += [
            f"column '{field.name}' is text around numbers ('{field.categories[0]}'), each of which is a category:"
            f" write plain numbers to learn numbers{as_decimal(field.categories[-1])}"
            for field in fields
            if around_numbers(field)
        ]
        if not fields:
            raise DataError(
                none or f"{self.read.where} has no column that can be learned.",
                *(f"'{each.name}' is left out: {each.why}" for each in left_out[:MOST_NOTES]),
            )
        return fields

    def like(self, data: DataSpec) -> tuple[Field, ...]:
        """The fields that a model was trained on. The label may be absent: it is missing in all rows.

        Raises:
            DataError: another column is absent.
        """
        fields, names = data.fields or (), self.read.table.column_names
        absent = [field.name for field in fields if field.name not in names]
        if absent and absent != [data.details.get("label")]:
            raise DataError(
                f"this table does not fit the run: {self.read.where} has no column '{absent[0]}'."
                + did_you_mean(absent[0], names),
                f"columns of the run: {', '.join(field.name for field in fields)}",
            )
        if absent:
            self.notes.append(
                f"{self.read.where} has no column '{absent[0]}': it counts as missing in all rows"
            )
        return fields

    def rows(self, fields: Sequence[Field], fill: bool) -> np.ndarray:
        """The values (N, C) float64 of fields, as ``Field`` says."""
        count = self.read.table.num_rows
        x = allocate((count, len(fields)), np.float64)
        for position, field in enumerate(fields):
            if field.name not in self.read.table.column_names:
                x[:, position] = np.nan
                continue
            values, unknown = values_of(self.read.table.column(field.name), field, self.read.where)
            if unknown:
                self.notes.append(
                    f"column '{field.name}': {unknown:,} values are categories that the run does not have, and"
                    " count as missing"
                )
            x[:, position] = filled(values, field) if fill else values
        return x

    def dtype(self, name: str | None) -> str:
        """The type of a column by Arrow's name."""
        return type_name(self.read.table.column(name).type)


def _known(
    option: str, asked: Sequence[str], names: Sequence[str], read: ReadTable, *, absent: bool, hint: str = ""
) -> None:
    """Refuse columns that do not exist, unless the table is another one than the run's, where they may be absent."""
    typed = ", ".join(asked)
    meant = [name for name in names if name in asked or ("," in name and name in typed)]
    for name in asked:
        if name not in names and not absent:
            cut = any(name in one.split(", ") for one in meant)
            raise DataError(
                f"data.{option}: {read.where} has no column '{name}'.{did_you_mean(name, names)}",
                f"quote names that have a comma:  {setting(f'data.{option}', meant)}" if cut else "",
                hint,
                f"columns: {', '.join(names)}",
                *read.notes,
            )


def _conditions(
    condition: bool | Sequence[str], names: Sequence[str], read: ReadTable, *, trained: bool
) -> tuple[str, ...]:
    """The columns that ``data.condition`` names, in the order of the table, which may be given to a trained model."""
    if isinstance(condition, bool):
        return ()
    hint = "give a condition for all rows:  --condition COLUMN=VALUE" if trained else ""
    _known("condition", condition, names, read, absent=False, hint=hint)
    return tuple(name for name in names if name in condition)


def _is_category(read: ReadTable, name: str, kinds: Mapping[str, str]) -> bool:
    found = field_of(name, read.table.column(name), kinds.get(name), Encoding(), read.where)
    return isinstance(found, Field) and not found.numbers and not read.table.column(name).null_count


def _constant(field: Field) -> str:
    return field.categories[0] if field.categories else f"{field.knots[0][0]:g}"
