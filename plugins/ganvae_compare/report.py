"""The report of a comparison: one HTML file without a network, a Markdown file, and the leaderboard as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ganvae_core as gv
from ganvae_compare.evaluate_verb import NOT_AVAILABLE, number, titled, with_spread
from ganvae_compare.evaluating import NOT_FOR_DATA
from ganvae_compare.pictures import Pictures, drawn
from ganvae_compare.plan import Job, Plan, typed
from ganvae_compare.rules import Entry, Summary, Verdict, is_telling, pareto_front, reaches, verdict
from ganvae_core.cli.output import aligned
from ganvae_core.cli.run_files import outline
from ganvae_core.evaluation.references import CEILING, NOISE
from ganvae_core.store.directory import CONFIG, RunDirectory
from ganvae_core.store.files import whole_file

REPORT, MARKDOWN, LEADERBOARD = "report.html", "report.md", "leaderboard.csv"
WEAK_JUDGE = 60.0
"""Accuracy in percent below which the features of a judge are not relied on."""
PURPOSES = {
    "to generate": ("classifier_auc", "kd_", "fd_", "modes"),
    "to cover the data": ("coverage_",),
    "to train a classifier on samples": ("utility$",),
    "to represent": ("neighbours", "linear_probe"),
    "to reconstruct": ("psnr", "mse"),
    "to compress": (r"iw\d+_bits",),
}
"""By purpose, patterns of the beginnings of the names of figures that decide, the first that is there."""
MAIN = ("classifier_auc", "kd_", "coverage_", "nn_", "modes", "high_quality", "marginals", "pairs", "utility$", "iw",
        "psnr", "mse", "neighbours", "as_asked")  # fmt: skip
"""Figures of the leaderboard beside those that decide; all of them are in the full table below."""
MAIN_COSTS = ("training_seconds", "samples_per_second", "megabytes", "peak_megabytes")


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that a report says, before it is laid out.

    Args:
        title: what was compared on what.
        facts: how, and on which machine, as label and text.
        figures: all of them, in their order.
        main: those of the leaderboard.
        entries: the candidates, the best to generate first; of those that are level the fastest.
        references: by name, by the name of the figure.
        verdicts: by purpose, the deciding figure and what it says.
        front: candidates that no other is both better and faster than.
        next_steps: what to try.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    figures: Mapping[str, gv.Figure]
    main: Sequence[gv.Figure]
    entries: Sequence[Entry]
    references: Mapping[str, Mapping[str, Summary]]
    verdicts: Mapping[str, tuple[gv.Figure, Verdict]]
    front: set[str]
    next_steps: Sequence[str]


def entries_of(plan: Plan, damaged: Mapping[Path, gv.GanvaeError]) -> list[Entry]:
    """The candidates of a plan, with what is done so far."""
    grouped: dict[str, list[Job]] = {}
    for job in plan.jobs:
        grouped.setdefault(job.candidate, []).append(job)
    entries: list[Entry] = []
    for name, jobs in grouped.items():
        done = [job for job in jobs if job.is_done and job.run not in damaged]
        failures = [f"seed {job.seed}: {text}" for job in jobs if not job.is_done and (text := _failure(job))]
        failures = [damaged[job.run].message for job in jobs if job.run in damaged] or failures
        entries.append(Entry(name, [job.measured() for job in done], [job.run for job in done],
                             [typed(job.train or ("run", "--config", str(job.run / CONFIG))) for job in jobs],
                             failures))  # fmt: skip
    return entries


def compile_report(
    plan: Plan, facts: Sequence[tuple[str, str]], damaged: Mapping[Path, gv.GanvaeError] | None = None
) -> Report:
    """What the figures say, from the files of a comparison.

    Args:
        plan: of the comparison.
        facts: how it was made, as label and text.
        damaged: why runs cannot be read, by their paths.
    """
    entries = entries_of(plan, damaged or {})
    figures, references = all_figures(entries)
    verdicts = verdicts_of(entries, figures, references)
    front: set[str] = set()
    if "to generate" in verdicts:
        figure, said = verdicts["to generate"]
        entries, front = in_order(entries, figure, said), front_of(entries, figure)
    known = {name for name in figures if any(entry.figure(name) for entry in entries)}
    deciding = [figure for figure, _ in verdicts.values()]
    usual = [figure for figure in _matching(figures, MAIN) if not (figure.name == "mse" and "psnr" in known)]
    shown = list(figures.values()) if plan.metrics else usual  # what was asked for by name is all shown
    costs = _matching(figures, MAIN_COSTS)
    main = [one for one in dict.fromkeys([*deciding[:1], *shown, *deciding, *costs]) if one.name in known]
    what = ", ".join(entry.name for entry in entries)
    return Report(f"{what} on {data_title(plan, entries)}", [*facts, *measured_on(entries)], figures, main, entries,
                  references, verdicts, front, next_steps(plan, entries, verdicts, references))  # fmt: skip


def all_figures(entries: Sequence[Entry]) -> tuple[dict[str, gv.Figure], dict[str, dict[str, Summary]]]:
    """The figures by their names, and those of the references by the names of both."""
    figures: dict[str, gv.Figure] = {}
    references: dict[str, dict[str, Summary]] = {}
    for part in (part for entry in entries for one in entry.evaluations for part in one["measured"]):
        figures.update({figure["name"]: gv.Figure(**figure) for figure in part["figures"]})
        for name, found in part["references"].items():
            for key, result in found.items():
                if (value := result["value"]) is not None:
                    beside = references.setdefault(name, {})
                    beside[key] = Summary(value, result["error"], 1, result["error"])
    return figures, references


def verdicts_of(
    entries: Sequence[Entry],
    figures: Mapping[str, gv.Figure],
    references: Mapping[str, Mapping[str, Summary]],
) -> dict[str, tuple[gv.Figure, Verdict]]:
    """By purpose, the first figure that is there and tells noise from data, and what it says."""
    verdicts: dict[str, tuple[gv.Figure, Verdict]] = {}
    for purpose, beginnings in PURPOSES.items():
        for figure in _matching(figures, beginnings):
            ceiling, floor = (references.get(name, {}).get(figure.name) for name in (CEILING, NOISE))
            if ceiling and floor and not is_telling(floor, ceiling, figure.better):
                continue  # so few rows do not tell noise from data
            found = verdict({entry.name: entry.figure(figure.name) for entry in entries}, figure.better)
            if found.best:
                verdicts[purpose] = figure, found
                break
    return verdicts


def in_order(entries: Sequence[Entry], figure: gv.Figure, said: Verdict) -> list[Entry]:
    """The best and those that are level with it, the fastest first; then the others by the figure."""
    seconds, first = seconds_of(entries), leading(said)
    sign = 1 if figure.better == "lower" else -1

    def place(entry: Entry) -> tuple[bool, float, float]:
        found, is_first = entry.figure(figure.name), entry.name in first
        behind = math.inf if found is None else sign * found.mean
        return not is_first, 0.0 if is_first else behind, seconds.get(entry.name, math.inf)

    return sorted(entries, key=place)


def front_of(entries: Sequence[Entry], figure: gv.Figure) -> set[str]:
    """Candidates that no other is both better by the figure and faster to train than."""
    seconds = seconds_of(entries)
    quality = {entry.name: found.mean for entry in entries
               if entry.name in seconds and (found := entry.figure(figure.name))}  # fmt: skip
    return pareto_front(quality, seconds, figure.better)


def seconds_of(entries: Sequence[Entry]) -> dict[str, float]:
    """Seconds of training by candidate, of those whose logs have them."""
    return {entry.name: found.mean for entry in entries if (found := entry.figure("training_seconds"))}


def leading(said: Verdict) -> tuple[str, ...]:
    """The best candidate and those that are level with it; of a single seed the best alone."""
    return (said.best, *said.level) if said.has_seeds else (said.best,)


def measured_on(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """How many samples were compared with how many rows, and runs that were measured before their training's end."""
    evaluations = [(entry, one) for entry in entries for one in entry.evaluations]
    if not evaluations:
        return []
    first, one = evaluations[0]
    counts = f"{one['samples']:,} samples against {one['held_out']:,} held-out rows, seed {one['seed']}"
    judge = [("judge", f"a classifier that finds the class of {number(found.mean)} % of held-out rows")
             for found in [first.figure("accuracy_of_judge")] if found]  # fmt: skip
    early = [("not complete", f"{entry.name} at step {one['step']:,}") for entry, one in evaluations
             if not one["complete"]]  # fmt: skip
    return [("measured", counts), *judge, *early]


def data_title(plan: Plan, entries: Sequence[Entry]) -> str:
    """The data in a word or two."""
    made = next((run for entry in entries for run in entry.runs), None)
    return Path(plan.data or (outline(RunDirectory.open(made)).data if made else "no data")).name


def next_steps(
    plan: Plan,
    entries: Sequence[Entry],
    verdicts: Mapping[str, tuple[gv.Figure, Verdict]],
    references: Mapping[str, Mapping[str, Summary]],
) -> list[str]:
    """What a practitioner should try next, by rules that stand in the documentation."""
    steps: list[str] = []
    named = {entry.name: entry for entry in entries}
    ceilings = references.get(CEILING, {})
    at_ceiling: list[str] = []
    for purpose, (figure, said) in verdicts.items():
        found = named[said.best].figure(figure.name)
        if found and figure.name in ceilings and reaches(found, ceilings[figure.name], figure.better):
            at_ceiling.append(purpose)
            values = f"{shown(found)}, data in place of samples {shown(ceilings[figure.name])}"
            steps.append(f"{purpose}: {figure.label} does not tell {said.best} from data ({values}); more held-out "
                         "rows, or another metric, would")  # fmt: skip
    undecided = [
        purpose for purpose, (_, said) in verdicts.items() if said.level and purpose not in at_ceiling
    ]
    seeds = min((len(entry.evaluations) for entry in entries), default=0)
    if undecided and not plan.runs:
        what = (
            "one seed has no spread" if seeds < 2 else f"{seeds} seeds do not separate the first candidates"
        )
        steps.append(f"{what} ({', '.join(undecided)}): repeat with more seeds, --seeds {max(3, 2 * seeds)}")
    for accuracy in [found for entry in entries if (found := entry.figure("accuracy_of_judge"))][:1]:
        if accuracy.mean < WEAK_JUDGE:
            steps.append(
                f"the judge finds the class of {number(accuracy.mean)} % of held-out rows only, so its features say"
                " little: compare in another net, too, like  --metrics '{name: kernel, net: pixels}'"
            )
    if "to generate" not in verdicts:
        return steps
    best = verdicts["to generate"][1]
    if "to generate" not in at_ceiling and not plan.runs:
        longer = f"--budget {4 * plan.steps}" if plan.steps else "a larger --budget, or more engine.steps"
        steps.append(f"train {best.best} longer: {longer}")
    for entry in entries:
        if entry.name.partition("/")[0] == "ae" and entry.name not in leading(best) and entry.runs:
            run = shlex.quote(str(entry.runs[0]))
            steps.append(f"give {entry.name} a stronger prior:  ganvae run --from {run} --prior latent-flow")
            break
    return steps


def sentences(report: Report) -> list[str]:
    """The recommendation, a sentence a purpose."""
    found: list[str] = []
    seconds = seconds_of(report.entries)
    for purpose, (figure, said) in report.verdicts.items():
        ahead = f"ahead of {listed(said.ahead_of)} beyond the spread"
        if not said.level:
            rest = (
                f"{said.best}, {ahead}" if said.ahead_of else f"{said.best}, the only one that has the figure"
            )
        elif not said.has_seeds:
            rest = f"{said.best} has the best figure, but one seed does not separate it from {listed(said.level)}"
        else:
            level = leading(said)
            timed = [name for name in level if name in seconds]
            fastest = min(timed, key=seconds.__getitem__, default="")
            rest = f"{listed(level)} are level within the spread of seeds"
            rest += f"; {fastest} trains fastest, in {number(seconds[fastest])} s" if fastest else ""
            rest += f"; {said.best} is {ahead}" if said.ahead_of else ""
        floors = floors_reached(report, said.best, figure)
        rest += f"; no better than {listed(floors)}" if floors else ""
        found.append(f"{purpose}: {rest} — by {figure.label}")
    return found


def floors_reached(report: Report, best: str, figure: gv.Figure) -> list[str]:
    """Simple models that are as good as a candidate, within the errors of measuring."""
    found = next(entry for entry in report.entries if entry.name == best).figure(figure.name)
    return [name for name, values in report.references.items() if name != CEILING and found is not None
            and (floor := values.get(figure.name)) is not None and reaches(floor, found, figure.better)]  # fmt: skip


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def shown(found: Summary) -> str:
    """A mean with its spread."""
    return with_spread(found.mean, found.spread)


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
    everything = list(report.figures.values())
    return environment.get_template("report.html.jinja").render(
        report=report, pictures=pictures, sentences=sentences(report),
        rows=rows_of(report, report.main), columns=headings(report.main), gaps=gaps(report),
        everything=rows_of(report, everything), all_columns=headings(everything),
    )  # fmt: skip


def headings(figures: Sequence[gv.Figure]) -> list[tuple[str, str]]:
    """Label and direction of each column."""
    return [(titled(figure), figure.better) for figure in figures]


def rows_of(report: Report, figures: Sequence[gv.Figure]) -> list[dict[str, Any]]:
    """The cells of a table: candidates, then references."""
    rows: list[dict[str, Any]] = []
    for entry in report.entries:
        cells = [cell(entry.figure(figure.name), entry.reason(figure.name)) for figure in figures]
        rows.append(
            {"name": entry.name, "cells": cells, "reference": False, "front": entry.name in report.front}
        )
    for name, values in report.references.items():
        cells = [cell(values.get(figure.name), "") for figure in figures]
        rows.append({"name": name, "cells": cells, "reference": True, "front": False})
    return rows


def gaps(report: Report) -> list[str]:
    """Why runs and figures of the leaderboard are missing, a sentence for each candidate and reason."""
    found = [f"{entry.name}: {text}" for entry in report.entries for text in entry.failures]
    for entry in report.entries:
        missing: dict[str, list[str]] = {}
        seeds = len(entry.evaluations)
        for figure in report.main if seeds else ():
            known = entry.figure(figure.name)
            if known is None or known.count < seeds:
                part = f" of {seeds - known.count} of {seeds} seeds" if known else ""
                missing.setdefault(entry.reason(figure.name), []).append(figure.label + part)
        found += [f"{entry.name}: no {listed(labels)}: {reason}" for reason, labels in missing.items()]
    lacking: dict[str, list[str]] = {}
    measured = [entry for entry in report.entries if entry.evaluations]
    for figure in _matching(report.figures, MAIN):
        if measured and not any(entry.figure(figure.name) for entry in measured):
            reasons = dict.fromkeys(entry.reason(figure.name) for entry in measured)
            if not any(reason.startswith(NOT_FOR_DATA) for reason in reasons):
                lacking.setdefault("; ".join(reasons), []).append(figure.label)
    return [*found, *(f"no candidate has {listed(labels)}: {reason}" for reason, labels in lacking.items())]


def cell(found: Summary | None, reason: str) -> dict[str, Any]:
    """A value in words, the number to sort by, and a reason where there is none."""
    if found is None:
        return {"text": NOT_AVAILABLE if reason else "", "value": "", "title": reason}
    return {"text": shown(found), "value": found.mean, "title": f"{found.mean}"}


def as_markdown(report: Report) -> str:
    """The leaderboard and the recommendation as Markdown."""
    columns = ["", *(label for label, _ in headings(report.main))]
    lines = [f"# {report.title}", "", *(f"- {label}: {text}" for label, text in report.facts), "",
             "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]  # fmt: skip
    for row in rows_of(report, report.main):
        lines.append("| " + " | ".join([row["name"], *(each["text"] for each in row["cells"])]) + " |")
    lines += ["", *(f"- {text}" for text in found)] if (found := gaps(report)) else []
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
    named = [(entry.name, "candidate", entry.figure) for entry in report.entries]
    named += [(name, "reference", values.get) for name, values in report.references.items()]
    for name, kind, figure_of in named:
        for figure in report.figures.values():
            if found := figure_of(figure.name):
                writer.writerow([name, kind, figure.name, figure.unit, figure.better, found.mean, found.spread,
                                 found.count])  # fmt: skip
    return text.getvalue()


def as_text(report: Report) -> list[str]:
    """The leaderboard and the recommendation for a terminal: a line a figure, as ``ganvae evaluate`` has it."""
    labels = ["", *(label for label, _ in headings(report.main))]
    columns = [
        [row["name"], *(each["text"] for each in row["cells"])] for row in rows_of(report, report.main)
    ]
    lines = [[label, *cells] for label, *cells in zip(labels, *columns, strict=True)]
    return [*aligned(lines), "", *gaps(report), *sentences(report)]


def _matching(figures: Mapping[str, gv.Figure], beginnings: Sequence[str]) -> list[gv.Figure]:
    return [figure for begin in beginnings for name, figure in figures.items() if re.match(begin, name)]


def _failure(job: Job) -> str:
    from ganvae_compare.jobs import last_error

    return last_error(job.log) if job.log.is_file() else ""
