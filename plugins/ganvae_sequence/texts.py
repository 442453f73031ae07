"""Sources of texts: files of lines, columns of tables, windows of one long text, and Python's own help pages."""

from __future__ import annotations

import gzip
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from ganvae_core import ConfigurationError, DataError, DataSpec, StoredSource, Units, in_range, read_table
from ganvae_sequence.vocabulary import UNITS, Unit, Vocabulary, is_text
from ganvae_sequence.windows import too_short, windows

MOST_OTHERS = 400
"""Characters beyond ASCII that a vocabulary takes at most; rarer ones become the replacement character."""
USUAL_LENGTH: dict[Unit, int] = {"characters": 64, "bytes": 64, "words": 24}
MOST_WORDS = 2_000
"""Words that a vocabulary takes at most; rarer ones are spelled."""


class _Texts(StoredSource):
    """Texts in memory as rows of tokens."""

    def __init__(
        self, texts: Sequence[str], unit: Unit, length: int, trained: DataSpec | None, *,
        notes: tuple[str, ...] = (), why: str = "", labels: Any = None, groups: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        found = None if trained is None or not is_text(trained) else Vocabulary.read(trained)
        vocabulary = found or Vocabulary.of(texts, unit, MOST_OTHERS, MOST_WORDS)
        x, mask, cut = vocabulary.encode(texts, length)
        if cut:
            tokens = "tokens" if unit == "words" else unit  # rare words are spelled
            notes += (f"{cut:,} of {len(texts):,} texts are cut after {length} {tokens}:  data.length=",)
        bounds = (0.0, float(vocabulary.size - 1))
        spec = DataSpec(
            (length,), bounds, "text", None, len(texts), units=Units(dtype=str(x.dtype)), details=vocabulary.details
        )  # fmt: skip
        observed = None if mask.all() else mask
        super().__init__(x, spec, notes, why, observed, labels=labels, groups=groups)


@final
class Text(_Texts):
    """Texts of characters or bytes, each with its end.

    Args:
        data: of the texts that a model was trained on, whose vocabulary is taken; by default it is found.
        path: a .txt or .txt.gz file, or a .csv, .csv.gz, .tsv, .parquet or .feather table.
        column: of a table, whose cells are the texts.
        label: a column of a table that is the label of its row.
        length: characters, bytes or words of a row, by default 64, or 24 words; longer lines and cells are cut.
        window: characters of each piece of one long text; by default each line is a text.
        stride: characters from the beginning of one window to that of the next; by default a window.
        unit: characters, bytes of UTF-8, or words, of which rare ones are spelled in characters.

    Raises:
        DataError: the file cannot be read as text, or has no text.
        ConfigurationError: an option is out of range, or is for a table.
    """

    def __init__(
        self,
        data: DataSpec | None = None,
        *,
        path: str,
        column: str | None = None,
        label: str | None = None,
        length: int | None = None,
        window: int | None = None,
        stride: int | None = None,
        unit: Unit = "characters",
    ) -> None:
        in_range("data.", least=1, length=length, window=window, stride=stride)
        if unit not in UNITS:
            raise ConfigurationError(f"data.unit={unit} is not possible: it is {', '.join(UNITS)}.")
        if stride is not None and window is None:
            raise ConfigurationError("data.stride is for windows of one long text.", "add  data.window=64")
        file = Path(os.path.expanduser(path))
        is_plain = file.name.lower().endswith((".txt", ".txt.gz"))
        if data is not None and column and is_plain and column not in _text(file).partition("\n")[0]:
            column = label = None  # they are of the table of a run, and this is no table
        texts, labels = _cells(file, column, label) if column else (_text(file).splitlines(), None)
        notes: list[str] = []
        groups: np.ndarray | None = None
        kept = list(range(len(texts)))
        if window is not None:
            if labels is not None:
                raise ConfigurationError("data.label is for texts that are cells, and not for windows.")
            whole = "\n".join(texts)
            starts, groups = windows(len(whole), window, stride or window)
            texts = [whole[start : start + window] for start in starts.tolist()]
            if not texts:
                raise DataError(f"'{file}' has {len(whole):,} characters, fewer than data.window={window}.")
            length = window
        else:
            kept = [number for number, text in enumerate(texts) if text.strip()]
            if not kept:
                raise DataError(f"'{file}' has no text.")
            if len(kept) < len(texts):
                what = "rows without a text" if column else "empty lines"
                notes.append(f"{len(texts) - len(kept):,} {what} are left out")
            texts = [texts[number] for number in kept]
        why = ""
        if unit == "characters":
            why = "each character is a token; frequent words as tokens read more like sentences:  data.unit=words"
        super().__init__(
            texts,
            unit,
            length or USUAL_LENGTH[unit],
            data,
            notes=(*notes, *too_short(groups)),
            why=why,
            labels=None if labels is None else replace(labels, indices=labels.indices[kept]),
            groups=groups,
        )


@final
class PythonHelp(_Texts):
    """Lines of prose from the help pages of Python's language, which come with every Python (``help('topics')``).

    Args:
        length: characters of a line at most; lines end between words.
    """

    def __init__(self, *, length: int = 64) -> None:
        from pydoc_data.topics import topics

        if length < 20:
            raise ConfigurationError(
                f"data.length={length} is too short for lines of prose: 20 is the least."
            )
        paragraphs = [part for page in topics.values() for part in re.split(r"\n\s*\n", page)]
        prose = [" ".join(part.split()) for part in paragraphs if re.match(r"[A-Z][a-z]* [a-z ]+", part)]
        lines = [line for part in prose for line in textwrap.wrap(part, length)]
        super().__init__(list(dict.fromkeys(lines)), "characters", length, None)


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix == ".gz" else data
    except (OSError, EOFError) as error:
        raise DataError(f"'{file}' cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{file}' is not text in UTF-8: byte {error.start:,} is {data[error.start]:#x}.",
            "store it in UTF-8, or name another source:  ganvae components source",
        ) from None


def _cells(file: Path, column: str, label: str | None) -> tuple[list[str], Any]:
    """The cells of a column as they are written, and those of the label; a cell without a value is empty."""
    read = read_table(str(file), spelled=(column, *([label] if label else ())))
    for option, name in (("column", column), ("label", label)):
        if name is not None and name not in read.table.column_names:
            raise DataError(
                f"data.{option}: '{file}' has no column '{name}'.",
                f"columns: {', '.join(read.table.column_names)}",
            )
    return [cell or "" for cell in read.texts(column)], None if label is None else read.labels(label)
