"""The report of a comparison: one HTML file without a network, a Markdown file, and the leaderboard as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ganvae_core as gv
from ganvae_compare.evaluate_verb import number
from ganvae_compare.pictures import Pictures, drawn
from ganvae_compare.plan import Job, Plan, typed
from ganvae_compare.rules import Summary, Verdict, pareto_front, summary, verdict
from ganvae_core.cli.output import aligned
from ganvae_core.store.files import whole_file

REPORT, MARKDOWN, LEADERBOARD = "report.html", "report.md", "leaderboard.csv"
NOT_AVAILABLE = "n/a"
PURPOSES = {
    "to generate": ("kd_", "fd_", "modes"),
    "to cover the data": ("coverage_",),
    "to represent": ("neighbours", "linear_probe"),
    "to reconstruct": ("psnr", "mse"),
    "to compress": (r"iw\d+_bits",),
}
"""By purpose, patterns of the beginnings of the names of figures that decide, the first that is there."""
MAIN = ("kd_", "coverage_", "nn_", "modes", "high_quality", "marginals", "pairs", "classifier_auc", "iw", "psnr", "mse",
        "neighbours", "as_asked")  # fmt: skip
"""Figures of the leaderboard; all of them are in the full table below."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One candidate with the evaluations of its seeds.

    Args:
        name: of the candidate.
        evaluations: as ``ganvae evaluate --json`` prints them.
        runs: their directories.
        commands: that made them.
        seconds: of training, by seed.
        failures: of seeds that were not trained or measured.
    """

    name: str
    evaluations: Sequence[Mapping[str, Any]]
    runs: Sequence[Path]
    commands: Sequence[str]
    seconds: Sequence[float]
    failures: Sequence[str]

    def figure(self, name: str) -> Summary | None:
        """A figure over the seeds."""
        found = [result for one in self.evaluations for part in one["measured"]
                 if (result := part["results"].get(name)) and result["value"] is not None]  # fmt: skip
        return summary([result["value"] for result in found], [result["error"] for result in found])

    def reason(self, name: str) -> str:
        """Why a figure is missing."""
        reasons = [part["results"][name]["reason"] for one in self.evaluations for part in one["measured"]
                   if name in part["results"]]  # fmt: skip
        return next((reason for reason in reasons if reason), "; ".join(self.failures) or "not measured")

    def cost(self, name: str) -> Summary | None:
        """Parameters, megabytes or samples a second."""
        found = [one["cost"][name] for one in self.evaluations if name in one["cost"]]
        return summary(found, [None] * len(found))

    @property
    def training(self) -> Summary | None:
        """Seconds of training."""
        return summary(self.seconds, [None] * len(self.seconds))


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that a report says, before it is laid out.

    Args:
        title: what was compared on what.
        facts: how, and on which machine, as label and text.
        figures: all of them, in their order.
        main: names of those of the leaderboard.
        entries: the candidates, the best by the first purpose first.
        references: by name, values by the name of the figure.
        verdicts: by purpose, the deciding figure and what it says.
        front: candidates that no other is both better and faster than.
        next_steps: what to try.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    figures: Mapping[str, gv.Figure]
    main: Sequence[str]
    entries: Sequence[Entry]
    references: Mapping[str, Mapping[str, float]]
    verdicts: Mapping[str, tuple[gv.Figure, Verdict]]
    front: set[str]
    next_steps: Sequence[str]


def entries_of(plan: Plan) -> list[Entry]:
    """The candidates of a plan, with what is done so far."""
    grouped: dict[str, list[Job]] = {}
    for job in plan.jobs:
        grouped.setdefault(job.candidate, []).append(job)
    entries: list[Entry] = []
    for name, jobs in grouped.items():
        done = [job for job in jobs if job.is_done]
        evaluations = [json.loads(job.evaluation.read_text("utf-8"))[0] for job in done]
        failures = [f"seed {job.seed}: {text}" for job in jobs if not job.is_done and (text := _failure(job))]
        entries.append(
            Entry(
                name,
                evaluations,
                [job.run for job in done],
                [typed(job.train) for job in jobs if job.train],
                [
                    seconds
                    for one in evaluations
                    if (seconds := one["cost"].get("training_seconds")) is not None
                ],
                failures,
            )
        )
    return entries


def compile_report(plan: Plan, facts: Sequence[tuple[str, str]]) -> Report:
    """What the figures say, from the files of a comparison."""
    entries = entries_of(plan)
    figures: dict[str, gv.Figure] = {}
    references: dict[str, dict[str, float]] = {}
    for entry in entries:
        for one in entry.evaluations:
            for part in one["measured"]:
                for figure in part["figures"]:
                    figures.setdefault(figure["name"], gv.Figure(**figure))
                for name, found in part["references"].items():
                    values = {
                        key: result["value"] for key, result in found.items() if result["value"] is not None
                    }
                    references.setdefault(name, {}).update(values)
    verdicts: dict[str, tuple[gv.Figure, Verdict]] = {}
    for purpose, beginnings in PURPOSES.items():
        for figure in _matching(figures, beginnings):
            found = verdict({entry.name: entry.figure(figure.name) for entry in entries}, figure.better)
            if found.best:
                verdicts[purpose] = figure, found
                break
    front: set[str] = set()
    if "to generate" in verdicts:
        figure, _ = verdicts["to generate"]
        quality = {entry.name: found.mean for entry in entries if (found := entry.figure(figure.name))}
        seconds = {
            entry.name: entry.training.mean for entry in entries if entry.name in quality and entry.training
        }
        front = pareto_front({name: quality[name] for name in seconds}, seconds, figure.better)
        sign = 1 if figure.better == "lower" else -1
        entries.sort(key=lambda entry: (sign * quality.get(entry.name, sign * float("inf")),
                                        seconds.get(entry.name, 0.0)))  # fmt: skip
    known = {name for name in figures if any(entry.figure(name) for entry in entries)}
    main = [figure.name for figure in _matching(figures, MAIN)
            if figure.name in known and not (figure.name == "mse" and "psnr" in known)]  # fmt: skip
    what = ", ".join(entry.name for entry in entries)
    return Report(f"{what} on {data_title(plan, entries)}", facts, figures, main, entries, references, verdicts, front,
                  next_steps(plan, entries, verdicts))  # fmt: skip


def data_title(plan: Plan, entries: Sequence[Entry]) -> str:
    """The data in a word or two."""
    if plan.data or not plan.runs:
        return Path(plan.data).name if plan.data else "digits"
    return "the runs' data" if entries else "no data"


def next_steps(
    plan: Plan, entries: Sequence[Entry], verdicts: Mapping[str, tuple[gv.Figure, Verdict]]
) -> list[str]:
    """What a practitioner should try next, by rules that stand in the documentation."""
    steps: list[str] = []
    seeds = min((len(entry.evaluations) for entry in entries), default=0)
    undecided = [purpose for purpose, (_, found) in verdicts.items() if found.level]
    if undecided and not plan.runs:
        what = (
            "one seed has no spread" if seeds < 2 else f"{seeds} seeds do not separate the first candidates"
        )
        steps.append(f"{what} ({', '.join(undecided)}): repeat with more seeds, --seeds {max(3, 2 * seeds)}")
    if "to generate" in verdicts:
        best = verdicts["to generate"][1].best
        longer = f"--steps {4 * plan.steps}" if plan.steps else "a larger --budget, or more --steps"
        if not plan.runs:
            steps.append(f"train {best} longer: {longer}")
    autoencoders = [entry.name for entry in entries if entry.name.partition("/")[0] == "ae"]
    if autoencoders and "to generate" in verdicts and verdicts["to generate"][1].best not in autoencoders:
        run = _first_run(entries, autoencoders[0])
        steps.append(f"give {autoencoders[0]} a stronger prior:  ganvae run --from {run} prior=…")
    return steps


def sentences(report: Report) -> list[str]:
    """The recommendation, a sentence a purpose."""
    found: list[str] = []
    for purpose, (figure, said) in report.verdicts.items():
        if said.ahead_of and not said.level:
            rest = f"{said.best} (ahead of {' and '.join(said.ahead_of)} beyond the spread)"
        elif said.level:
            behind = f"; ahead of {' and '.join(said.ahead_of)}" if said.ahead_of else ""
            rest = f"{said.best}, but not ahead of {' and '.join(said.level)} beyond the spread{behind}"
        else:
            rest = f"{said.best}, the only one that has the figure"
        found.append(f"{purpose}: {rest} — by {figure.label}")
    return found


def write_report(plan: Plan, report: Report) -> Path:
    """Write ``report.html``, ``report.md`` and ``leaderboard.csv``, and give the path of the first."""
    pictures = drawn(report.entries)
    for name, text in (
        (REPORT, as_html(report, pictures)), (MARKDOWN, as_markdown(report)), (LEADERBOARD, as_csv(report)),
    ):  # fmt: skip
        with whole_file(plan.folder / name) as file:
            file.write(text.encode())
    return plan.folder / REPORT


def as_html(report: Report, pictures: Pictures) -> str:
    """One page, with its pictures inside."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ganvae_compare", "."), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.jinja").render(
        report=report, pictures=pictures, sentences=sentences(report), rows=rows_of(report, report.main),
        columns=headings(report, report.main), everything=rows_of(report, list(report.figures)),
        all_columns=headings(report, list(report.figures)),
    )  # fmt: skip


def headings(report: Report, names: Sequence[str]) -> list[tuple[str, str]]:
    """Label and direction of each column."""
    found = [(f"{figure.label}, {figure.unit}" if figure.unit else figure.label, figure.better)
             for figure in (report.figures[name] for name in names)]  # fmt: skip
    return [*found, ("training, s", "lower"), ("samples/s", "higher"), ("size, MB", "lower")]


def rows_of(report: Report, names: Sequence[str]) -> list[dict[str, Any]]:
    """The cells of a table: candidates, then references."""
    rows: list[dict[str, Any]] = []
    for entry in report.entries:
        cells = [cell(entry.figure(name), entry.reason(name)) for name in names]
        cells += [cell(entry.training, "not logged"), cell(entry.cost("samples_per_second"), "it cannot be sampled"),
                  cell(entry.cost("megabytes"), "not measured")]  # fmt: skip
        rows.append(
            {"name": entry.name, "cells": cells, "reference": False, "front": entry.name in report.front}
        )
    for name, values in report.references.items():
        cells = [cell(None if key not in values else Summary(values[key], None, 1), "") for key in names]
        blank = {"text": "", "value": "", "title": ""}
        rows.append({"name": name, "cells": [*cells, blank, blank, blank], "reference": True, "front": False})
    return rows


def cell(found: Summary | None, reason: str) -> dict[str, Any]:
    """A value in words, the number to sort by, and a reason where there is none."""
    if found is None:
        return {"text": NOT_AVAILABLE if reason else "", "value": "", "title": reason}
    spread = f" ± {number(found.spread)}" if found.spread is not None else ""
    return {"text": number(found.mean) + spread, "value": found.mean, "title": f"{found.mean}"}


def as_markdown(report: Report) -> str:
    """The leaderboard and the recommendation as Markdown."""
    columns = ["", *(label for label, _ in headings(report, report.main))]
    lines = [f"# {report.title}", "", *(f"- {label}: {text}" for label, text in report.facts), "",
             "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]  # fmt: skip
    for row in rows_of(report, report.main):
        lines.append("| " + " | ".join([row["name"], *(each["text"] for each in row["cells"])]) + " |")
    lines += ["", "## Recommendation", "", *(f"- {text}" for text in sentences(report))]
    lines += ["", "## Next", "", *(f"- {text}" for text in report.next_steps)] if report.next_steps else []
    lines += ["", "## Commands", "", "```console"]
    lines += [f"$ {command}" for entry in report.entries for command in entry.commands]
    return "\n".join([*lines, "```", ""])


def as_csv(report: Report) -> str:
    """All figures by candidate and seed, with means and spreads as one line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "kind", "figure", "unit", "better", "mean", "spread", "seeds"])
    for entry in report.entries:
        for name, figure in report.figures.items():
            if found := entry.figure(name):
                writer.writerow([entry.name, "candidate", name, figure.unit, figure.better, found.mean,
                                 "" if found.spread is None else found.spread, found.count])  # fmt: skip
    for reference, values in report.references.items():
        for name, value in values.items():
            figure = report.figures[name]
            writer.writerow([reference, "reference", name, figure.unit, figure.better, value, "", ""])
    return text.getvalue()


def as_text(report: Report) -> list[str]:
    """The leaderboard and the recommendation for a terminal."""
    columns = ["", *(label for label, _ in headings(report, report.main))]
    rows = [[row["name"], *(each["text"] for each in row["cells"])] for row in rows_of(report, report.main)]
    return [*aligned([columns, *rows]), "", *sentences(report)]


def _matching(figures: Mapping[str, gv.Figure], beginnings: Sequence[str]) -> list[gv.Figure]:
    return [figure for begin in beginnings for name, figure in figures.items() if re.match(begin, name)]


def _failure(job: Job) -> str:
    from ganvae_compare.jobs import last_error

    return last_error(job.log) if job.log.is_file() else ""


def _first_run(entries: Sequence[Entry], name: str) -> str:
    return next((str(entry.runs[0]) for entry in entries if entry.name == name and entry.runs), "RUN")
