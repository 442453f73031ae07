"""Output of all verbs: results to standard output, everything else to standard error.

In a terminal, rich draws tables. In a pipe they are plain aligned lines, with nothing cut off and no colours.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from ganvae_core.store.manifests import without_gaps

GAP = 3
"""Spaces between the columns of a table."""
PATIENCE_SECONDS = 1.0


def table(rows: Sequence[Sequence[object]], columns: Sequence[str]) -> None:
    """Print rows under their columns' names, without borders, to standard output."""
    cells = [[str(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        draw(cells, columns)
    else:
        for line in aligned([list(columns), *cells]):
            click.echo(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    gap = " " * GAP
    return [
        gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def labelled(label: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Lines as rows of a listing, of which the first has the label."""
    return [("" if number else label, line) for number, line in enumerate(lines)]


def counted(count: int, noun: str) -> str:
    """``1 thread``, ``2,000 threads``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def four_digits(value: float) -> str:
    """Four digits that count, with a true minus sign: −18.41."""
    return f"{value:.4g}".replace("-", "−")


def percent(share: float) -> str:
    """``12 %``, ``0.33 %``, ``99.7 %``, ``100 %``."""
    return f"{100 * share:.{2 if share < 0.995 else 3}g} %"


def draw(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> None:
    """Draw a table in a terminal, where long cells go on in a further line of their column."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        drawn.add_column(Text(name), overflow="fold", no_wrap=number == 0)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(drawn)


def print_json(value: Any) -> None:
    """Print a value as JSON: null for NaN and infinity, and the text of what JSON lacks, such as a path."""
    click.echo(json.dumps(without_gaps(value), indent=2, ensure_ascii=False, default=str))


def note(text: str) -> None:
    """Print a remark on standard error."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Print a message on standard error, also with --quiet."""
    click.echo(f"{coloured('warning:', 'yellow')} {text}", err=True)


@contextmanager
def warnings_as_notes() -> Generator[None]:
    """Print each distinct ``UserWarning`` once, as a note."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for text in dict.fromkeys(str(each.message) for each in caught):
        note(f"note: {text}")


@contextmanager
def said_if_slow(text: str) -> Generator[None]:
    """Print a message if the work takes more than a moment."""
    timer = threading.Timer(PATIENCE_SECONDS, note, [f"{text} …"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def print_error(message: str, *hints: str) -> None:
    """Print an error and its hints."""
    click.echo(f"{coloured('error:', 'red')} {message}", err=True)
    for hint in hints:
        click.echo(f"  {hint}", err=True)


def coloured(text: str, colour: str) -> str:
    """The text in a colour. click takes the colour off again where standard error is no terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour, bold=True)
