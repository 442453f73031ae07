"""docs/results.md from the figures and their results."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from figure import Column, Figure, Row, read_figures
from results import Results, read_results
from training import definition

from ganvae_core import GanvaeError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"
PICTURES = ROOT / "docs" / "images"
INTRODUCTION = """\
# Results

Whether each member of the family does what its paper says it is for: published figures with their protocols, and ours
beside them. This page is written by `make papers` from `benchmarks/papers/`: one file a figure in `figures/`, and what
was measured in `results/`. `make papers FIGURES="grid ring"` runs some of them; what has a result is not run again.

Values of ours are means ± standard errors over seeds, and every seed is listed. A row that says *not run* has not been
run, or not with its present settings. Values taken by different pipelines are not comparable: what a published row is
compared with is said in its figure's protocol. The time is that of training alone, on one thread, of the seed that took
least: the machine does other work as well.
"""
NOT_RUN, TOO_LONG = "*not run*", "*not run: takes many hours*"
OUTDATED = "*not run since its settings changed*"
WIDTH = 120


@dataclass(frozen=True)
class Measured:
    """A row with its results by seed."""

    row: Row
    seeds: Mapping[int, Mapping[str, Any]]
    outdated: bool = False

    def values(self, column: str) -> list[float]:
        """The values of a column, in the order of the seeds; a row need not measure all columns."""
        return [
            float(result["values"][column]) for result in self.seeds.values() if column in result["values"]
        ]


def measured(figure: Figure, results: Results) -> list[Measured]:
    """The figure's rows with what was measured of each; a row whose plugin is not there was not run."""
    found: list[Measured] = []
    for row in figure.rows:
        try:
            now = definition(row)
        except GanvaeError:
            now = None
        seeds = {} if now is None else results.seeds(row.name, now)
        found.append(Measured(row, seeds, results.is_outdated(row.name, now)))
    return found


def section(figure: Figure, rows: Sequence[Measured]) -> str:
    """The figure's part of the page."""
    parts = [
        f"## {figure.title}",
        _filled(figure.shows),
        f"`make papers FIGURES={figure.name}`",
        _filled(f"**Protocol.** {figure.protocol}"),
        "\n".join(table(figure, rows)),
    ]
    if figure.aims:
        parts += ["\n".join(aims(figure, rows))]
    if any(len(found.seeds) > 1 for found in rows):
        parts += ["\n".join(every_seed(figure, rows))]
    parts += pictures_of(figure, rows)
    parts += [_filled(text) for text in (figure.notes, *remarks(rows)) if text]
    return "\n\n".join(parts)


def table(figure: Figure, rows: Sequence[Measured]) -> Iterator[str]:
    """Published rows, then ours."""
    titles = [column.title for column in figure.columns.values()]
    yield _line(["", *titles, "seeds", "budget", "time a seed"])
    yield _line(["---"] * (len(titles) + 4))
    for published in figure.published:
        values = [str(published.values.get(name, "")) for name in figure.columns]
        yield _line([f"*{published.label}* ({published.source})", *values, "", "", ""])
    for found in rows:
        label = f"**{found.row.label}**"
        label += f", against *{found.row.against}*" if found.row.against else ""
        count, wanted = len(found.seeds), len(found.row.seeds)
        if not count:
            state = OUTDATED if found.outdated else TOO_LONG if found.row.long else NOT_RUN
            blank = [""] * (len(titles) - 1)
            yield _line([label, state, *blank, f"of {wanted}", found.row.budget, ""])
            continue
        values = [_summary(found.values(name), column) for name, column in figure.columns.items()]
        seeds = str(count) if count >= wanted else f"{count} of {wanted}"
        is_real = found.row.plugin is None
        yield _line([label, *values, *(["", "", ""] if is_real else [seeds, found.row.budget, _time(found)])])


def aims(figure: Figure, rows: Sequence[Measured]) -> Iterator[str]:
    """Each aim, and whether it is met by what was measured."""
    by_name = {found.row.name: found.seeds for found in rows}
    wanted_of = {row.name: len(row.seeds) for row in figure.rows}

    def values(row: str, column: str) -> dict[int, float]:
        return {seed: float(result["values"][column]) for seed, result in by_name[row].items()}

    for aim in figure.aims:
        unknown = {aim.row, aim.below, aim.above} - {None, *wanted_of}
        unknown = {name for name in unknown if isinstance(name, str)} | {aim.column} - figure.columns.keys()
        if unknown:
            raise GanvaeError(f"{figure.name}.aims: there is no row or column '{min(unknown)}'.")
    yield "Aims:"
    yield ""
    for aim in figure.aims:
        bound, sign = (aim.above, 1) if aim.below is None else (aim.below, -1)
        found, digits = values(aim.row, aim.column), figure.columns[aim.column].digits
        other = (
            values(bound, aim.column) if isinstance(bound, str) else dict.fromkeys(found, float(bound or 0))
        )
        wanted = {seed: aim.times * value + aim.plus for seed, value in other.items()}
        seeds = sorted(found.keys() & wanted.keys())
        if not seeds:
            yield f"- {aim.says}: *not run*"
            continue
        if aim.each:
            reached = sum(sign * (found[seed] - wanted[seed]) > 0 for seed in seeds)
            met, of = reached == len(seeds), f"in {reached} of {len(seeds)} seeds"
            of += f", of {wanted_of[aim.row]} planned" if len(seeds) < wanted_of[aim.row] else ""
        else:
            mean, limit = statistics.fmean(found.values()), statistics.fmean(wanted.values())
            met, of = sign * (mean - limit) > 0, f"{mean:,.{digits}f}, and {limit:,.{digits}f} is asked for"
        yield f"- {aim.says}: **{'met' if met else 'missed'}** ({of})"


def every_seed(figure: Figure, rows: Sequence[Measured]) -> Iterator[str]:
    """All values, a line for each row and value."""
    yield "Every seed, in the order of the seeds:"
    yield ""
    for found in rows:
        if len(found.seeds) < 2:
            continue
        yield f"- {found.row.label}, seeds {_ranges(list(found.seeds))}"
        for name, column in figure.columns.items():
            values = [f"{value:,.{column.digits}f}" for value in found.values(name)]
            if values:
                yield f"    - {column.title}: {', '.join(values)}"
        seconds = [f"{result['seconds']:,.0f}" for result in found.seeds.values()]
        yield f"    - seconds: {', '.join(seconds)}"


def pictures_of(figure: Figure, rows: Sequence[Measured]) -> Iterator[str]:
    """The pictures that runs have left."""
    for found in rows:
        file = picture(figure.name, found.row.name)
        if found.row.picture and found.seeds and file.exists():
            told = f"{found.row.label}, seed {found.row.seeds[0]}"
            yield f"![{told}](images/{file.name})\n\n*{told}.*"


def picture(figure: str, row: str) -> Path:
    """Where a row's picture lies."""
    return PICTURES / f"papers-{figure}-{row}.png"


def remarks(rows: Sequence[Measured]) -> Iterator[str]:
    """Who judged, and on what machine."""
    judges: dict[str, set[tuple[float, int, str]]] = {}
    machines: dict[str, None] = {}
    for found in rows:
        for result in found.seeds.values():
            machines[_machine(result["machine"])] = None
            for name, judge in result["judges"].items():
                judges.setdefault(name, set()).add((judge["accuracy"], judge["held_out"], judge["identity"]))
    for name, told in judges.items():
        for accuracy, held_out, identity in sorted(told):
            right = f"right on {accuracy:.2f} % of {held_out:,} held-out real images"
            yield f"Judged by `{name}` ({identity}), which is {right}."
        if len(told) > 1:
            yield f"**Values judged by different weights of `{name}` are not comparable.**"
    if machines:
        yield "Taken on " + "; ".join(machines) + "."


def write_page() -> None:
    """Write the page anew."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    sections = [section(figure, measured(figure, read_results(figure.name))) for figure in read_figures()]
    return "\n\n".join([INTRODUCTION.strip(), *sections]) + "\n"


def _summary(values: Sequence[float], column: Column) -> str:
    """Mean ± standard error; with the median and the best seed where the column says which direction is good."""
    if not values:
        return ""
    if not all(math.isfinite(value) for value in values):
        return "not finite"
    text = f"{statistics.fmean(values):,.{column.digits}f}"
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
        text += f" ± {error:,.{max(column.digits, 1)}f}"
        if column.best:
            best = max(values) if column.best == "higher" else min(values)
            text += (
                f" (median {statistics.median(values):,.{column.digits}f}, best {best:,.{column.digits}f})"
            )
    return text


def _filled(text: str) -> str:
    """A paragraph in lines of a readable length."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def _time(found: Measured) -> str:
    fewest = min(float(result["seconds"]) for result in found.seeds.values())
    if fewest < 90:
        return f"{fewest:.0f} s"
    return f"{fewest / 60:.0f} min" if fewest < 5400 else f"{fewest / 3600:.1f} h"


def _machine(told: Mapping[str, Any]) -> str:
    where = (
        f"{told['cpu']}, {told['cores']} cores, {told['threads']} thread{'s' * (told['threads'] != 1)} a run"
    )
    if "device" in told:
        where = f"{told['device']} ({told['cpu']})"
    return f"{where}, Python {told['python']}, torch {told['torch']}, {told['date']}"


def _ranges(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()) for cell in cells) + " |"


@click.command()
def main() -> None:
    """Write docs/results.md from what has been measured."""
    write_page()
    click.echo(f"written: {PAGE}")


if __name__ == "__main__":
    main()
