"""``ganvae evaluate``: the metrics table of runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import PathName, WholeNumber, current_catalogue
from ganvae_core.cli.output import counted, note, print_error, print_json, said_if_slow, table
from ganvae_core.errors import ConfigurationError, GanvaeError

if TYPE_CHECKING:
    from ganvae_compare.evaluating import Evaluation, Result
    from ganvae_core.types import Figure

NOT_AVAILABLE = "n/a"


@click.command()
@click.argument("paths", metavar="RUN...", nargs=-1, required=True, type=PathName())
@click.option("--metrics", metavar="M,…", help="Names, or YAML like {name: frechet, net: judge}; by default what suits"
              " the data.")  # fmt: skip
@click.option("--samples", type=WholeNumber(min=2), metavar="N",
              help="Samples to draw; by default as many as rows are held out, 10,000 at most.")  # fmt: skip
@click.option("--seed", type=WholeNumber(min=0), default=0, metavar="N", help="Of the samples.")
@click.option("--checkpoint", metavar="STEP|best", help="Another than the newest checkpoint.")
@click.option("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1, mps, …")
@click.option("--no-references", is_flag=True, help="Leave out the ceiling and the floors.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    paths: tuple[Path, ...],
    metrics: str | None,
    samples: int | None,
    seed: int,
    checkpoint: str | None,
    device: str,
    no_references: bool,
    as_json: bool,
) -> int:
    """Measure trained models on rows that they have not seen.

    Samples are compared with held-out rows. Beside the runs stand a ceiling (training rows in place of samples) and
    floors (one Gaussian, independent columns or pixels, the mean, noise), measured in the same way. Results are also
    written to metrics/NAME.json in each run. Equal seeds give equal figures. A figure that cannot be had is n/a, with
    the reason below.

    \b
    ganvae evaluate runs/vae-digits-1 runs/gan-digits-1
    ganvae evaluate runs/gan-digits-1 --metrics 'coverage,{name: frechet, net: pixels}' --samples 2000
    """
    from ganvae_compare.evaluating import OtherDataError, data_identity, refuse_other_data, write
    from ganvae_compare.evaluating import evaluate as measured
    from ganvae_core.runs.loading import read_run

    catalogue, chosen = current_catalogue(), parse_metrics(metrics)
    found: list[Evaluation] = []
    identities: dict[Path, Mapping[str, Any]] = {}
    failed: list[GanvaeError] = []
    for path in dict.fromkeys(paths):
        try:
            run = read_run(path, checkpoint=checkpoint, device=device, catalogue=catalogue)
            refuse_other_data({**identities, path: data_identity(run)})
            with said_if_slow(f"measuring {path}"):
                one = measured(
                    run, chosen, samples=samples, seed=seed, with_references=not no_references and not found
                )
        except GanvaeError as error:
            if len(paths) == 1 or isinstance(error, OtherDataError):
                raise
            print_error(f"{path}: {error.message}", *error.hints)
            failed.append(error)
            continue
        found.append(one)
        identities[path] = data_identity(run)
        write(one)
    if found:
        if as_json:
            print_json([dataclasses.asdict(one) for one in found])
        else:
            print_table(found)
    return failed[0].exit_code if failed else 0


def parse_metrics(text: str | None) -> list[Any]:
    """What ``--metrics`` names: names and mappings.

    Raises:
        ConfigurationError: it is no list in YAML.
    """
    import yaml

    if text is None:
        return []
    try:
        found = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        found = None
    if not isinstance(found, list) or not all(isinstance(entry, str | dict) for entry in found):
        raise ConfigurationError(f"--metrics: '{text}' is not a list of metrics.",
                                 "like  --metrics frechet,manifolds  or  --metrics '{name: frechet, net: judge}'",
                                 "metrics:  ganvae components metric")  # fmt: skip
    return found


def print_table(found: list[Evaluation]) -> None:
    """One line a figure, one column a run, and a column a reference."""
    first = found[0]
    others = list(dict.fromkeys(name for one in first.measured for name in one.references))
    headings = ["", "better", *(str(one.path) for one in found), *others]
    rows: list[list[str]] = []
    reasons: dict[str, list[str]] = {}
    for figure in first.figures:
        cells = [one.result(figure.name) for one in found]
        for cell in cells:
            if cell.value is None:
                reasons.setdefault(cell.reason, []).append(figure.label)
        if all(cell.value is None for cell in cells):
            continue
        beside = [first.result(figure.name, other) for other in others]
        rows.append([titled(figure), figure.better, *(shown(cell) for cell in cells),
                     *("–" if cell.value is None else shown(cell) for cell in beside)])  # fmt: skip
    table(rows, headings)
    note(
        f"{counted(first.samples, 'sample')}, seed {first.seed}, against {counted(first.held_out, 'held-out row')}"
    )
    for reason, figures in reasons.items():
        if reason:
            note(f"{NOT_AVAILABLE}: {' · '.join(dict.fromkeys(figures))}: {reason}")
    for one in found:
        if not one.complete:
            note(f"{one.path} is measured at step {one.step:,}; its training is not complete")
        note(f"written to {one.path}/metrics")


def titled(figure: Figure) -> str:
    """A figure's label with its unit."""
    return f"{figure.label}, {figure.unit}" if figure.unit else figure.label


def shown(result: Result) -> str:
    """A value with its standard error."""
    return NOT_AVAILABLE if result.value is None else with_spread(result.value, result.error)


def with_spread(value: float, spread: float | None) -> str:
    """A value to the second digit of its spread: −8.2 ± 3.2, 313,000 ± 98,000. Without a spread, three digits."""
    if not spread or spread < 1e-6 * abs(value):
        return number(value)
    places = 1 - math.floor(math.log10(spread))
    texts = [f"{round(each, places):,.{max(places, 0)}f}".replace("-", "−") for each in (value, spread)]
    return " ± ".join(texts)


def number(value: float) -> str:
    """Three digits that count: 0.0123, 12.3, 1,230."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")
